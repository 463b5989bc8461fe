"""The net on a GPU, in blocks: the layers of the plain net, their gradients, and when it stands aside.

It runs on a CUDA device if there is one, else in Triton's interpreter.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alexnet.config.recipe import LRN, Net, SpatialLRN

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
with pytest.MonkeyPatch.context() as patch:
    if not CUDA:
        patch.setenv("TRITON_INTERPRET", "1")  # read where a kernel is defined, so before the import
    pytest.importorskip("triton", reason="Triton is not installed")
    from alexnet.models import fused
    from alexnet.models.alexnet import AlexNet
    from alexnet.models.layers import last_output
    from alexnet.ops import triton

pytestmark = pytest.mark.gpu
on_cuda = pytest.mark.skipif(not CUDA, reason="no CUDA device here")
# Figure 2's shape on 67 pixels. Weights and alpha are large, so that no part is negligible.
SMALL = Net(
    image_size=67, classes=5, channels=(8, 12, 16, 12, 8), hidden=14, lrn=LRN(alpha=1e-3), std=(0.03,) + (0.1,) * 7
)
NETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "source": {
        "lrn": LRN(alpha=1e-3, divide_alpha_by_n=True), "lrn1_first": True, "spatial_lrn": SpatialLRN(alpha=0.02)
    },
    "one tower": {"towers": 1},
    "no norm": {"lrn": None},
    "without conv4": {"skip": (4,)},
    "separate pools": {"pool": 2},
}  # fmt: skip


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the interpreter's variable set for the first launch."""
    if not CUDA:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
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
    random = torch.Generator().manual_seed(0)
    x = 60 * torch.randn(2, 3, 67, 67, dtype=torch.float64, generator=random)
    return x.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)


def trained(net: AlexNet, logits: Tensor) -> dict[str, Tensor]:
    nn.functional.cross_entropy(logits.double(), torch.tensor([1, 3], device=DEVICE)).backward()
    return {"logits": logits.detach().double()} | {
        name: p.grad.double() for name, p in net.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("name", NETS)
def test_logits_and_gradients_are_those_of_the_layers_one_by_one(name: str) -> None:
    """In float32, both are as far from the layers in float64: sums of up to 5,000 terms, through eight layers."""
    plain, net = built(NETS[name], torch.float64), built(NETS[name], torch.float32)
    expected = trained(plain, last_output(plain.walk(views(torch.float64))))
    found = trained(net, fused.logits(net, views(torch.float32)))
    assert expected.keys() == found.keys()
    for what, numbers in expected.items():
        assert (found[what] - numbers).norm() <= 1e-5 * numbers.norm(), what


def test_in_bfloat16_it_is_as_near_as_the_layers_one_by_one() -> None:
    """Each layer rounds its output and each gradient to 8 bits; neither way has more such roundings."""
    plain, net, one_by_one = (built(NETS["source"], t) for t in (torch.float64, torch.bfloat16, torch.bfloat16))
    expected = trained(plain, last_output(plain.walk(views(torch.float64))))
    found = trained(net, fused.logits(net, views(torch.bfloat16)))
    other = trained(one_by_one, last_output(one_by_one.walk(views(torch.bfloat16))))
    for what, numbers in expected.items():
        bound = 3 * (other[what] - numbers).norm() + 2**-7 * numbers.norm()
        assert (found[what] - numbers).norm() <= bound, what


def test_in_testing_units_are_scaled_and_none_dropped() -> None:
    plain, net = built({}, torch.float64).eval(), built({}, torch.float32).eval()
    with torch.no_grad():
        expected = plain(views(torch.float64))
        found = fused.logits(net, views(torch.float32)).double()
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_views_in_blocks_are_views() -> None:
    net, x = built({}, torch.float32), views(torch.float32)
    side, blocks = fused.packing(net.net)
    packed = triton.pack(x, side, blocks)
    assert fused.in_blocks(net.net, packed)
    assert not fused.in_blocks(net.net, x)
    with torch.no_grad():
        assert torch.equal(fused.logits(net, packed), fused.logits(net, x))


@pytest.mark.parametrize("settings", [{"activation": "tanh"}, {"cross_tower": False}, {"conv6": 12}, {"stride": 1}])
def test_a_net_with_other_parts_is_left_to_the_layers(settings: dict[str, Any]) -> None:
    assert fused.supports(SMALL)
    assert not fused.supports(replace(SMALL, **settings))


def test_whoever_looks_into_the_net_sees_its_layers() -> None:
    """A hook, a layer in another's place, a parametrised weight, a hook for all modules."""
    net = built({}, torch.float32)
    assert not fused.watched(net)
    seen = net.conv3.register_forward_hook(lambda *_: None)
    assert fused.watched(net)
    seen.remove()
    everywhere = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert fused.watched(net)
    everywhere.remove()
    assert not fused.watched(net)
    nn.utils.parametrizations.weight_norm(net.fc6)
    assert fused.watched(net)
    net.fc6 = nn.Identity()  # type: ignore[assignment]
    assert fused.watched(net)


def test_it_is_of_cuda_devices_alone() -> None:
    net = built({}, torch.float32).cpu()
    assert not fused.possible(net, views(torch.float32).cpu())


@on_cuda
def test_a_net_on_the_device_computes_in_blocks_by_itself() -> None:
    net, x = built({}, torch.float32), views(torch.float32)
    assert fused.possible(net, x)
    with torch.no_grad():
        assert torch.equal(net.at(5, 8)(x), fused.logits(net.at(5, 8), x))
        assert not fused.possible(net, x.double())
