"""Image files in, mask files out."""
