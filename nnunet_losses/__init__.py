"""Segmentation losses. Importing this package imports nothing heavy: PyTorch comes with the first loss."""
