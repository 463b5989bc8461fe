"""The entry point for `torch.hub`: `torch.hub.load(FOLDER, "alexnet", source="local")` makes the net of 2012."""

import sys
from pathlib import Path as _Path  # torch.hub lists what has no underscore
from typing import Any as _Any

dependencies = ["torch", "numpy", "PIL", "safetensors", "filelock"]

sys.path.append(str(_Path(__file__).parent / "src"))  # after an installed copy, which comes first


def alexnet(recipe: _Any = "source", weights: _Any = None, **changes: _Any) -> _Any:
    """Make the net of a recipe with random weights, or load a trained net.

    Args:
        recipe: Name of a recipe, such as "source", "paper", "bvlc" or "owt"; or a `Recipe`. Unused with `weights`.
        weights: A run folder, what `alexnet export` wrote for safetensors or hub, or "hf:owner/name[@revision]".
        **changes: Fields of the recipe's net to change, such as classes=10.

    Returns:
        The net. A trained one is in eval mode, with `.classes` and `.transform`.

    Raises:
        InputError: No such recipe or field, or the weights cannot be used.
    """
    from alexnet.config.recipes import named
    from alexnet.core.errors import InputError
    from alexnet.models.build import build
    from alexnet.runs.run import load

    if weights is None:
        chosen = named(recipe).replace(net=changes)
        return build(chosen.net, chosen.seed)
    if changes:
        raise InputError(f"{', '.join(changes)}: the net of {weights} is as it was trained; give weights or changes")
    return load(weights)
