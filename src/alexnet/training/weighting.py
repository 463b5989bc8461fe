"""The weights of the training pictures' losses, by class and by the store, and the entropy of their labels."""

import numpy as np

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.data.split import Split


def picture_weights(recipe: Recipe, split: Split, classes: int) -> np.ndarray | None:
    """Compute the factor of each training picture's loss, with a mean of 1 over the pictures.

    It is the store's weight of the picture, times that of its class: with `sgd.class_weights` "balanced",
    N / (classes n) for a class of n of the N pictures. A class without a picture has no part in the mean.

    Args:
        recipe: The recipe.
        split: The training pictures, with the store's `weights` if it has any.
        classes: Number of classes.

    Returns:
        float32 (N,), or None if all factors are 1.

    Raises:
        InputError: The store's weights are not one number, 0 or more, for each picture, or all are 0.
    """
    factors = np.ones(len(split)) if split.weights is None else np.asarray(split.weights, np.float64)
    if factors.shape != (len(split),) or not np.isfinite(factors).all() or factors.min() < 0 or not factors.any():
        raise InputError(
            f"the weights of split {split.name!r} must be {len(split)} numbers, 0 or more and not all 0; prepare the "
            "store again"
        )
    if recipe.sgd.class_weights == "balanced":
        counts = np.bincount(split.labels, minlength=classes)
        factors = factors * (len(split) / (classes * np.maximum(counts, 1)))[split.labels]
    factors = factors / factors.mean()
    return None if np.all(np.abs(factors - 1) < 1e-9) else factors.astype(np.float32)


def class_shares(split: Split, classes: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Compute the share of each class in a split's pictures, or in their weights: float64 (classes,)."""
    counts = np.bincount(split.labels, weights, minlength=classes).astype(np.float64)
    share: np.ndarray = counts / counts.sum()
    return share


def entropy(share: np.ndarray) -> float:
    """Compute the entropy of class frequencies, in nats: the lowest loss of a net with one answer for all pictures."""
    there = share[share > 0]
    return -float((there * np.log(there)).sum()) if len(there) > 1 else 0.0


def only_answer(share: np.ndarray) -> tuple[int, float]:
    """Return the largest class of a split and the error of always naming it."""
    largest = int(share.argmax())
    return largest, 1 - float(share[largest])
