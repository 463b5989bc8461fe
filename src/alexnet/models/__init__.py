"""The networks as PyTorch modules, and the sizes of their layers."""
