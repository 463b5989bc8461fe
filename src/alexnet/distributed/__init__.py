"""Many processes: how they exchange, what each holds of a net, and what that costs."""
