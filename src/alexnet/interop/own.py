"""Read a net that `alexnet export` wrote as safetensors or for the hub, to make a run of it again."""

from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.store import Class
from alexnet.interop import foreign
from alexnet.interop.foreign import Foreign
from alexnet.runs.published import open_published


def read_own(source: Path, size: int) -> Foreign:
    """Read an exported net, with all that it says about itself.

    Args:
        source: A .safetensors file, or a folder for the hub.
        size: Bytes of the file of weights.

    Raises:
        InputError: It is not a net that `alexnet export` wrote, or has NaN or infinite weights.
    """
    found = open_published(source)
    if found is None:
        raise InputError(f"{source} is not a net that alexnet exported")
    return Foreign(
        "alexnet",
        found.name,
        found.recipe,
        foreign.own_tensors(source, found.weights, size),
        found.statistics["mean"],
        classes=tuple(Class(name) for name in found.classes),
        licence=found.licence or "the file does not say",
        fit=found.fit,
        eigenvalues=found.statistics["eigenvalues"],
        eigenvectors=found.statistics["eigenvectors"],
    )
