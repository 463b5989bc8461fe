"""Choose the recipe, side and epochs for a folder of pictures and some minutes, and train: `alexnet fit`."""
