"""A net as an ONNX graph with the switches of `Settings` as inputs, and the output of every layer as an output.

A runtime in the browser runs it. Each switch chooses between two results, so one graph serves all settings.
"""

from typing import Any

import numpy as np
from torch import nn

from alexnet.interop.onnx_writer import BATCH, Nodes
from alexnet.lab.walk import towers_of
from alexnet.models.layers import Dropout
from alexnet.models.network import Network

VIEWS, NORMS, SWAPPED, TOWERS = "views", "norms", "swapped", "towers"


def lab_graph(net: Network) -> Any:
    """Write a net in eval mode as an ONNX graph with switches.

    Inputs: "views", float32 (N, 3, size, size); "norms", bool (2,), whether they are on; "swapped", bool (1,), whether
    norms and ReLUs change places; "towers", float32 (towers,), 1, or 0 for a silent one; and "mask.LAYER" for each
    layer with dropout, the factors of its units, float32 (units,). Outputs: the output of each layer under its name;
    that of a norm that is off is its input.

    Returns:
        An onnx.ModelProto.

    Raises:
        InputError: The package onnx is missing, or a layer has no ONNX form.
    """
    nodes, towers = Switched(net), towers_of(net)
    size = net.transform.size
    outputs = nodes.walk(VIEWS)
    made, types = nodes.onnx.helper, nodes.onnx.TensorProto
    given = [(VIEWS, types.FLOAT, [BATCH, 3, size, size]), (NORMS, types.BOOL, [2]), (SWAPPED, types.BOOL, [1])]
    given += [(TOWERS, types.FLOAT, [towers])]
    given += [(f"mask.{name}", types.FLOAT, [units]) for name, units in nodes.masks.items()]
    facts = {layer.name: layer for layer in net.layers}
    shapes = {
        name: [BATCH, facts[name].maps] + ([facts[name].side] * 2 if nodes.is_map[name] else []) for name in outputs
    }
    model = nodes.model([], [])
    model.graph.input.extend(made.make_tensor_value_info(*each) for each in given)
    model.graph.output.extend(made.make_tensor_value_info(name, types.FLOAT, shapes[name]) for name in outputs)
    return model


class Switched(Nodes):
    """The nodes of a graph with switches."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net, self.towers = net, towers_of(net)
        self.masks: dict[str, int] = {}
        self.taken: set[str] = set()  # switches that were taken from their inputs
        self.is_map: dict[str, bool] = {}

    def walk(self, x: str) -> list[str]:
        """Add all layers that read x, and return the names of their outputs."""
        net, facts = self.net, {layer.name: layer for layer in self.net.layers}
        names, pad, made, flat = list(net.order), [0, 0, 0, 0], list[str](), False
        while names:
            name = names.pop(0)
            layer = net.layer(name)
            if type(layer) is nn.ZeroPad2d:
                pad = list(layer.padding)
                continue
            flat = flat or type(layer) is nn.Flatten
            pair = next((n for n in (1, 2) if names and {name, names[0]} == {f"relu{n}", f"norm{n}"}), None)
            if pair:
                x = self.pair(name, names[0], x, pair)
                self.is_map |= {name: True, names[0]: True}
                made += [name, names.pop(0)]
            elif name.startswith(("norm", "within")):
                changed = self.layer(name, layer, x, f"{name}.on", pad)
                x = self.either(name, self.number_of(NORMS, int(name[-1]) - 1), changed, x)
                made.append(name)
            elif isinstance(layer, Dropout):
                self.masks[name] = facts[name].maps
                x = self.node("Mul", [x, f"mask.{name}"], name)
                made.append(name)
            else:
                silent = facts[name].weighted and name != net.order[-1]
                x = self.layer(name, layer, x, f"{name}.whole" if silent else name, pad)
                x = self.silenced(name, x, facts[name].maps, flat) if silent else x
                made.append(name)
            self.is_map.setdefault(name, not flat)
            pad = [0, 0, 0, 0]
        return made

    def pair(self, first: str, second: str, x: str, number: int) -> str:
        """Add a norm and a ReLU that change places when `swapped` is 1, and return the name of their output.

        Under the name of each is its output where it stands in the net as it is; with `swapped`, that of the layer in
        its place.
        """
        net, on, swapped = self.net, self.number_of(NORMS, number - 1), self.number_of(SWAPPED, 0)

        def run(layer: str, given: str, out: str) -> str:
            made = self.layer(out, net.layer(layer), given, f"{out}.made", [0, 0, 0, 0])
            return self.either(f"{out}.switched", on, made, given) if layer.startswith("norm") else made

        usual = run(first, x, f"{first}.usual")
        usual_end = run(second, usual, f"{second}.usual")
        other = run(second, x, f"{second}.other")
        other_end = run(first, other, f"{first}.other")
        # Each layer's own output in either order.
        self.either(first, swapped, other_end, usual)
        self.either(second, swapped, other, usual_end)
        return self.either(f"{first}.{second}", swapped, other_end, usual_end)

    def silenced(self, name: str, x: str, maps: int, flat: bool) -> str:
        """Multiply each map or unit by the switch of its tower."""
        shape = self.numbers(f"{name}.switch_shape", *([1, maps] if flat else [1, maps, 1, 1]))
        tower_of = np.arange(maps, dtype=np.int64) // (maps // self.towers)
        each = self.node("Gather", [TOWERS, self.constant(f"{name}.tower", tower_of)], f"{name}.switches")
        return self.node("Mul", [x, self.node("Reshape", [each, shape], f"{name}.switch")], name)

    def number_of(self, switches: str, index: int) -> str:
        """Return the name of one of the numbers of an input."""
        name = f"{switches}.{index}"
        if name not in self.taken:
            self.taken.add(name)
            self.node("Gather", [switches, self.numbers(f"{name}.index", index)], name)
        return name

    def either(self, name: str, switch: str, on: str, off: str) -> str:
        """Add a choice between two results under a name, and return it."""
        return self.node("Where", [switch, on, off], name)
