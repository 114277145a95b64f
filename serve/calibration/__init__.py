"""From cases that the model has not seen to what may be said of new ones. Needs no PyTorch."""
