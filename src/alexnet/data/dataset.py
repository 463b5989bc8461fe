"""A split as a PyTorch dataset, apart from split.py so that `prepare` need not import torch."""

import numpy as np
from torch.utils.data import Dataset

from alexnet.data.split import Split


class SplitDataset(Split, Dataset[tuple[np.ndarray, int]]):
    """A split for torch.utils.data.DataLoader; an item is a picture (uint8, side x side x 3) and its label (int)."""
