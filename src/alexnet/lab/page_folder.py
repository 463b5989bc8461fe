"""Write the page as a folder that any file server serves: the net runs in the reader's browser."""

import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet.core.device import choose_compute
from alexnet.data.store import Store
from alexnet.inference.features import Progress
from alexnet.inference.trained import load_for_inference
from alexnet.interop.exporting import place
from alexnet.interop.onnx_writer import onnx_or_refuse
from alexnet.lab import POLICY
from alexnet.lab.facts import facts
from alexnet.lab.graph import lab_graph
from alexnet.lab.runtime import runtime_files
from alexnet.lab.stored import Stored, encoded
from alexnet.models.network import Network
from alexnet.runs.run import Run

SERVED = ("server.js", "backend.js")  # of the page that `alexnet serve` answers for
SMALL = 1024  # bytes of a constant that stays in the graph
PAGES = 2  # of pictures to pick
COMPARED = 500  # training pictures to compare with
THUMBNAIL = 96  # pixels of a side of those, at most


def write_page(
    run: Run,
    out: Path,
    checkpoint: str | None = None,
    runtime: Path | None = None,
    store: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> int:
    """Write the page of a run to a new folder, and return its size in bytes.

    Args:
        run: The run.
        out: Folder to make.
        checkpoint: Name of a checkpoint; None means the newest.
        runtime: Folder with the files of ONNX Runtime Web; None takes them from the user's cache, or fetches them.
        store: A store, of which the folder gets 24 pictures to pick and 500 small ones to compare with.
        progress: Function called with the numbers of the store's pictures compared and in all.

    Raises:
        InputError: The run or the store cannot be used, or the runtime or the package onnx is missing.
        WorkFailed: The folder cannot be written.
    """
    onnx_or_refuse()
    parts = {f"runtime/{name}": data for name, data in runtime_files(runtime).items()}
    compute = choose_compute("cpu", "fp32")
    name = run.resolve(checkpoint)
    net = load_for_inference(run.folder, compute, name)
    stored = Stored(net, Store(store), compute, str(run.folder), COMPARED, progress) if store else None
    source = files("alexnet.lab") / "page"
    parts |= {file.name: file.read_bytes() for file in source.iterdir() if file.is_file() and file.name not in SERVED}
    parts["backend.js"] = b'export * from "./browser.js";\n'
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<link rel="icon"'
    parts["index.html"] = parts["index.html"].replace(b'<link rel="icon"', head.encode(), 1)
    parts |= net_files(run, net, name, stored)
    if stored:
        parts |= stored_files(stored)
    place(parts, out)
    return sum(map(len, parts.values()))


def net_files(run: Run, net: Network, checkpoint: str, stored: Stored | None = None) -> dict[str, bytes]:
    """Make net.onnx, the bytes of its weights, and net.json, which says what is where in them."""
    model, onnx = lab_graph(net), onnx_or_refuse()
    pieces, arrays, size = list[bytes](), dict[str, Any](), 0
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or (value.nbytes < SMALL and not tensor.name.endswith((".weight", ".bias"))):
            continue
        data = value.astype("<f4").tobytes()
        arrays[tensor.name] = {"offset": size, "shape": list(value.shape)}
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value_of in (("location", "weights.bin"), ("offset", size), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value_of))
        pieces.append(data)
        size += len(data)
    for name, layer in net.named_parameters():  # a layer in parts has its weights whole here too
        if name not in arrays:
            data = layer.detach().float().numpy().astype("<f4").tobytes()
            arrays[name] = {"offset": size, "shape": list(layer.shape)}
            pieces.append(data)
            size += len(data)
    mean = net.transform.mean.float().numpy()
    arrays["mean"] = {"offset": size, "shape": list(mean.shape)}
    pieces.append(mean.astype("<f4").tobytes())
    views = net.transform.views
    shown = facts(run, net, checkpoint, stored)
    if stored:
        shown["store"]["pages"] = min(PAGES, shown["store"]["pages"])
    told: dict[str, Any] = {
        "facts": shown,
        "fit": net.transform.fit,
        "views": {"scale": views.scale, "std": list(views.std) or [1, 1, 1], "place": views.mean == "place"},
        "arrays": arrays,
    }
    return {
        "net.onnx": model.SerializeToString(),
        "weights.bin": b"".join(pieces),
        "net.json": json.dumps(told, ensure_ascii=False).encode(),
    }


def stored_files(stored: Stored) -> dict[str, bytes]:
    """Make pictures/ with what the page shows of a store, features.bin, and pictures.json, which describes them."""
    pages = [stored.page(number) for number in range(min(PAGES, stored.facts["pages"]))]
    compared = stored.compared()
    files = {
        f"pictures/pick-{each['place']}.png": stored.picture("pick", each["place"]) for page in pages for each in page
    }
    for each in compared:
        small = Image.open(io.BytesIO(stored.picture("near", each["place"])))
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        files[f"pictures/near-{each['place']}.jpg"] = encoded(small, "JPEG", quality=88)
    told = {"pages": pages, "compared": compared, "units": stored.features.shape[1]}
    return files | {
        "features.bin": stored.features.astype("<f4").tobytes(),
        "pictures.json": json.dumps(told, ensure_ascii=False).encode(),
    }
