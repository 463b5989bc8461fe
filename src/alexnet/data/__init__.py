"""Data, from picture files to batches: sources, preparation, the store, its statistics, transforms and the loader."""
