"""The figures of a run and of a study: one module for each, listed in `catalogue`."""
