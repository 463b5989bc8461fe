"""A run as a folder: recipe, environment, checkpoints and log."""
