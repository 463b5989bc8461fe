"""Compiled code gets only addresses of plain memory; for any other tensor, PyTorch computes the same.

The fast kernels can be switched off on every device.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from alexnet.config.recipe import LRN, MlpNet, SpatialLRN
from alexnet.models.layers import ResponseNorm, WithinMapNorm
from alexnet.models.mlp import Mlp
from alexnet.ops import cpu, dispatch, reference
from alexnet.ops.crop import cut
from alexnet.ops.dispatch import best
from alexnet.ops.dropout import dropout
from alexnet.ops.linear import linear
from alexnet.ops.norm import response_norm, within_map_norm

CUDA = torch.device("cuda", 0)
needs_compiler = pytest.mark.skipif(cpu.library() is None, reason="no C++ compiler here")


class Eighth(Tensor):
    """A weight stored as int8, like torchao's: it computes its own numbers, and has no address."""

    @staticmethod
    def __new__(cls, kept: Tensor, scale: float) -> "Eighth":
        made: Eighth = Tensor._make_wrapper_subclass(cls, kept.shape, dtype=torch.float32)
        return made

    def __init__(self, kept: Tensor, scale: float) -> None:
        self.kept, self.scale = kept, scale

    @classmethod
    def of(cls, x: Tensor) -> "Eighth":
        scale = float(x.detach().abs().max()) / 127
        return cls((x.detach() / scale).round().to(torch.int8), scale)

    def wide(self) -> Tensor:
        return self.kept * self.scale

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].kept, args[0].scale)

        def wide(t: Any) -> Any:
            return t.wide() if isinstance(t, Eighth) else t

        return func(*tree_map(wide, args), **tree_map(wide, kwargs or {}))


class Named(Tensor):
    """A subclass in plain memory with its own functions."""

    seen = 0

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Named.seen += func is torch.nn.functional.linear
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


class Watching(TorchDispatchMode):
    """A mode that records the operations, as a profiler, a FLOP counter or a tracer does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


x = torch.randn(1, 8)


def emptied() -> Tensor:
    """Make a tensor without storage, as FSDP does for a layer that is not in use."""
    t = torch.randn(1, 8)
    t.untyped_storage().resize_(0)
    return t


OTHERS: dict[str, Callable[[], Tensor]] = {
    "a wrapper": lambda: Eighth.of(x),
    "a subclass": lambda: x.as_subclass(Named),
    "a parameter of one": lambda: nn.Parameter(Eighth.of(x), requires_grad=False),
    "fake": lambda: FakeTensorMode().from_tensor(x),
    "meta": lambda: x.to("meta"),
    "negated lazily": lambda: torch.complex(x, x).conj().imag,
    "zeros without memory": lambda: torch._efficientzerotensor((1, 8)),
    "sparse": x.to_sparse,
    "sparse rows": x.to_sparse_csr,
    "MKLDNN": x.to_mkldnn,
    "quantised": lambda: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "without its storage": emptied,
}


@needs_compiler
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.filterwarnings("ignore")  # of kinds that PyTorch is about to drop
def test_what_does_not_lie_in_plain_memory_gets_pytorchs_operations(kind: str) -> None:
    other = OTHERS[kind]()
    chosen = best(other), best(x, other), best(x, nn.Parameter(x), x.bfloat16(), x.int(), x[:0])
    assert chosen == (reference, reference, cpu)


@needs_compiler
@pytest.mark.parametrize(
    "transform",
    [torch.func.vmap, torch.func.functionalize, lambda act: torch.func.grad(lambda t: act(t).sum())],
    ids=["vmap", "functionalize", "grad"],
)
def test_what_a_transform_wraps_gets_pytorchs_operations(transform: Callable[..., Any]) -> None:
    seen = []

    def act(t: Tensor) -> Tensor:
        seen.append(best(t))
        return t * 2

    transform(act)(x)
    assert seen == [reference]


@needs_compiler
def test_where_something_watches_the_operations_it_sees_them_all() -> None:
    layer = nn.Linear(8, 3)
    with torch.no_grad(), Watching() as watching:
        linear(x, layer)
        dropout(x, 0.5, 0, "fc6", 0, 0)
    assert any("mm" in name for name in watching.seen)
    with torch.no_grad():
        graph = make_fx(lambda t: linear(t, layer))(x)
        assert torch.equal(graph(2 * x), nn.functional.linear(2 * x, layer.weight, layer.bias))


@needs_compiler
@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_one_picture_meets_quantised_weights_as_two_do(parameter: str) -> None:
    """It has no address; reading from one crashed the process."""
    net = Mlp(MlpNet(image_size=2, classes=3, hidden=(4,), std=(0.1, 0.1))).eval()
    layer = net.get_submodule("fc1")
    setattr(layer, parameter, nn.Parameter(Eighth.of(getattr(layer, parameter) + 0.1), requires_grad=False))
    pictures = torch.randn(2, 3, 2, 2)
    with torch.no_grad():
        both = net(pictures)
        torch.testing.assert_close(torch.cat([net(pictures[:1]), net(pictures[1:])]), both)


@needs_compiler
def test_a_subclass_has_its_own_functions_called_for_one_picture_too() -> None:
    layer = nn.Linear(8, 3)
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Named), requires_grad=False)
    before = Named.seen
    with torch.no_grad():
        linear(x, layer)
    assert Named.seen == before + 1


@needs_compiler
def test_weights_of_another_device_are_refused_for_one_picture_too() -> None:
    layer = nn.Linear(8, 3, device="meta")
    with torch.no_grad(), pytest.raises(RuntimeError, match="device"):
        linear(x, layer)


@needs_compiler
def test_a_negated_view_is_normalised_as_its_numbers_are() -> None:
    z = torch.randn(2, 8, 3, 3, dtype=torch.complex64).conj().imag
    assert z.is_neg()
    torch.testing.assert_close(response_norm(z, LRN(), 2), response_norm(z.resolve_neg(), LRN(), 2))
    torch.testing.assert_close(within_map_norm(z, SpatialLRN()), within_map_norm(z.resolve_neg(), SpatialLRN()))


@needs_compiler
def test_an_mlp_is_mapped_over_its_pictures() -> None:
    net = Mlp(MlpNet(image_size=2, classes=3, hidden=(4,), std=(0.1, 0.1))).eval()
    pictures = torch.randn(5, 3, 2, 2)
    with torch.no_grad():
        found = torch.func.vmap(lambda p: net(p[None])[0])(pictures)
        torch.testing.assert_close(found, net(pictures))


@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of parts of PyTorch that these use
def test_a_derivative_forwards_is_not_lost_for_one_picture() -> None:
    layer = nn.Linear(8, 3)
    with torch.no_grad():
        slope = torch.func.jvp(lambda t: linear(t, layer), (x,), (torch.ones_like(x),))[1]
        torch.testing.assert_close(slope, layer.weight.sum(1)[None])
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
            found = torch.autograd.forward_ad.unpack_dual(linear(dual, layer)).tangent
        torch.testing.assert_close(found, layer.weight.sum(1)[None])


@needs_compiler
@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.jacrev])
@pytest.mark.parametrize("norm", [LRN(), SpatialLRN()], ids=["across", "within"])
def test_a_transform_of_a_norm_is_right(transform: Callable[..., Any], norm: Any) -> None:
    maps = torch.randn(2, 4, 3, 3)

    def act(t: Tensor) -> Tensor:
        return response_norm(t[None], norm, 2)[0] if isinstance(norm, LRN) else within_map_norm(t[None], norm)[0]

    if transform is torch.func.vmap:
        torch.testing.assert_close(transform(act)(maps), torch.stack([act(t) for t in maps]))
    else:
        slow = torch.autograd.functional.jacobian(act, maps[0])
        torch.testing.assert_close(transform(act)(maps[0]), slow)
        torch.testing.assert_close(torch.autograd.functional.jacobian(act, maps[0], vectorize=True), slow)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of parts of PyTorch that these use
@pytest.mark.parametrize("norm", [LRN(alpha=0.1), SpatialLRN(alpha=0.1)], ids=["across", "within"])
def test_a_derivative_forwards_of_a_norm_is_right_or_refused_but_never_0(norm: Any) -> None:
    """Compiled, linearised, and of an exported graph, where PyTorch would take an operator's derivative for 0."""
    layer = ResponseNorm(norm, 2) if isinstance(norm, LRN) else WithinMapNorm(norm)
    maps, v = torch.randn(2, 4, 3, 3, dtype=torch.float64), torch.randn(2, 4, 3, 3, dtype=torch.float64)
    h = 1e-6
    slope = (layer(maps + h * v) - layer(maps - h * v)) / (2 * h)

    def pushed(act: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.func.jvp(act, (maps,), (v,))[1]

    compiled = torch.compile(lambda: pushed(layer), backend="eager")
    for found in (pushed(layer), compiled(), torch.func.linearize(layer, maps)[1](v)):
        torch.testing.assert_close(found, slope, rtol=1e-7, atol=1e-8)
    for graph in (torch.fx.symbolic_trace(layer), torch.export.export(layer, (maps,)).module()):
        with pytest.raises(RuntimeError, match="has no derivative in forward mode; differentiate the net itself"):
            pushed(graph)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of parts of PyTorch that these use
def test_a_recorded_transform_of_a_norm_is_right() -> None:
    layer, maps = ResponseNorm(LRN(alpha=0.1), 2), torch.randn(3, 4, 3, 3)

    def slope(t: Tensor) -> Tensor:
        return torch.func.grad(lambda t: layer(t[None]).square().sum())(t)

    each = torch.func.vmap(slope)
    torch.testing.assert_close(make_fx(each)(maps)(2 * maps), each(2 * maps))
    torch.testing.assert_close(torch.func.functionalize(layer)(maps), layer(maps))
    assert layer(torch.empty(2, 4, 3, 3, device="meta")).shape == (2, 4, 3, 3)


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Set another default device for new tensors."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device("cpu")
    torch.set_default_device(None)


@needs_compiler
def test_another_default_device_changes_nothing(elsewhere: None) -> None:
    """Compiled code writes to the device of its inputs."""
    pictures = torch.full((2, 4, 4, 3), 9, dtype=torch.uint8, device="cpu")
    place, mirrored = torch.zeros(2, dtype=torch.long, device="cpu"), torch.zeros(2, dtype=torch.bool, device="cpu")
    mean = torch.ones(4, 4, 3, device="cpu")
    views = cut(pictures, place, place, mirrored, mean, 2, True, None, 1.0, torch.float32)
    assert views.device.type == "cpu"
    assert bool((views == 8).all())
    assert dropout(torch.ones(2, 8, device="cpu"), 0.5, 0, "fc6", 0, 0).device.type == "cpu"


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Clear the cached answer, before and after."""
    dispatch.gpu.cache_clear()
    yield
    dispatch.gpu.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_triton_serves_on_a_cuda_device() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    assert dispatch.name(CUDA) == "triton"
    assert dispatch.gpu() is not None


@pytest.mark.usefixtures("asked_anew")
def test_switched_off_the_plain_forms_serve_on_a_cuda_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_NATIVE", "off")
    assert dispatch.name(CUDA) == "pytorch"
    assert dispatch.gpu() is None


@pytest.mark.usefixtures("asked_anew")
def test_an_architecture_of_the_cpu_leaves_triton_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setenv("ALEXNET_NATIVE", "x86-64-v3")
    assert dispatch.name(CUDA) == "triton"
