"""nnU-Net trainers, one per loss."""
