"""From pictures as they come to batches: sources, preparation, the store, its statistics, views, the loader."""
