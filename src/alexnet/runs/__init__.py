"""Run folders, with their recipe, environment, checkpoints and log."""
