"""Run folders: recipe, environment, checkpoints and log."""
