"""The nets as PyTorch modules, and their sizes."""
