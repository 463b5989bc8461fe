"""A convolution that keeps its weights rearranged computes what it computes without, whatever happens to it."""

import gc
import platform
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alexnet.core.device import choose_compute, has_bf16
from alexnet.models.cifar import Cifar
from alexnet.ops import packed
from alexnet.ops.linear import linear
from alexnet.ops.packed import KEPT, keep_packed

NARROW = [
    torch.float32,
    pytest.param(torch.bfloat16, marks=pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="no bf16 here")),
]
# Large enough that PyTorch computes one picture by oneDNN.
LAYERS = [(3, 16, 11, 4, 0, 1, 63), (32, 48, 5, 1, 2, 2, 27), (128, 48, 3, 1, 1, 1, 13), (128, 32, 3, 1, 1, 2, 13)]
here = pytest.mark.skipif(packed.operators() is None, reason="oneDNN has no such kernels here")


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def held(layer: nn.Conv2d, dtype: torch.dtype) -> nn.Conv2d:
    return keep_packed(layer.to(dtype=dtype, memory_format=torch.channels_last))  # type: ignore[call-overload]


def made(dtype: torch.dtype = torch.float32) -> tuple[nn.Conv2d, Tensor]:
    return held(nn.Conv2d(128, 32, 3, padding=1), dtype), last(torch.randn(1, 128, 13, 13, dtype=dtype))


def by_kernel(x: Tensor, layer: nn.Conv2d) -> bool:
    """Tell whether the kept weights compute x, at a third call or later."""
    return packed.convolution(x, layer) is not None


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("sizes", LAYERS, ids=str)
def test_each_call_gives_the_bits_and_the_layout_of_the_plain_layer(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs, maps, size, stride, padding, groups, side = sizes
    layer = held(nn.Conv2d(inputs, maps, size, stride, padding, groups=groups), dtype)
    for pictures in (1, 1, 1, 5, 5, 1):
        x = last(torch.randn(pictures, inputs, side, side, dtype=dtype))
        found, plain = linear(x, layer), layer(x)
        assert torch.equal(found, plain)
        assert found.stride() == plain.stride()
    if packed.operators() is not None:
        assert by_kernel(x, layer)


def test_maps_that_pytorch_computes_otherwise_keep_its_bits() -> None:
    """oneDNN's own result differs for maps of one row, which PyTorch does not give it."""
    layer, _ = made()
    for _ in range(4):
        x = last(torch.randn(1, 128, 1, 5))
        assert torch.equal(linear(x, layer), layer(x))


def halve(layer: nn.Conv2d) -> None:
    layer.weight.mul_(0.5)


def replace(layer: nn.Conv2d) -> None:
    layer.weight = nn.Parameter(torch.zeros_like(layer.weight))


def assign(layer: nn.Conv2d) -> None:
    for _ in range(2):  # the second may get the address of the first weights
        layer.weight.data = torch.randn_like(layer.weight)


def share(layer: nn.Conv2d) -> None:
    layer.weight = nn.Parameter(layer.weight.data)  # the same memory, with a count of its own
    while layer.weight._version < 3:
        layer.weight.mul_(0.5)


def load(layer: nn.Conv2d) -> None:
    layer.load_state_dict({name: torch.randn_like(t) for name, t in layer.state_dict().items()})


def widen(layer: nn.Conv2d) -> None:
    layer.double()
    layer.weight.add_(1)
    layer.float()


def restride(layer: nn.Conv2d) -> None:
    layer.stride = 2, 2


def rebias(layer: nn.Conv2d) -> None:
    assert layer.bias is not None
    layer.bias.data.add_(1)  # the bias is never copied, so even this is seen


CHANGES = [halve, replace, assign, share, load, widen, restride, rebias]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_layer_computes_with_what_it_is_now(change: Callable[[nn.Conv2d], None]) -> None:
    layer, x = made()
    while layer.weight._version < 3:
        layer.weight.mul_(1.5)
    for _ in range(3):
        before = linear(x, layer)
    change(layer)
    for _ in range(4):
        found = linear(x, layer)
        assert torch.equal(found, layer(x))
    assert not torch.equal(found, before)
    assert packed.operators() is None or by_kernel(x, layer)


@here
def test_hooks_are_called_and_gradients_and_watchers_see_pytorchs_own_layer() -> None:
    layer, x = made()
    for _ in range(3):
        linear(x, layer)
    assert by_kernel(x, layer)
    with torch.enable_grad():
        assert linear(x, layer).requires_grad
    with FlopCounterMode(display=False) as counter:
        linear(x, layer)
    assert counter.get_total_flops() == 2 * 128 * 32 * 9 * 13 * 13
    assert torch.equal(torch.vmap(lambda one: linear(one, layer))(x[None])[0], torch.vmap(layer)(x[None])[0])
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, layer).dtype == torch.bfloat16
    seen: list[int] = []
    layer.register_forward_hook(lambda *_: seen.append(1))
    linear(x, layer)
    assert seen


def test_weights_that_count_no_changes_are_not_kept() -> None:
    with torch.inference_mode():
        layer, x = made()
        for _ in range(3):
            linear(x, layer)
        layer.weight.mul_(2)
        assert torch.equal(linear(x, layer), layer(x))


def test_the_copy_goes_with_its_layer() -> None:
    gc.collect()
    before = len(KEPT)
    layer, x = made()
    for _ in range(3):
        linear(x, layer)
    assert len(KEPT) == before + 1
    del layer
    gc.collect()
    assert len(KEPT) == before


@pytest.mark.filterwarnings("ignore")  # of oneDNN's switch, about GPUs
@pytest.mark.parametrize("lacking", ["an operator", "oneDNN", "x86-64"])
def test_without_the_kernels_the_layer_is_called(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacking == "an operator":
        monkeypatch.setattr(packed, "OPERATORS", ("_no_such_operator",))
    elif lacking == "x86-64":
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    packed.operators.cache_clear()
    layer, x = made()
    try:
        with torch.backends.mkldnn.flags(enabled=lacking != "oneDNN"):
            for _ in range(4):
                assert not by_kernel(x, layer)
                assert torch.equal(linear(x, layer), layer(x))
    finally:
        packed.operators.cache_clear()


def test_a_net_with_kept_weights_gives_the_same_logits() -> None:
    compute = choose_compute("cpu", "auto")
    net = compute.serve(Cifar()).eval()
    x = (60 * torch.randn(2, 3, net.net.image_size, net.net.image_size)).to(compute.dtype)
    x = last(x)
    with compute.arithmetic():
        expected = net(x)
        keep_packed(net)
        assert all(torch.equal(net(x), expected) for _ in range(3))
