"""What a net makes of one picture, as JSON types: its classes, and its views with the classes of each."""

from typing import Any

import numpy as np
import torch

from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.inference.pictures import read_picture
from alexnet.inference.predict import predict
from alexnet.models.network import Network

SHOWN = 5  # classes of each view


class NotAPicture(InputError):
    """Bytes that are no picture that `predict` takes; the line is its reason."""


def classes_of(net: Network, file: bytes, views: int) -> dict[str, Any]:
    """Return the element of `alexnet predict --json` for one picture.

    Args:
        net: The net, in eval mode.
        file: The bytes of a picture's file.
        views: 10, or 1 for the central view alone.
    """
    (answer,) = predict(net, [file], views=views)
    return answer


@torch.inference_mode()
def views_of(net: Network, file: bytes, compute: Compute) -> dict[str, Any]:
    """Return the ten views of a picture with the likeliest classes of each, and of their mean (section 4.1).

    Returns:
        "side", of the square that the views are cut from, and "size", of a view, in pixels. "views", each with "top",
        "left", "mirrored" and "predictions". "predictions", of the mean of the views' probabilities. "pixels", the
        square as rows of RGB bytes in base 16.

    Raises:
        NotAPicture: The bytes are no picture that `predict` takes.
    """
    transform = net.transform.to(compute.device)
    square = read_picture(file, transform.side, transform.fit)
    if isinstance(square, str):
        raise NotAPicture(square)
    images = torch.from_numpy(square[None]).to(compute.device)
    inputs = transform.ten_crop(images, compute.dtype)
    with compute.arithmetic():
        logits = net(inputs.flatten(0, 1))
    each = torch.softmax(logits.float(), 1)
    places = [
        {"top": top, "left": left, "mirrored": mirrored, "predictions": likeliest(net, row)}
        for (top, left, mirrored), row in zip(transform.places(), each.cpu().numpy(), strict=True)
    ]
    mean = likeliest(net, each.mean(0).cpu().numpy())
    size = inputs.shape[-1]
    return {
        "side": transform.side,
        "size": size,
        "views": places,
        "predictions": mean,
        "pixels": square.tobytes().hex(),
    }


def likeliest(net: Network, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Return the likeliest classes, best first, as `predict` writes them."""
    best = np.argsort(-probabilities, kind="stable")[:SHOWN]
    return [{"class": net.classes[i], "index": int(i), "probability": float(probabilities[i])} for i in best]
