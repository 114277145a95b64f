"""Bundle to answer: runtime, safety, HTTP. Never imports PyTorch or nnU-Net."""
