"""Sources of pictures, one file for each kind."""
