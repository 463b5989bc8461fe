"""Nets as PyTorch modules: copied, pickled, exported, and with a replaced layer."""

import copy
import io
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint as checkpoint_

from alexnet.config.recipe import CifarNet, MlpNet, Views
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.data.transforms import Transform
from alexnet.models.arguments import moved
from alexnet.models.build import build
from alexnet.models.network import Network
from alexnet.ops import cpu, cpu_build
from alexnet.runs.run import load

MLP = MlpNet(image_size=8, classes=3, hidden=(6, 5), std=(0.1, 0.1, 0.1))


def narrow(name: str, **changes: Any) -> Network:
    """Build a recipe's net, narrow enough to be fast, in eval mode."""
    net = RECIPES[name].replace(net={"channels": (8,) * 5, "hidden": 16, "classes": 3, "std": (0.1,) * 8} | changes).net
    return build(net, seed=1).eval()


KINDS: dict[str, Callable[[], Network]] = {
    "tiny": lambda: narrow("tiny"),
    "tanh": lambda: narrow("tiny", activation="tanh"),
    "logistic": lambda: narrow("tiny", activation="logistic"),
    "towers that do not meet": lambda: narrow("tiny", cross_tower=False),
    "cifar": lambda: build(CifarNet(channels=(4, 4), local=(4, 4)), 1).eval(),
    "cifar with a norm": lambda: build(RECIPES["cifar-13"].net, 1).eval(),
    "mlp": lambda: build(MLP, 1).eval(),
}


def views(net: Network, n: int = 2) -> Tensor:
    return 50 * torch.randn(n, 3, net.net.image_size, net.net.image_size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=KINDS)
def net(request: pytest.FixtureRequest) -> Network:
    return KINDS[request.param]()


@pytest.fixture(params=["native", "off"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Use the compiled kernels, or none, as on a machine without a compiler."""
    for value in (request.param, ""):
        monkeypatch.setenv("ALEXNET_NATIVE", value)
        cpu.library.cache_clear()
        cpu_build.library.cache_clear()
        if value:
            yield value


def test_a_net_is_pickled_copied_and_saved_whole_before_it_is_used_and_after(net: Network) -> None:
    """Like any torch.nn.Module; the copy also continues the count of training steps, which dropout uses."""
    x = views(net)
    for _ in range(2):
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        pickled = pickle.loads(pickle.dumps(net))  # noqa: S301
        copies = copy.deepcopy(net), pickled, torch.load(file, weights_only=False)
        for mode in (True, False):
            expected = net.train(mode)(x)
            for other in copies:
                assert torch.equal(other.train(mode)(x), expected)


def test_a_trained_net_reaches_a_process_of_its_own_and_answers_there_the_same(run: Path) -> None:
    """With multiprocessing's spawn, and with its classes and its transform."""
    net = load(run)
    x = views(net)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        logits, classes, side = pool.submit(answer, net, x).result(timeout=120)
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(logits), net(x))
    assert (classes, side) == (net.classes, net.transform.side)


def answer(net: Network, x: Tensor) -> tuple[Any, Any, int]:
    torch.set_num_threads(1)
    with torch.no_grad():
        return net(x).numpy(), net.classes, net.transform.side


@pytest.mark.filterwarnings("ignore")  # of tracing itself, deprecated
@pytest.mark.parametrize(("traced", "given"), [(2, 100), (100, 2)])
def test_a_traced_net_answers_for_another_number_of_pictures(traced: int, given: int) -> None:
    """The implementation computes fewer than a hundred pictures at a time."""
    net = narrow("tiny")
    x = views(net, given)
    with torch.no_grad():
        found = torch.jit.trace(net, views(net, traced), check_trace=False)
        torch.testing.assert_close(found(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of parts of PyTorch that its exporter uses
@pytest.mark.parametrize(
    ("dtype", "strict"),
    [(torch.float32, True), (torch.bfloat16, False)],
    ids=str,
)
def test_a_net_answers_after_an_export_what_it_answered_before_and_is_exported_again(
    kernels: str, dtype: torch.dtype, strict: bool
) -> None:
    """Also if the export comes first in the process: it leaves nothing in a cache."""
    net = narrow("tiny").to(dtype)
    x = views(net).to(dtype)
    with torch.no_grad():
        exported = torch.export.export(copy.deepcopy(net), (x,), strict=strict).module()
        first = net(x)
        again = torch.export.export(net, (x,), strict=strict).module()
        assert torch.equal(net(x), first)
        assert torch.equal(again(x), exported(x))
        torch.testing.assert_close(again(x), first, rtol=3e-2, atol=3e-2 * float(first.abs().max()))


def test_a_net_used_in_inference_mode_can_be_differentiated_afterwards(kernels: str) -> None:
    net = narrow("paper", image_size=67)
    x = views(net)
    with torch.inference_mode():
        net(x)
    net(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


HEADS: dict[str, Callable[[int], nn.Module]] = {
    "Identity": lambda units: nn.Identity(),
    "Sequential": lambda units: nn.Sequential(nn.Linear(units, 8), nn.ReLU(), nn.Linear(8, 5)),
    "Linear": lambda units: nn.Linear(units, 5),
    "no bias": lambda units: nn.Linear(units, 5, bias=False),
}


@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("head", HEADS)
def test_another_module_may_stand_in_the_place_of_the_last_layer(net: Network, head: str, pictures: int) -> None:
    """To read features, or for other classes."""
    name, x = net.net.layers[-1], views(net, pictures)
    seen = dict(net.walk(x))
    before = list(seen.values())[-2].flatten(1)
    replaced = HEADS[head](before.shape[1])
    setattr(net, name, replaced)
    with torch.no_grad():
        torch.testing.assert_close(net(x), replaced(before))
    torch.testing.assert_close(net(x), replaced(before))


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
@pytest.mark.parametrize("talk", [True, False])
def test_another_module_in_the_place_of_a_hidden_layer_sees_all_that_goes_into_it(layer: str, talk: bool) -> None:
    net = narrow("tiny", cross_tower=talk)
    x = views(net)
    before = {"fc6": "pool5", "fc7": "drop6"}[layer]
    with torch.no_grad():
        wide = net.features(x, before).flatten(1)
        setattr(net, layer, nn.Sequential(nn.Linear(wide.shape[1], 16, bias=False)))
        assert torch.equal(net.features(x, layer), net.get_submodule(layer)(wide))


def transform(net: Network) -> Transform:
    side = net.net.image_size
    return Transform(Views(), side, torch.full((side + 8, side + 8, 3), 100 + 1 / 3), torch.eye(3))


CASTS: dict[str, Callable[[Network], Any]] = {
    "half": lambda net: net.half(),
    "bfloat16": lambda net: net.to(torch.bfloat16),
    "double": lambda net: net.double(),
    "channels last": lambda net: net.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
    "in a Sequential": lambda net: nn.Sequential(net).half(),
    "meta": lambda net: net.to("meta"),
}


@pytest.mark.parametrize("cast", CASTS)
def test_a_net_that_is_cast_leaves_its_transform_as_it_is(net: Network, cast: str) -> None:
    """Its mean stays float32. On meta it would lose its numbers, and no state_dict could restore them."""
    net.transform = transform(net)
    before = net.transform.mean.clone()
    CASTS[cast](net)
    assert net.transform.mean.dtype == torch.float32
    assert torch.equal(net.transform.mean, before)


def test_a_transform_is_no_part_of_the_net_that_others_look_through(net: Network) -> None:
    keys, children, text = list(net.state_dict()), list(net.children()), repr(net)
    net.transform = transform(net)
    assert (list(net.state_dict()), list(net.children()), repr(net)) == (keys, children, text)
    again = pickle.loads(pickle.dumps(copy.deepcopy(net)))  # noqa: S301
    assert torch.equal(again.transform.mean, net.transform.mean)
    pictures = torch.zeros(2, *net.transform.mean.shape, dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(again.transform(pictures)), net(net.transform(pictures)))


def test_a_transform_goes_where_its_net_goes() -> None:
    with FakeTensorMode():  # fake tensors may be on a device that does not exist
        given = Transform(Views(), 8, torch.zeros(9, 9, 3), torch.eye(3))
        found = moved(given, lambda t: t.to("cpu:1", torch.float16))
    assert {t.device.index for t in (found.mean, found.components)} == {1}
    assert found.mean.dtype == torch.float32
    assert moved(given, lambda t: t.half()) is given


def test_any_callable_may_be_a_nets_transform(net: Network) -> None:
    """Also a module, like those of torchvision."""
    for other in (abs, nn.Identity()):
        net.transform = other
        assert net.half().transform is other


@pytest.mark.filterwarnings("ignore")  # of tracing itself, deprecated
def test_a_traced_or_exported_net_may_have_its_transform() -> None:
    net = narrow("tiny")
    net.transform, net.classes, x = transform(net), ["a", "b", "c"], views(net)
    with torch.no_grad():
        for found in (torch.jit.trace(net, x, check_trace=False), torch.export.export(net, (x,)).module()):
            torch.testing.assert_close(found(x), net(x), rtol=1e-4, atol=1e-5)


def test_a_gradient_of_a_gradient_of_a_whole_net_is_right() -> None:
    """Each norm's own gradient reaches the input by several ways; against a difference of two gradients."""
    net = narrow("tiny").double()
    x, v = views(net).double(), torch.randn(2, 3, 56, 56, dtype=torch.float64)

    def slope(at: Tensor) -> Tensor:
        at = at.clone().requires_grad_()
        loss = nn.functional.cross_entropy(net(at), torch.tensor([1, 2]))
        (found,) = torch.autograd.grad(loss, at)
        return found

    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(net(leaf), torch.tensor([1, 2])), leaf, create_graph=True)
    (found,) = torch.autograd.grad((g * v).sum(), leaf)
    h = 1e-5
    expected = (slope(x + h * v) - slope(x - h * v)) / (2 * h)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_masks_that_would_not_be_those_of_the_batch_are_refused() -> None:
    """Gradient checkpointing repeats a forward pass at a later step; vmap hides the positions of pictures."""
    net = narrow("tiny").train()
    x = views(net)
    with pytest.raises(RuntimeError, match="a backward pass repeats dropout at a later step; call"):
        checkpoint_(net, x, use_reentrant=False).square().sum().backward()
    with pytest.raises(RuntimeError, match="vmap hides the positions of pictures"):
        torch.func.vmap(lambda a: net(a[None])[0])(x)

    def at_its_step(x: Tensor) -> Tensor:
        return net.at(4)(x)

    slopes = []
    for repeated in (True, False):
        net.zero_grad()
        logits = checkpoint_(at_its_step, x, use_reentrant=False) if repeated else at_its_step(x)
        logits.square().sum().backward()
        slopes.append([p.grad for p in net.parameters()])
    for found, expected in zip(*slopes, strict=True):
        assert torch.equal(found, expected)


def test_dropout_alone_in_training_draws_other_masks_each_time() -> None:
    """For the spread of a net's answers: the other layers stay in eval mode."""
    net = narrow("tiny")
    x = views(net)
    for name in ("drop6", "drop7"):
        net.get_submodule(name).train()
    assert not torch.equal(net(x), net(x))
    assert net.step == 2


@pytest.mark.parametrize("gone", [lambda net: delattr(net, "norm1"), lambda net: setattr(net, "norm1", None)])
def test_a_layer_that_is_gone_is_named_with_what_would_do(gone: Callable[[Network], object]) -> None:
    net = narrow("tiny")
    gone(net)
    with pytest.raises(InputError, match=r"no layer norm1 any more; put nn\.Identity\(\) in its place"):
        net(views(net))


def test_a_compiled_net_counts_its_training_steps_without_compiling_each() -> None:
    net, twin = narrow("tiny", hidden=8).train(), narrow("tiny", hidden=8).train()
    x, compiled, graphs = views(net), [], []

    def counting(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    stepped = torch.compile(net, backend=counting)
    for _ in range(10):
        compiled.append(stepped(x).detach())
        assert torch.equal(compiled[-1], twin(x))
    assert len(graphs) <= 2
