"""The command that writes a trained net for other tools: export."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar, show_json
from alexnet.cli.options import Json


def export(
    run: str,
    out: Path,
    /,
    *,
    to: Literal["onnx", "safetensors", "torchvision", "torch-export", "hub"],
    raw: Annotated[bool, Parameter(negative=())] = False,
    quantize: Annotated[bool, Parameter(negative=())] = False,
    store: Path | None = None,
    views: Literal[10, 1] | None = None,
    checkpoint: str | None = None,
    licence: str | None = None,
    json_: Json = False,
) -> None:
    """Write a trained net for other tools: weights, class names, recipe, mean picture and licence.

    An ONNX file is compared with the net before it gets its name. docs/interop.md describes what each kind holds.

    Example: alexnet export run net.onnx --to onnx --raw

    Example: alexnet export run net.onnx --to onnx --quantize --store store

    Example: alexnet export run net.safetensors --to safetensors --licence cc-by-4.0

    Example: alexnet export run folder --to hub --store store

    Parameters
    ----------
    run
        Run folder; or a net that was exported as safetensors or for the hub.
    out
        File to make, or folder for the hub. It must not exist.
    to
        Kind: onnx takes views and gives logits, for any number of pictures. safetensors is one file for `alexnet.load`.
        torchvision has the names of torchvision's AlexNet, in a .pth or .safetensors file; it takes nets like recipe
        owt. torch-export is a program (.pt2) for `torch.export.load`. hub is a folder for Hugging Face's hub, with a
        model card.
    raw
        For onnx: take uint8 pictures, and give probabilities. The mean and the views are in the file.
    quantize
        For onnx: 8-bit integers in the fully connected layers, a third of the size or less. Prints the error before
        and after.
    store
        Store whose held-out pictures measure the error, of --quantize, or for the card of --to hub.
    views
        Number of views of each picture, in the file of --raw or in the measurement of --quantize: 10, averaged, or 1,
        the centre. By default 10.
    checkpoint
        Name of a checkpoint, such as 00001234. By default the newest.
    licence
        Licence of the weights, such as cc-by-4.0. By default the one that imported weights came with.
    """
    from alexnet.interop.exporting import export

    with bar("measure", "pictures", quiet=json_) as progress:
        made = export(
            run,
            out,
            to,
            raw=raw,
            quantize=quantize,
            store=store,
            views=views,
            checkpoint=checkpoint,
            licence=licence,
            progress=progress,
        )
    if json_:
        show_json({"out": str(made.path), "to": made.to, "bytes": made.size, **made.facts})
        return
    print(f"{made.path}: {made.to}, {made.size / 1e6:.1f} MB")
    for line in made.lines:
        print(f"  {line}")
