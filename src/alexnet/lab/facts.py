"""Facts about a run and its net for the page, as JSON types."""

from typing import Any

from alexnet.config.recipe import SpatialLRN
from alexnet.figures.learning_curves import reading
from alexnet.lab.stored import Stored
from alexnet.lab.walk import switches
from alexnet.models import layer_table as table
from alexnet.models.network import Network
from alexnet.runs.run import Run


def facts(run: Run, net: Any, stored: Stored | None = None) -> dict[str, Any]:
    """Describe the run, and a store if there is one, for the page, as JSON types."""
    return {
        "run": run.folder.resolve().name,
        "recipe": run.name,
        "digest": run.recipe.digest,
        "classes": list(net.classes),
        "side": net.transform.side,
        "size": net.transform.size,
        "layers": layers_of(net),
        "switches": switches(net),
        "curves": reading(run.log, len(net.classes)),
        "store": stored and stored.facts,
    }


def layers_of(net: Network) -> list[dict[str, Any]]:
    """Describe every layer for the page: what it is, its shape, and the numbers of its formula."""
    told = []
    for layer in net.layers:
        norm = layer.op.numbers if isinstance(layer.op, table.Norm) else None
        numbers = {} if norm is None else {"n": norm.n, "k": norm.k, "a": norm.a, "beta": norm.beta}
        own = {name: value for name, value in vars(layer.op).items() if isinstance(value, (int, float, str))}
        if "kind" in own:  # of an activation or a pool
            own["kind_of"] = own.pop("kind")
        shape = {name: getattr(layer, name) for name in ("name", "seen", "width", "maps", "side", "working")}
        kind = type(layer.op).__name__.lower()
        told.append(shape | own | numbers | {"kind": kind, "within": isinstance(norm, SpatialLRN)})
    return told
