"""One page about runs and studies."""
