"""One picture: which formats are taken, decoding, limits, resizing."""
