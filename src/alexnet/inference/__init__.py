"""Inference with a trained net: error rates, predictions and features."""
