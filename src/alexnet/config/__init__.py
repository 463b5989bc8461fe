"""Recipes: their fields, the named recipes, and changes to single fields."""
