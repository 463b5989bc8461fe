"""Distributed training: the mesh of processes, the sharding of a net over it, and estimates of the cost."""
