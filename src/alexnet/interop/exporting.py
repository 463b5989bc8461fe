"""Write a trained net for other tools: ONNX, safetensors, torchvision, torch.export, Hugging Face's hub."""

import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from torch import Tensor, nn

from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import sync, write
from alexnet.core.text import percent
from alexnet.data.store import Store
from alexnet.inference.evaluate import Errors, check_views, probabilities
from alexnet.interop import hub_folder, onnx_files, onnx_writer, torchvision_writer
from alexnet.interop.hub_folder import Result
from alexnet.interop.measuring import measure
from alexnet.models.network import Network
from alexnet.ops import reference
from alexnet.runs import checkpoint
from alexnet.runs.published import FACTS, PREFIX, Published, open_published
from alexnet.runs.run import Run
from alexnet.version import __version__

Kind = Literal["onnx", "safetensors", "torchvision", "torch-export", "hub"]
SUFFIXES: dict[str, tuple[str, ...]] = {
    "onnx": (".onnx",),
    "safetensors": (".safetensors",),
    "torchvision": (".pth", ".safetensors"),
    "torch-export": (".pt2",),
}
Progress = Callable[[int, int], None]


@dataclass
class Exported:
    """A file or folder that `export` wrote.

    Attributes:
        path: The file or folder.
        to: The kind.
        size: Size in bytes.
        lines: What a user should know about it, in words.
        facts: The same for programs, as JSON types.
    """

    path: Path
    to: Kind
    size: int = 0
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str, **facts: Any) -> None:
        """Add a line, and what it says as JSON types."""
        self.lines.append(line)
        self.facts |= facts


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: Kind,
    *,
    raw: bool = False,
    quantize: bool = False,
    store: str | Path | Store | None = None,
    views: int | None = None,
    checkpoint: str | int | None = None,
    licence: str | None = None,
    progress: Progress = lambda done, of: None,
) -> Exported:
    """Write a trained net for other tools, to a file or a folder that does not exist yet.

    Args:
        run: A run folder; or an exported net: a .safetensors file, a folder for the hub, or "hf:owner/name".
        out: File or folder to make.
        to: "onnx" takes views and gives logits, for any number of pictures. "safetensors" is one file that
            `alexnet.load` reads. "torchvision" has the names of torchvision's AlexNet, as .pth or .safetensors.
            "torch-export" is a program for `torch.export.load`. "hub" is a folder for Hugging Face's hub.
        raw: For onnx: take uint8 pictures (N, side, side, 3) and give probabilities. The mean and the views are inside.
        quantize: For onnx: 8-bit integers in the fully connected layers. Needs `store`, to measure what that costs.
        store: A store, or its folder, whose held-out pictures measure the errors: for `quantize`, or for hub's card.
        views: Number of views in a raw graph, or in the measurement of `quantize`: 10 or 1; by default 10.
        checkpoint: Checkpoint of a run: "last" (the default), "best" (the lowest validation error), or a step.
        licence: Licence of the weights, in words such as "cc-by-4.0"; by default the one that came with them, if any.
        progress: Function called with the numbers of pictures done and in all, while it measures errors.

    Returns:
        An `Exported` with what was written. Nothing is left behind if this raises.

    Raises:
        InputError: The run cannot be used, `out` exists, an option does not apply, the net does not fit the kind, or a
            package is missing.
        WorkFailed: The file cannot be written, or would not compute what the net does.
    """
    out = Path(out)
    check_options(to, out, raw=raw, quantize=quantize, store=store, views=views)
    net_of = Trained.open(run, checkpoint, licence)
    if to == "torchvision":
        torchvision_writer.check_fits(net_of.published.recipe)
    opened = store if isinstance(store, Store) or store is None else Store(store)
    made = Exported(out, to)
    made.facts = {"run": os.fspath(run), "checkpoint": net_of.checkpoint or None}
    if to == "onnx":
        files = {"": to_onnx(net_of, made, raw, quantize, opened, 10 if views is None else views, progress)}
    elif to == "hub":
        files = to_hub(net_of, made, opened, progress)
    else:
        files = {
            "": {"safetensors": to_safetensors, "torchvision": to_torchvision, "torch-export": to_program}[to](
                net_of, made
            )
        }
    place(files, out)
    made.size = sum(map(len, files.values()))
    return made


def check_options(to: Kind, out: Path, *, raw: bool, quantize: bool, store: object, views: int | None) -> None:
    """Raise InputError for a kind, a path or an option that cannot be."""
    if to not in get_args(Kind):
        raise InputError(f"--to {to}; choose from {', '.join(get_args(Kind))}")
    for option, given in (("--raw", raw), ("--quantize", quantize)):
        if given and to != "onnx":
            raise InputError(f"{option} is for --to onnx, not for --to {to}; leave it out")
    if views is not None:
        check_views(views)
        if not raw and not quantize:
            raise InputError(f"--views {views} is for --raw or --quantize; without them, views are the file's input")
    if quantize and store is None:
        raise InputError("--quantize needs --store, a store whose held-out pictures measure the error that it costs")
    if store is not None and not quantize and to != "hub":
        raise InputError(f"--store is for --quantize or --to hub, not for --to {to} alone; leave it out")
    suffixes = SUFFIXES.get(to, ())
    if suffixes and out.suffix not in suffixes:
        raise InputError(f"{out} must end in {' or '.join(suffixes)} for --to {to}")
    if os.path.lexists(out):
        raise InputError(f"{out} exists; choose another name, or delete it")
    if not out.name or not out.parent.is_dir():
        raise InputError(f"{out} cannot be written; name a {'file' if suffixes else 'folder'} in a folder that exists")
    if to == "onnx":
        onnx_writer.onnx_or_refuse()


@dataclass(frozen=True)
class Trained:
    """A trained net, with what its run recorded.

    Attributes:
        published: The net.
        title: Its name, for messages.
        checkpoint: Name of its checkpoint; "" for an exported net.
        results: The errors that its run recorded for this checkpoint.
        facts: What its run recorded of the training, for the model card.
    """

    published: Published
    title: str
    checkpoint: str = ""
    results: tuple[Result, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def open(cls, source: str | os.PathLike[str], name: str | int | None, licence: str | None) -> "Trained":
        """Open a run, at the checkpoint with that name, or an exported net."""
        published = open_published(source)
        if published is not None:
            if name is not None:
                raise InputError(f"--checkpoint {name}: {os.fspath(source)} is an exported net, without checkpoints")
            own = published.licence if licence is None else licence
            return cls(Published(**vars(published) | {"licence": own}), os.fspath(source))
        run = Run(Path(source))
        chosen = run.resolve(name)
        net = run.net(chosen)
        environment = run.environment
        tensors = safetensors.torch.load(run.trusted("pictures.safetensors"))
        words = licence_of(environment) if licence is None else licence
        published = Published(
            run.name,
            run.recipe,
            list(net.classes),
            dict(net.state_dict()),
            {key: tensors[key] for key in ("mean", "eigenvalues", "eigenvectors")},
            net.transform.fit,
            words,
        )
        step = checkpoint.step_and_attempt(Path(chosen))[0]
        return cls(
            published, f"run {run.folder}", chosen, tuple(recorded(run, step)), tuple(training(environment, step))
        )


def licence_of(environment: Mapping[str, Any]) -> str:
    """Return the licence that imported weights came with, in words; "" if they came with none, or were trained."""
    imported = environment.get("imported")
    words = imported.get("licence") if isinstance(imported, dict) else None
    return "" if not isinstance(words, str) or words.endswith("does not say") else words


def recorded(run: Run, step: int) -> Iterator[Result]:
    """Read the errors that the run's log has for a step: those measured at the end of its training."""
    environment = run.environment
    split = "val" if "val" in (environment.get("images") or {}) else "test"
    for line in run.log:
        if line["kind"] != "final" or line["step"] != step:
            continue
        for found in (line, line.get("one_view")):
            try:
                errors = Errors(*(found[name] for name in ("images", "views", "top1", "top5", "nats")))  # type: ignore[index]
                sound = all(0 <= rate <= 1 for rate in (errors.top1, errors.top5)) and errors.images > 0 <= errors.nats
                errors.plain()
            except (KeyError, TypeError, ValueError, ArithmeticError):
                continue
            if sound:
                yield Result(errors, str(environment.get("store_kind", "unknown")), split, "at the end of training")


def training(environment: Mapping[str, Any], step: int) -> Iterator[tuple[str, str]]:
    """List what a run recorded of its training, or of the file that it was imported from; no folder of the machine."""
    imported, images = environment.get("imported"), environment.get("images")
    if isinstance(imported, dict):
        yield "imported from", f"{Path(str(imported.get('file'))).name} ({imported.get('kind')})"
        yield "SHA-256 of that file", str(imported.get("sha256"))
    else:
        yield "steps", f"{step:,}"
        for what, key in (("data", "store_kind"), ("precision", "precision"), ("device", "device")):
            if isinstance(value := environment.get(key), str):
                yield what, value
        if isinstance(images, dict):
            yield "pictures", ", ".join(f"{count} {split}" for split, count in images.items())
    if isinstance(versions := environment.get("versions"), dict):
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    if isinstance(commit := environment.get("commit"), str):
        yield "commit", commit


def to_onnx(
    trained: Trained, made: Exported, raw: bool, quantize: bool, store: Store | None, views: int, progress: Progress
) -> bytes:
    """Make an ONNX file, and say how well it agrees, and what quantising costs."""
    published, net = trained.published, trained.published.net()
    model = onnx_writer.raw_graph(net, views) if raw else onnx_writer.graph(net)
    onnx_writer.describe(model, published, **({"checkpoint": trained.checkpoint} if trained.checkpoint else {}))
    off = onnx_files.check(model, net, views)
    side, size = published.side, net.net.image_size
    if raw:
        count = len(net.transform.places()) if views > 1 else 1
        made.say(
            f"takes pictures, uint8 (N, {side}, {side}, 3), {count} view{'s' * (count > 1)} each; gives probabilities"
        )
    else:
        made.say(f"takes views, float32 (N, 3, {size}, {size}), RGB 0 to 255 minus the mean; gives logits")
    if off is None:
        made.say("not compared with the net: onnxruntime is not installed (pip install 'alexnet[onnx]')", off=None)
    else:
        made.say(f"in onnxruntime within {off:.0e} of the largest answer", off=off)
    whole: bytes = model.SerializeToString()
    if not quantize:
        return whole
    assert store is not None
    small: bytes = onnx_files.quantized(model).SerializeToString()
    whole_answer, small_answer = (onnx_files.answer_of(data, net, views) for data in (whole, small))
    (before, after), rows = measure(
        lambda images: [whole_answer(images), small_answer(images)], (views, views), net, store, trained.title, progress
    )
    changed = int((rows[0].argmax(1) != rows[1].argmax(1)).sum())
    made.say(
        f"8-bit fully connected layers: top-1 error {percent(before.top1)} before, {percent(after.top1)} after; top-5 "
        f"{percent(before.top5)} before, {percent(after.top5)} after ({before.images} pictures of {store.path}, split "
        f"{store.held_out}, {views} view{'s' * (views > 1)}); {changed} got another first class",
        before=before.plain(),
        after=after.plain(),
        changed=changed,
    )
    made.say(f"{len(whole) / 1e6:.1f} MB before, {len(small) / 1e6:.1f} MB after", bytes_before=len(whole))
    return small


def to_safetensors(trained: Trained, made: Exported) -> bytes:
    """Make one file of weights, statistics and facts, which `alexnet.load` reads."""
    own = trained.published
    values = (
        __version__,
        own.name,
        json.dumps(own.recipe.plain()),
        own.recipe.digest,
        json.dumps(own.classes),
        own.licence,
        own.fit,
    )
    facts = {"format": "pt"} | dict(zip(FACTS, values, strict=True))
    statistics = {f"{PREFIX}{name}": tensor.contiguous() for name, tensor in own.statistics.items()}
    made.say(f"alexnet.load({json.dumps(str(made.path))}) reads it")
    return safetensors.torch.save({name: t.contiguous() for name, t in own.weights.items()} | statistics, facts)


def to_torchvision(trained: Trained, made: Exported) -> bytes:
    """Make a file that torchvision's AlexNet loads."""
    tensors = {
        name: tensor.contiguous().clone()
        for name, tensor in torchvision_writer.state_dict(trained.published.weights).items()
    }
    words = torchvision_writer.preprocessing(trained.published)
    made.say(f"pictures need {words}", preprocessing=words)
    if made.path.suffix == ".safetensors":
        own = trained.published
        facts = {"format": "pt", "preprocessing": words, "classes": json.dumps(own.classes), "licence": own.licence}
        return safetensors.torch.save(tensors, facts)
    data = io.BytesIO()
    torch.save(tensors, data)
    return data.getvalue()


class FromAnyLayout(nn.Module):
    """A net that first copies views into the memory layout for which its program is traced."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of views in any memory layout."""
        logits: Tensor = self.net(x.clone(memory_format=torch.contiguous_format))
        return logits


def to_program(trained: Trained, made: Exported) -> bytes:
    """Make a program for `torch.export.load`, of PyTorch's own operations, for any number of views."""
    own, net = trained.published, trained.published.net()
    size = net.net.image_size
    views = torch.zeros(2, 3, size, size)
    free = ({0: torch.export.Dim.DYNAMIC},)
    # Without these, only processes that have imported alexnet could load the file.
    formulas = {torch.ops.alexnet.norm.default: reference.norm, torch.ops.alexnet.within.default: reference.within}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about itself
        program = torch.export.export(FromAnyLayout(net), (views,), dynamic_shapes=free).run_decompositions(formulas)
    facts = {"classes.json": json.dumps(own.classes), "recipe.json": json.dumps(own.recipe.plain())}
    facts |= {"alexnet.json": json.dumps({"version": __version__, "name": own.name, "licence": own.licence})}
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, data, extra_files=facts)
    made.say(f"torch.export.load(...).module() takes views, float32 (N, 3, {size}, {size}), and gives logits")
    made.say("extra_files: classes.json, recipe.json, alexnet.json")
    return data.getvalue()


def to_hub(trained: Trained, made: Exported, store: Store | None, progress: Progress) -> dict[str, bytes]:
    """Make the files of a folder for the hub, with the errors that were recorded, and those measured on a store."""
    results = list(trained.results)
    if store is not None:
        net = trained.published.net()
        results += [
            Result(errors, store.kind, store.held_out, f"by alexnet {__version__}, at export")
            for errors in fresh(net, store, trained.title, progress)
        ]
    for result in results:
        found = result.errors
        made.say(
            f"card: top-1 error {percent(found.top1)}, top-5 {percent(found.top5)} ({found.images} pictures, "
            f"{found.views} view{'s' * (found.views > 1)}, {result.when})"
        )
    if not results:
        made.say("card: no results, since the run recorded none for this checkpoint; --store STORE measures them")
    made.facts["results"] = [{"when": r.when, "data": r.data, "split": r.split} | r.errors.plain() for r in results]
    if not trained.published.licence:
        made.say("card: no licence stated; --licence WORDS states one")
    weights = {name: tensor.contiguous() for name, tensor in trained.published.weights.items()}
    return hub_folder.files(trained.published, results, dict(trained.facts), weights)


def fresh(net: Network, store: Store, title: str, progress: Progress) -> list[Errors]:
    """Measure a net's errors on the held-out pictures of a store, with ten views and with one."""
    cpu, count = choose_compute("cpu", "fp32"), len(net.transform.places())

    def answer(images: Tensor) -> list[Tensor]:
        one, all_views = probabilities(net, net.transform, images, cpu, 10)
        return [all_views, one]

    return measure(answer, (count, 1), net, store, title, progress)[0]


def place(files: dict[str, bytes], out: Path) -> None:
    """Write a file, or a folder of files, under another name, and rename it; leave nothing if that fails."""
    try:
        if "" in files:
            write(out, [files[""]])
            return
        with new_folder(out) as part:
            for name, data in files.items():
                (part / name).parent.mkdir(exist_ok=True)
                write(part / name, [data])
    except OSError as error:
        raise WorkFailed(f"cannot write {out}: {error.strerror or error}; nothing was left of it") from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Make a folder that becomes `out` when the block ends, and is removed if the block raises."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir()
        yield part
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync(out.parent)
