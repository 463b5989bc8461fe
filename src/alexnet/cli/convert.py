"""Commands that take nets in and out: import, export."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar, show_json, table
from alexnet.cli.options import Checkpoint, Json, Threads, begin_threads
from alexnet.core.errors import InputError


def import_(
    file: Path,
    run: Path,
    /,
    *,
    as_: Annotated[Literal["auto", "torchvision", "bvlc", "caffenet", "onnx"], Parameter(name="--as")] = "auto",
    classes: Path | None = None,
    mean: Path | None = None,
    threads: Threads = None,
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

    begin_threads(threads)
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


def export(
    run: str,
    out: Path,
    /,
    *,
    to: Literal["onnx", "safetensors", "torchvision", "torch-export", "hub", "page"],
    raw: Annotated[bool, Parameter(negative=())] = False,
    quantize: Annotated[bool, Parameter(negative=())] = False,
    store: Path | None = None,
    views: Literal[10, 1] | None = None,
    checkpoint: Checkpoint = None,
    licence: str | None = None,
    runtime: Path | None = None,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Write a trained net for other tools: weights, class names, recipe, mean picture and licence.

    An ONNX file is compared with the net before it gets its name. docs/interop.md describes what each kind holds.

    Example: alexnet export run net.onnx --to onnx --raw

    Example: alexnet export run net.onnx --to onnx --quantize --store store

    Example: alexnet export run net.safetensors --to safetensors --licence cc-by-4.0

    Example: alexnet export run folder --to hub --store store

    Example: alexnet export run lab --to page --store store

    Parameters
    ----------
    run
        Run folder; or a net that was exported as safetensors or for the hub.
    out
        File to make, or folder for the hub and for the page. It must not exist.
    to
        Kind: onnx takes views and gives logits, for any number of pictures. safetensors is one file for `alexnet.load`.
        torchvision has the names of torchvision's AlexNet, in a .pth or .safetensors file; it takes nets like recipe
        owt. torch-export is a program (.pt2) for `torch.export.load`. hub is a folder for Hugging Face's hub, with a
        model card. page is a folder for any file server: the page of `alexnet serve`, with the net in the browser.
    raw
        For onnx: take uint8 pictures, and give probabilities. The mean and the views are in the file.
    quantize
        For onnx: 8-bit integers in the fully connected layers, a third of the size or less. Prints the error before
        and after.
    store
        Store whose held-out pictures measure the error, of --quantize, or for the card of --to hub. For the page: store
        of which the page gets 24 pictures to pick, and 500 to find the nearest among.
    views
        Number of views of each picture, in the file of --raw or in the measurement of --quantize: 10, averaged, or 1,
        the centre. By default 10.
    licence
        Licence of the weights, such as cc-by-4.0. By default the one that imported weights came with.
    runtime
        For the page: folder with the files of ONNX Runtime Web. By default npm fetches them once into the user's cache.
    """
    from alexnet.interop.exporting import export

    begin_threads(threads)
    if to == "page":
        from alexnet.lab.page_folder import write_page
        from alexnet.runs.run import Run

        given = {"--raw": raw, "--quantize": quantize, "--views": views, "--licence": licence}
        for option in (name for name, value in given.items() if value):
            raise InputError(f"{option} is not for --to page; leave it out")
        if Path(run).is_file():
            raise InputError(f"--to page shows a run's pictures and progress, and {run} is a file; name a run's folder")
        with bar("compare", "pictures", quiet=json_) as progress:
            size = write_page(Run(run), out, checkpoint, runtime, store, progress)
        show_page(out, size, json_)
        return
    if runtime:
        raise InputError(f"--runtime is for --to page, not for --to {to}; leave it out")
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


def show_page(out: Path, size: int, as_json: bool) -> None:
    """Say what was written, and how to look at it."""
    if as_json:
        show_json({"out": str(out), "to": "page", "bytes": size})
        return
    print(f"{out}: page, {size / 1e6:.1f} MB")
    print(f"  Any file server can serve it: python -m http.server --directory {shlex.quote(str(out))}")
