"""Trained nnU-Net model to bundle: export, proof, self-test data."""
