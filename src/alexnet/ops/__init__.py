"""The operations that stock PyTorch lacks or does otherwise than 2012."""
