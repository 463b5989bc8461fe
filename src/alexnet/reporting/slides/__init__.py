"""The slides of `alexnet slides`: the deck that this project was created from, drawn anew and corrected."""
