"""The net on a GPU, in blocks: the layers of the plain net, their gradients, and when it stands aside.

It runs on a CUDA device if there is one, else in Triton's interpreter.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.ops.triton.shared import DEVICE, interpreting, on_cuda, triton
from torch import Tensor, nn

from alexnet.config.recipe import LRN, Net, SpatialLRN
from alexnet.models import blocks
from alexnet.models.alexnet import AlexNet
from alexnet.ops.choices import Choices

pytestmark = pytest.mark.gpu
# Figure 2's shape on few pixels; conv1's last window hangs over the border, as for 224. Weights and alpha are large, so
# that no part is negligible.
SIDE = 53
SMALL = Net(
    image_size=SIDE, classes=5, channels=(8, 12, 16, 12, 8), hidden=14, lrn=LRN(alpha=1e-3), std=(0.03,) + (0.1,) * 7
)
NETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "source": {
        "lrn": LRN(alpha=1e-3, divide_alpha_by_n=True), "lrn1_first": True, "spatial_lrn": SpatialLRN(alpha=0.02)
    },
    "one tower, separate pools": {"towers": 1, "pool": 2},
    "no norm, no conv4": {"lrn": None, "skip": (4,)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with interpreting():
        yield


def built(settings: dict[str, Any], dtype: torch.dtype) -> AlexNet:
    net = AlexNet(replace(SMALL, **settings), seed=3).to(DEVICE, dtype)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("bias"):
                p.add_(torch.linspace(-0.3, 0.3, len(p)).to(p))
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.train().at(5, 8)


def views(dtype: torch.dtype) -> Tensor:
    """Draw one picture: the kernels' tests have several, and a picture costs the interpreter seconds."""
    random = torch.Generator().manual_seed(0)
    x = 60 * torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64, generator=random)
    return x.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)


def layer_by_layer(net: AlexNet, x: Tensor) -> Tensor:
    *_, (_, logits) = net.walk(x)
    return logits


def trained(net: AlexNet, logits: Tensor) -> dict[str, Tensor]:
    nn.functional.cross_entropy(logits.double(), torch.tensor([1], device=DEVICE)).backward()
    return {"logits": logits.detach().double()} | {
        name: p.grad.double() for name, p in net.named_parameters() if p.grad is not None
    }


@functools.cache
def exact(name: str) -> dict[str, Tensor]:
    """Compute logits and gradients in float64, layer by layer."""
    plain = built(NETS[name], torch.float64)
    return trained(plain, layer_by_layer(plain, views(torch.float64)))


@pytest.mark.parametrize("name", NETS)
def test_logits_and_gradients_are_those_of_the_layers_one_by_one(name: str) -> None:
    """In float32, both are as far from the layers in float64: sums of up to 5,000 terms, through eight layers."""
    expected, net = exact(name), built(NETS[name], torch.float32)
    found = trained(net, blocks.logits(net, views(torch.float32)))
    assert expected.keys() == found.keys()
    for what, numbers in expected.items():
        assert (found[what] - numbers).norm() <= 1e-5 * numbers.norm(), what


def test_in_bfloat16_it_is_as_near_as_the_layers_one_by_one() -> None:
    """Each layer rounds its output and each gradient to 8 bits; neither way has more such roundings.

    But each may make other units win their pools, which moves conv1's gradient of one picture by up to 0.1 of its norm.
    """
    expected, net, one_by_one = exact("source"), *(built(NETS["source"], torch.bfloat16) for _ in range(2))
    found = trained(net, blocks.logits(net, views(torch.bfloat16)))
    other = trained(one_by_one, layer_by_layer(one_by_one, views(torch.bfloat16)))
    for what, numbers in expected.items():
        bound = 4 * (other[what] - numbers).norm() + 2**-5 * numbers.norm()
        assert (found[what] - numbers).norm() <= bound, what


def test_in_testing_units_are_scaled_and_none_dropped() -> None:
    plain, net = (built({"lrn": None}, dtype).eval() for dtype in (torch.float64, torch.float32))
    with torch.no_grad():
        expected = plain(views(torch.float64))
        found = blocks.logits(net, views(torch.float32)).double()
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_views_in_blocks_are_views() -> None:
    net, x = built({"lrn": None}, torch.float32), views(torch.float32)
    side, count = blocks.packing(net.net)
    packed = triton.pack(x, side, count)
    assert blocks.packed_views(net, packed)
    assert not blocks.packed_views(net, x)
    with torch.no_grad():
        assert torch.equal(blocks.logits(net, packed, Choices()), blocks.logits(net, x, Choices()))


@pytest.mark.parametrize("settings", [{"activation": "tanh"}, {"cross_tower": False}, {"conv6": 12}, {"stride": 1}])
def test_a_net_with_other_parts_is_left_to_the_layers(settings: dict[str, Any]) -> None:
    assert blocks.supports(SMALL)
    assert not blocks.supports(replace(SMALL, **settings))


def test_whoever_looks_into_the_net_sees_its_layers() -> None:
    """A hook, a layer in another's place, a parametrised weight."""
    net = built({}, torch.float32)
    assert blocks.as_described(net)
    seen = net.conv3.register_forward_hook(lambda *_: None)
    assert not blocks.as_described(net)
    seen.remove()
    assert blocks.as_described(net)
    nn.utils.parametrizations.weight_norm(net.fc6)
    assert not blocks.as_described(net)
    net.fc6 = nn.Identity()  # type: ignore[assignment]
    assert not blocks.as_described(net)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 8, 11, 2), nn.Conv2d(3, 8, 11, 4, padding=1), nn.Conv2d(3, 8, 11, 4, bias=False), nn.ReLU()]
)
def test_a_layer_that_the_recipe_does_not_describe_is_computed_as_it_is(layer: nn.Module) -> None:
    """Of another stride or padding, without a bias, or something else."""
    net = built({}, torch.float32)
    net.conv1 = layer  # type: ignore[assignment]
    assert not blocks.as_described(net)
    net.conv1 = nn.Conv2d(3, 8, 11, 4)
    net.fc8 = nn.Linear(14, 3)
    assert blocks.as_described(net)
    vars(net.conv2)["forward"] = nn.Identity()  # as net.conv2.forward = ... does
    assert not blocks.as_described(net)


CHANGES: dict[str, Callable[[AlexNet], object]] = {
    "another activation": lambda net: setattr(net, "relu3", nn.Tanh()),
    "a norm's numbers": lambda net: setattr(net.get_submodule("norm1"), "norm", LRN(n=3)),
    "a norm across towers": lambda net: setattr(net.get_submodule("norm2"), "towers", 1),
    "a pool's side": lambda net: setattr(net.get_submodule("pool1"), "kernel_size", 2),
    "a probability": lambda net: setattr(net.get_submodule("drop6"), "p", 0.25),
    "PyTorch's dropout": lambda net: setattr(net, "drop7", nn.Dropout()),
    "no pad": lambda net: setattr(net, "pad1", nn.Identity()),
    "another order of maps": lambda net: setattr(net, "flatten", nn.Flatten(2)),
    "no layer": lambda net: delattr(net, "relu5"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_layer_without_weights_that_is_another_is_computed_as_it_is(change: str) -> None:
    net = built({"image_size": 52}, torch.float32)
    assert blocks.as_described(net)
    CHANGES[change](net)
    assert not blocks.as_described(net)


def test_it_is_of_cuda_devices_alone() -> None:
    net = built({}, torch.float32).cpu()
    assert not blocks.possible(net, views(torch.float32).cpu())


@on_cuda
def test_a_net_on_the_device_computes_in_blocks_by_itself() -> None:
    net, x = built({}, torch.float32), views(torch.float32)
    assert blocks.possible(net, x)
    with torch.no_grad():
        assert torch.equal(net.at(5, 8)(x), blocks.logits(net.at(5, 8), x))
        assert not blocks.possible(net, x.double())
