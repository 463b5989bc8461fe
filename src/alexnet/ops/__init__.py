"""The operations that PyTorch lacks, or defines differently from the 2012 code."""
