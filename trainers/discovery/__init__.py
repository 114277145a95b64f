"""The folder that nnUNet_extTrainer points to."""
