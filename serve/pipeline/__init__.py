"""Image to mask, step by step, voxel for voxel as nnU-Net does it."""
