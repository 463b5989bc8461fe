"""The figures of a run and of a study: one module each, listed in `catalogue`."""
