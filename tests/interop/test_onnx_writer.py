"""ONNX graphs, run by onnxruntime, against the nets that they were written from."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.exported import FAMILIES, pictures, published
from torch import nn

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError, WorkFailed
from alexnet.inference.evaluate import probabilities
from alexnet.interop import onnx_files, onnx_writer
from alexnet.models.build import build
from alexnet.models.network import Network

onnx = pytest.importorskip("onnx", reason="onnx is not installed: the extra onnx")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the extra onnx")


def of_net(net: Network, images: torch.Tensor, views: int = 10) -> torch.Tensor:
    """The probabilities that `alexnet predict` ranks, in double precision."""
    cpu = choose_compute("cpu", "fp64")
    one, several = probabilities(net.double(), net.transform, images, cpu, views)
    return several if views > 1 else one


@pytest.mark.parametrize("name", FAMILIES)
def test_the_logits_of_each_family_are_those_of_the_net_at_batches_1_5_and_40(name: str) -> None:
    net = published(name).net()
    model = onnx_writer.graph(net)
    run = onnx_files.session(model.SerializeToString())
    views = net.transform.center_crop(pictures(40, net.transform.side))
    with torch.inference_mode():
        wanted = net.double()(views.double())
    for batch in (1, 5, 40):
        logits = torch.from_numpy(run(views[:batch].numpy()))
        assert (logits - wanted[:batch]).abs().max() < 1e-5 * wanted.abs().max()
    named = {output for node in model.graph.node for output in node.output}
    assert set(net.order[:-1]) - {"pad1"} <= named
    assert onnx_files.check(model, published(name).net(), 10) is not None


@pytest.mark.parametrize(
    ("name", "views", "margin"),
    [("source", 10, 8), ("bvlc", 1, 8), ("owt", 10, 1), ("cifar-11", 10, 0), ("columns", 10, 7), ("columns", 1, 3)],
)
def test_a_raw_graph_gives_the_probabilities_of_predict(name: str, views: int, margin: int) -> None:
    net = published(name, margin).net()
    model = onnx_writer.raw_graph(net, views)
    images = pictures(5, net.transform.side)
    run = onnx_files.session(model.SerializeToString())
    wanted = of_net(net, images, views)
    for batch in (1, 5):
        found = torch.from_numpy(run(images[:batch].numpy()))
        torch.testing.assert_close(found.double(), wanted[:batch].double(), rtol=0, atol=2e-5)
    assert onnx_files.check(model, published(name, margin).net(), views) is not None


def test_real_lrn_nodes_stay_within_a_tower_or_run_across_all_maps() -> None:
    split = onnx_writer.graph(published("paper").net())
    across = onnx_writer.graph(published("bvlc").net())
    assert [n.op_type for n in split.graph.node[:5]] == ["Conv", "Relu", "Split", "LRN", "LRN"]
    assert [n.op_type for n in across.graph.node[:4]] == ["Conv", "Relu", "LRN", "MaxPool"]
    assert "Split" not in {node.op_type for node in across.graph.node}
    caffenet = onnx_writer.graph(published("caffenet").net())
    assert [n.op_type for n in caffenet.graph.node[:4]] == ["Conv", "Relu", "MaxPool", "LRN"]


def test_the_metadata_hold_all_that_the_net_needs() -> None:
    own = published("source")
    model = onnx_writer.graph(own.net())
    onnx_writer.describe(model, own, checkpoint="00000007")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert Recipe.of(json.loads(facts["alexnet.recipe"])) == own.recipe
    assert facts["alexnet.digest"] == own.recipe.digest
    assert json.loads(facts["alexnet.classes"]) == own.classes
    assert (facts["alexnet.fit"], facts["alexnet.licence"], facts["alexnet.checkpoint"]) == ("crop", "", "00000007")
    mean = np.frombuffer(base64.b64decode(facts["alexnet.mean"]), "<f4").reshape(71, 71, 3)
    assert np.array_equal(mean, own.statistics["mean"].numpy())
    vectors = np.frombuffer(base64.b64decode(facts["alexnet.eigenvectors"]), "<f4").reshape(3, 3)
    assert np.array_equal(vectors, np.eye(3))


def of_kind(model: Any, kind: str) -> Any:
    return next(node for node in model.graph.node if node.op_type == kind)


def attribute(node: Any, name: str) -> Any:
    return next(entry for entry in node.attribute if entry.name == name)


def scaled(name: str, by: float) -> Callable[[Any], None]:
    """Scale a constant of a model."""

    def act(model: Any) -> None:
        (tensor,) = (entry for entry in model.graph.initializer if entry.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(by * onnx.numpy_helper.to_array(tensor), name))

    return act


def set_to(kind: str, name: str, **value: float) -> Callable[[Any], None]:
    """Set an attribute of the first node of a kind."""

    def act(model: Any) -> None:
        ((field, number),) = value.items()
        setattr(attribute(of_kind(model, kind), name), field, number)

    return act


WRONG: dict[str, Callable[[Any], None]] = {
    "alpha not times n": set_to("LRN", "alpha", f=2e-5),
    "k of 1": set_to("LRN", "bias", f=1.0),
    "another beta": set_to("LRN", "beta", f=0.5),
    "a window of 3": set_to("LRN", "size", i=3),
    "no dropout factor": scaled("drop6.kept", 2.0),
    "a bias that is off": scaled("conv1.bias", 1.01),
    "a mean that is off": scaled("raw.mean", 1.01),
    "a softmax across views": set_to("Softmax", "axis", i=0),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_graph_that_computes_something_else_is_refused(what: str) -> None:
    net = published("source").net()
    model = onnx_writer.raw_graph(net, 10)
    WRONG[what](model)
    with pytest.raises(WorkFailed, match="nothing was written"):
        onnx_files.check(model, net, 10)


def test_a_net_that_gives_nan_is_refused() -> None:
    net = published("tiny").net()
    model = onnx_writer.graph(net)
    with torch.no_grad():
        net.conv3.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(WorkFailed, match="diverged"):
        onnx_files.check(model, net, 10)


def test_a_layer_that_is_not_of_this_package_is_refused_by_its_name() -> None:
    net = published("tiny").net()
    net.relu3 = nn.GELU()
    with pytest.raises(InputError, match="layer relu3 is a GELU"):
        onnx_writer.graph(net)


def test_quantised_layers_are_those_that_are_fully_connected_and_keep_the_metadata() -> None:
    own = published("paper")
    model = onnx_writer.graph(own.net())
    onnx_writer.describe(model, own)
    small = onnx_files.quantized(model)
    kinds = [node.op_type for node in small.graph.node]
    assert (kinds.count("MatMulInteger"), kinds.count("Conv"), kinds.count("Gemm")) == (3, 5, 0)
    assert {e.key: e.value for e in small.metadata_props} == {e.key: e.value for e in model.metadata_props}
    wide = {entry.name: entry.data_type for entry in small.graph.initializer if "fc6.weight" in entry.name}
    assert onnx.TensorProto.UINT8 in wide.values()
    net = own.net()
    views = net.transform.center_crop(pictures(8, 71))
    exact, rough = (onnx_files.session(m.SerializeToString())(views.numpy()) for m in (model, small))
    off = np.abs(rough - exact).max() / np.abs(exact).max()
    assert 1e-4 < off < 0.05  # 8 bits hold 1 part in 255


def test_the_specifications_own_evaluator_gives_the_logits_of_the_net() -> None:
    """With the norms within each tower."""
    reference = pytest.importorskip("onnx.reference")
    shape = RECIPES["paper"].replace(net={"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 5}).net
    net = build(shape, 0).eval()
    for p in net.parameters():  # so large that the norms count
        torch.nn.init.normal_(p, 0, 0.05, generator=torch.Generator().manual_seed(p.numel()))
    model = onnx_writer.graph(net)
    onnx.checker.check_model(model, full_check=True)
    kinds = Counter(node.op_type for node in model.graph.node)
    several = {"Conv": 5, "Relu": 7, "Split": 2, "LRN": 4, "Concat": 2, "MaxPool": 3, "Gemm": 3, "Mul": 2}
    assert kinds == {**several, "Flatten": 1}
    norm = next(node for node in model.graph.node if node.op_type == "LRN")
    numbers = {a.name: onnx.helper.get_attribute_value(a) for a in norm.attribute}
    assert numbers == pytest.approx({"size": 5, "alpha": 5e-4, "beta": 0.75, "bias": 2.0})
    # In onnx 1.23 and before, LRN norms only as many maps as there are pictures; four pictures cover a whole tower.
    views = 60 * torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    logits = reference.ReferenceEvaluator(model).run(None, {"views": views.numpy()})[0]
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(logits), net(views), rtol=1e-3, atol=1e-5)
