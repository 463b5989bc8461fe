"""Training: setup, the loop, a step, the update rule and its schedule."""
