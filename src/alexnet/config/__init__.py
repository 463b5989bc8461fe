"""Recipes: their fields, the named ones, and how single fields are changed."""
