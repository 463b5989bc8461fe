"""Facts about a run and its net for the page, as JSON types."""

from typing import Any

from alexnet.config.recipe import SpatialLRN
from alexnet.figures.learning_curves import reading
from alexnet.lab.stored import Stored
from alexnet.lab.walk import switches, towers_of
from alexnet.models import layer_table as table
from alexnet.models.network import Network
from alexnet.runs.run import Run


def facts(run: Run, net: Any, checkpoint: str, stored: Stored | None = None) -> dict[str, Any]:
    """Describe the run, and a store if there is one, for the page, as JSON types; `checkpoint` is the net's name."""
    epoch = next((line["epoch"] for line in reversed(run.log) if line["kind"] == "epoch"), None)
    return {
        "run": run.folder.resolve().name,
        "recipe": run.name,
        "digest": run.recipe.digest,
        "step": int(checkpoint.partition("-")[0]),
        "classes": list(net.classes),
        "side": net.transform.side,
        "size": net.transform.size,
        "layers": layers_of(net),
        "switches": switches(net),
        "curves": (f"After epoch {epoch}. " if epoch else "") + reading(run.log, len(net.classes)),
        "store": stored and stored.facts,
    }


def layers_of(net: Network) -> list[dict[str, Any]]:
    """Describe every layer for the page: what it is, its shape, and the numbers of its formula."""
    told, towers = [], towers_of(net)
    first = next((layer.name for layer in net.layers if layer.weighted), "")
    for layer in net.layers:
        norm = layer.op.numbers if isinstance(layer.op, table.Norm) else None
        numbers = {name: getattr(norm, name) for name in ("n", "k", "alpha", "a", "beta")} if norm else {}
        own = {name: value for name, value in vars(layer.op).items() if isinstance(value, (int, float, str))}
        if "kind" in own:  # of an activation or a pool
            own["kind_of"] = own.pop("kind")
        shape = {name: getattr(layer, name) for name in ("name", "seen", "width", "maps", "side", "working", "over")}
        kind = type(layer.op).__name__.lower()
        reads = ""
        if towers > 1 and isinstance(layer.op, (table.Convolution, table.Full)) and layer.name != first:
            reads = "both" if layer.groups == 1 else "own"
        told.append(shape | own | numbers | {"kind": kind, "within": isinstance(norm, SpatialLRN), "reads": reads})
    return told
