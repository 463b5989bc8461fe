"""Preparation of a store from a source of pictures."""
