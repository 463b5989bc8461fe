"""A split as PyTorch's loaders take it. It is apart from split.py because processes that prepare never need torch."""

import numpy as np
from torch.utils.data import Dataset

from alexnet.data.split import Split


class SplitDataset(Split, Dataset[tuple[np.ndarray, int]]):
    """A split that a torch.utils.data.DataLoader takes: an item is a picture (uint8, H x W x 3) and its label (int)."""
