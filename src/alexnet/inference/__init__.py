"""What a trained net is used for: error rates, predictions, features."""
