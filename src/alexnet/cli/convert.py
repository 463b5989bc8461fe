"""Commands that take weights of other libraries: import."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import show_json, table
from alexnet.cli.options import Json


def import_(
    file: Path,
    run: Path,
    /,
    *,
    as_: Annotated[Literal["auto", "torchvision", "bvlc", "caffenet", "onnx"], Parameter(name="--as")] = "auto",
    classes: Path | None = None,
    mean: Path | None = None,
    json_: Json = False,
) -> None:
    """Make a run of trained weights from elsewhere: torchvision, Caffe, ONNX.

    Every command then takes the run. The weights keep their values, and no code in the file is run. docs/interop.md
    says what each kind of file needs.

    Example: alexnet import alexnet-owt-7be5be79.pth run --classes imagenet.txt

    Example: alexnet import bvlc_alexnet.caffemodel run --mean imagenet_mean.binaryproto

    Parameters
    ----------
    file
        A .pth, .pt, .safetensors, .caffemodel or .onnx file.
    run
        Folder to make.
    as_
        Kind of the weights, where the file does not tell it. For an .onnx file: how its input is made, onnx being RGB
        minus --mean.
    classes
        File with the names of the classes in the order of the outputs: one a line, or JSON.
    mean
        File with the mean: .binaryproto, or .npy in the order of colours of the net's input. By default the only
        .binaryproto beside a .caffemodel.
    """
    from alexnet.interop.importing import import_weights

    found = import_weights(file, run, kind=as_, classes=classes, mean=mean)
    if json_:
        show_json(found.plain())
        return
    table(f"{found.kind}: recipe {found.recipe}", ["layer", "weights"], [list(row) for row in found.layers])
    for note in found.notes:
        print(f"{note[:1].upper()}{note[1:]}.")
    print(f"{found.classes:,} classes, pictures of {found.side} x {found.side}. Licence: {found.licence}.")
    print(f"SHA-256 {found.sha256}")
    print(f"Next: alexnet predict {run} PICTURE, alexnet evaluate STORE {run}, alexnet train STORE NEW --from {run}")
