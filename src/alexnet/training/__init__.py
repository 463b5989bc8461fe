"""Training: the setup, the loop, a step, the update rule and the learning-rate schedule."""
