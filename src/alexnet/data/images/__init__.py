"""Single pictures: supported formats, decoding, limits and resizing."""
