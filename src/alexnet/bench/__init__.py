"""Benchmarks of speed, against peers and the limit of the machine."""
