"""Layers that run together: the same bits as one by one, and only where nobody looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet.config.recipes import RECIPES
from alexnet.models import fused, layer_table
from alexnet.models.build import build
from alexnet.models.network import Network

SMALL = {"channels": (8,) * 5, "hidden": 16, "classes": 3, "std": (0.1,) * 8}
NETS: dict[str, dict[str, Any]] = {
    "tiny": SMALL,
    "small": SMALL,
    "one-gpu": SMALL,
    "caffenet": SMALL,
    "owt": SMALL,
    "cifar-11": {},
    "cifar-18": {},
}
GROUPS = {
    "tiny": ["norm1 relu1 pool1", "relu2 norm2", "within2 pool2", "relu5 pool5"],
    "small": ["norm1 relu1 pool1", "relu2 norm2", "within2 pool2", "relu5 pool5"],
    "one-gpu": ["relu1 norm1 pool1", "relu2 norm2 pool2", "relu5 pool5"],
    "caffenet": ["relu1 pool1", "relu2 pool2", "relu5 pool5"],
    "owt": ["relu1 pool1", "relu2 pool2", "relu5 pool5"],
    "cifar-11": ["relu1 pool1", "relu2 norm2 pool2"],
    "cifar-18": [],  # its ReLUs come after its pools, and its norms are within maps
}


def made(name: str) -> tuple[Network, Tensor]:
    recipe = RECIPES[name].replace(net=NETS[name])
    net = build(recipe.net, 1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    side = recipe.net.image_size
    return net, 50 * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_layers_together_give_the_bits_of_the_layers_one_by_one(name: str, dtype: torch.dtype) -> None:
    """Logits and gradients, in training."""
    net, x = made(name)
    net, x = net.to(dtype).train(), x.to(dtype).contiguous(memory_format=torch.channels_last)
    assert [" ".join(names) for names in net.together if len(names) > 1] == GROUPS[name]
    found = []
    for looked_at in (False, True):
        net.zero_grad()
        handle = nn.modules.module.register_module_forward_hook(lambda *_: None) if looked_at else None
        logits = net.at(3)(x)
        logits.float().square().sum().backward()
        if handle:
            handle.remove()
        found.append([logits.detach(), *(p.grad for p in net.parameters())])
    for together, apart in zip(*found, strict=True):
        assert torch.equal(together, apart)


@contextmanager
def everywhere() -> Iterator[None]:
    handle = nn.modules.module.register_module_full_backward_hook(lambda *_: None)
    yield
    handle.remove()


LOOKS: dict[str, Callable[[], Any]] = {
    "a hook on all modules": everywhere,
    "a dispatch mode": TorchDispatchMode,
    "forward-mode autograd": torch.autograd.forward_ad.dual_level,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of parts of PyTorch that forward mode uses
@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_sees_the_layers_one_by_one(look: str) -> None:
    x = torch.zeros(2)
    assert not fused.watched(x)
    with LOOKS[look]():
        assert fused.watched(x)
    assert not fused.watched(x)


def test_a_transform_sees_the_layers_one_by_one() -> None:
    seen = []

    def act(t: Tensor) -> Tensor:
        seen.append(fused.watched(t))
        return t

    torch.func.vmap(act)(torch.zeros(2))
    assert seen == [True]


@pytest.mark.parametrize("layer", ["relu1", "norm1", "pool1", "relu2", "norm2", "fc8"])
def test_a_hook_is_called_once_and_changes_nothing_else(layer: str) -> None:
    net, x = made("one-gpu")
    net.eval()
    with torch.no_grad():
        expected, seen = net(x), []
        handle = net.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.append(output))
        assert torch.equal(net(x), expected)
        assert torch.equal(net.features(x, layer), seen[0])
        handle.remove()
    assert len(seen) == 2


REPLACED: dict[str, Callable[[Network], object]] = {
    "relu1 by tanh": lambda net: setattr(net, "relu1", nn.Tanh()),
    "norm1 by nothing": lambda net: setattr(net, "norm1", nn.Identity()),
    "pool1 by a mean": lambda net: setattr(net, "pool1", nn.AvgPool2d(3, 2, ceil_mode=True)),
    "pool1's stride": lambda net: setattr(net.get_submodule("pool2"), "stride", 1),
    "pool1's side": lambda net: setattr(net.get_submodule("pool2"), "kernel_size", 2),
    "norm2's towers": lambda net: setattr(net.get_submodule("norm2"), "towers", 2),
    "relu2's forward": lambda net: setattr(net.get_submodule("relu2"), "forward", torch.sigmoid),
}


@pytest.mark.parametrize("change", REPLACED)
def test_a_layer_of_a_group_that_is_another_is_computed_as_it_is(change: str) -> None:
    net, x = made("one-gpu")
    net.eval()
    with torch.no_grad():
        before = net.features(x, "pool2")
        REPLACED[change](net)
        after = y = x
        for names in net.together:
            after = fused.run([net.get_submodule(name) for name in names], after)
            for name in names:
                y = net.get_submodule(name)(y)
            if names[-1] == "pool2":
                break
        assert torch.equal(after, y)
        assert before.shape != after.shape or not torch.equal(before, after)


def test_groups_hold_each_layer_once_and_in_order() -> None:
    for recipe in RECIPES.values():
        layers = layer_table.describe(recipe.net)
        assert [name for names in fused.together(layers) for name in names] == [layer.name for layer in layers]
