"""Use a trained net: error rates, predictions, features, similar pictures."""
