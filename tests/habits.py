"""What people do with a net from outside, a function each: it has to give what a twin of torch's own modules gives.

HABITS is the table that tests/test_habits.py runs and that benchmarks/habits_table.py prints in docs/interop.md.
"""

import copy
import functools
import io
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tests.twins import AcrossMaps, TorchvisionsAlexNet, WithinMap, enliven, keep_masks, twin_of
from torch import Tensor, nn
from torch.nn.modules import module as of_all_modules
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from alexnet.config.recipe import CifarNet, Net
from alexnet.config.recipes import RECIPES
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of

TORCHVISION = "torchvision"
NARROW: dict[str, Any] = {"channels": (12, 16, 24, 24, 16), "hidden": 32, "classes": 10}
SMALL: dict[str, dict[str, Any]] = {  # each recipe's structure, at a size that takes milliseconds
    "paper": NARROW | {"image_size": 84},
    "source": NARROW | {"image_size": 84},
    "tiny": NARROW | {"image_size": 44},
    "one-gpu": NARROW | {"image_size": 84},
    "cifar-11": {"image_size": 16, "channels": (12, 12), "local": (8, 6)},
    "cifar-18": {"image_size": 16, "channels": (8, 8, 12)},
}
NETS = tuple(SMALL)
COLUMNS = (*NETS, TORCHVISION)
CLOSE = 1e-4  # of the largest logit


class Case:
    """A net of one recipe, small or whole, and its twin with the same weights."""

    def __init__(self, name: str, whole: bool = False) -> None:
        self.name, self.whole = name, whole
        self.ours = name != TORCHVISION
        self.settings: Net | CifarNet | None = None
        if self.ours:
            recipe = RECIPES[name] if whole else RECIPES[name].replace(net=SMALL[name])
            assert isinstance(recipe.net, (Net, CifarNet))
            self.settings, self.side = recipe.net, recipe.net.image_size
        else:
            self.side = 224 if whole else 96
        head = self.names[-1]
        self.head = head
        self.large = whole and name in ("paper", "source", "one-gpu", TORCHVISION)
        self.batches = (1, 2, 5) if self.large else (1, 2, 5, 40)
        # Among millions of units, some pool or ReLU is so near a tie that rounding decides where its gradient goes.
        self.slopes = 0.02 if whole else CLOSE

    def net(self) -> nn.Module:
        """A new net in testing mode, the same weights each time."""
        if self.settings is not None:
            made: nn.Module = build(self.settings, 3)
        elif self.whole:
            made = TorchvisionsAlexNet((64, 192, 384, 256, 256), 4096, 1000, dropout=0)
        else:
            made = TorchvisionsAlexNet((12, 16, 24, 24, 16), 32, 10, side=2, dropout=0)
        enliven(made, 7)
        return made.eval()

    def twin(self) -> nn.Module:
        """A new twin: plain modules with the same weights."""
        if self.settings is not None:
            made: nn.Module = twin_of(self.settings)
        else:
            made = copy.deepcopy(self.net())
            for module in made.modules():
                if isinstance(module, nn.ReLU):
                    module.inplace = False
        made.load_state_dict(self.net().state_dict())
        return made.eval()

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of the layers, first to last."""
        plain = twin_of(self.settings) if self.settings is not None else self.net()
        return [name for name, module in plain.named_modules() if not list(module.children())]

    def views(self, pictures: int, seed: int = 1) -> Tensor:
        """Pictures of raw pixels minus their mean."""
        chance = torch.Generator().manual_seed(seed)
        return 60 * torch.randn(pictures, 3, self.side, self.side, generator=chance)

    def labels(self, pictures: int) -> Tensor:
        return torch.arange(pictures) % 10

    def last(self, kind: type[nn.Module]) -> str:
        """The name of the last layer of a kind."""
        twin = self.twin()
        return next(name for name in reversed(self.names) if isinstance(twin.get_submodule(name), kind))

    def agrees(self, act: Callable[[Tensor], Tensor], batches: tuple[int, ...] = (), within: float = CLOSE) -> None:
        """Compare what something gives of some batches with the twin's logits."""
        twin = self.twin()
        for pictures in batches or self.batches:
            x = self.views(pictures, seed=pictures)
            with torch.no_grad():
                wanted = twin(x)
            near(act(x), wanted, within)


def near(found: Tensor, wanted: Tensor, within: float = CLOSE) -> None:
    """Check that numbers are as wanted, to a part of the largest."""
    assert found.shape == wanted.shape, f"{tuple(found.shape)}, not {tuple(wanted.shape)}"
    most = wanted.detach().abs().max().item()
    off = (found.detach().double() - wanted.detach().double()).abs().max().item()
    assert off <= within * most, f"off by {off:.3g} of {most:.3g}"


def along(found: Tensor, wanted: Tensor, within: float) -> None:
    """Check that a gradient is as wanted: the length of the difference is a part of its length."""
    assert found.shape == wanted.shape, f"{tuple(found.shape)}, not {tuple(wanted.shape)}"
    most = wanted.detach().double().norm().item()
    off = (found.detach().double() - wanted.detach().double()).norm().item()
    assert off <= within * most, f"off by {off:.3g} of a length of {most:.3g}"


def put(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of one, as people do: `net.fc8 = module`."""
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, module)


def gradients(net: nn.Module, x: Tensor, labels: Tensor) -> list[Tensor]:
    """The gradients of all weights."""
    net.zero_grad()
    F.cross_entropy(net(x), labels).backward()
    return [value.grad for value in net.parameters() if value.grad is not None]


def all_along(found: list[Tensor], wanted: list[Tensor], within: float = CLOSE) -> None:
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        along(one, other, within)


# --- Copies


def plain(case: Case, folder: Path) -> None:
    """Logits, gradients and training without any habit."""
    case.agrees(case.net(), within=1e-5)
    x, labels = case.views(3), case.labels(3)
    net, twin = case.net().train(), case.twin().train()
    at(net, 5)
    keep_masks(twin, 3, 5, 3)
    all_along(gradients(net, x, labels), gradients(twin, x, labels), case.slopes)
    at(net, 5)
    all_along(gradients(net.double(), x.double(), labels), gradients(twin.double(), x.double(), labels), 1e-10)


def at(net: nn.Module, step: int) -> None:
    """Set the place of dropout's masks, in a net that has it."""
    set_place: Any = getattr(net, "at", None)
    if set_place:
        set_place(step, 0)


def pickled(case: Case, folder: Path) -> None:
    case.agrees(pickle.loads(pickle.dumps(case.net())))  # noqa: S301


def copied(case: Case, folder: Path) -> None:
    net = case.net()
    made = copy.deepcopy(net)
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
    case.agrees(made)


def saved(case: Case, folder: Path) -> None:
    torch.save(case.net(), folder / "net.pt")
    case.agrees(torch.load(folder / "net.pt", weights_only=False))


@functools.cache
def spawned() -> ProcessPoolExecutor:
    """One process that `torch.multiprocessing` spawned, for all nets."""
    return ProcessPoolExecutor(1, torch.multiprocessing.get_context("spawn"))


def logits_elsewhere(net: nn.Module, x: Tensor) -> list[list[float]]:
    torch.set_num_threads(1)
    with torch.no_grad():
        made: list[list[float]] = net(x).tolist()
    return made


def spawn(case: Case, folder: Path) -> None:
    net = case.net()
    case.agrees(lambda x: torch.tensor(spawned().submit(logits_elsewhere, net, x).result(timeout=120)), (2,))


# --- Graphs


def fx(case: Case, folder: Path) -> None:
    case.agrees(torch.fx.symbolic_trace(case.net()))


def made_fx(case: Case, folder: Path) -> None:
    """Of numbers at one batch; of symbols for any, traced at 7, which is no other size of the net."""
    from torch.fx.experimental.proxy_tensor import make_fx

    net = case.net()
    case.agrees(make_fx(net)(case.views(2)), (2,))
    case.agrees(make_fx(net, tracing_mode="symbolic", _allow_non_fake_inputs=True)(case.views(7)))


def exported(case: Case, folder: Path) -> None:
    """Twice in a process, with gradients on; what the net gives afterwards counts too."""
    net, x = case.net(), case.views(2)
    first = torch.export.export(net, (x,)).module()
    second = torch.export.export(net, (x,)).module()
    case.agrees(first, (2,))
    case.agrees(second, (2,))
    case.agrees(net)
    twin = case.twin()
    asked, wanted = x.clone().requires_grad_(), x.clone().requires_grad_()
    first(asked).square().sum().backward()
    twin(wanted).square().sum().backward()
    assert asked.grad is not None
    assert wanted.grad is not None
    along(asked.grad, wanted.grad, case.slopes)


def exported_free(case: Case, folder: Path) -> None:
    """With a free batch; then saved and loaded."""
    free = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(case.net(), (case.views(2),), dynamic_shapes=free)
    case.agrees(program.module())
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    case.agrees(torch.export.load(file).module())


def jit(case: Case, folder: Path) -> None:
    """Traced at two pictures, with gradients on; then saved and loaded."""
    check = not case.whole  # torch allows 1e-5 even where logits are tens and one of a thousand is near 0
    traced = torch.jit.trace(case.net(), case.views(2), check_trace=check)
    case.agrees(traced)
    traced.save(folder / "net.ts")
    case.agrees(torch.jit.load(folder / "net.ts"))


def in_onnxruntime(case: Case, file: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert isinstance(given.shape[0], str), f"the batch is fixed at {given.shape[0]}"
    assert isinstance(made.shape[0], str), f"the file says that there are {made.shape[0]} rows of logits"
    case.agrees(lambda x: torch.from_numpy(session.run(None, {given.name: x.numpy()})[0]))


def onnx_script(case: Case, folder: Path) -> None:
    axes = {"views": {0: "n"}}
    torch.onnx.export(
        case.net(), (case.views(2),), folder / "net.onnx", dynamo=False, input_names=["views"], dynamic_axes=axes
    )
    in_onnxruntime(case, folder / "net.onnx")


def onnx_dynamo(case: Case, folder: Path) -> None:
    free = ({0: torch.export.Dim.DYNAMIC},)
    file = folder / "net.onnx"
    torch.onnx.export(case.net(), (case.views(2),), file, dynamo=True, dynamic_shapes=free, verbose=False)
    in_onnxruntime(case, file)


def compiled(case: Case, folder: Path, backend: str = "aot_eager") -> None:
    """In testing: one graph, for any batch."""
    torch.compiler.reset()
    net = torch.compile(case.net(), fullgraph=True, backend=backend)
    with torch.no_grad():
        case.agrees(net, (2, 5, 7))


def compiled_training(case: Case, folder: Path, backend: str = "aot_eager") -> None:
    """In training: the gradients of five steps, each with its own masks, and nothing compiled after the second."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch.compiler.reset()
    counter = CompileCounterWithBackend(backend)
    net, twin = case.net().train(), case.twin().train()
    fast = torch.compile(net, backend=counter)
    x, labels = case.views(3), case.labels(3)
    at(net, 5)
    graphs = []
    for step in range(5, 10):
        keep_masks(twin, 3, step, 3)
        net.zero_grad()
        F.cross_entropy(fast(x), labels).backward()
        made = [value.grad for value in net.parameters() if value.grad is not None]
        all_along(made, gradients(twin, x, labels), case.slopes)
        graphs.append(counter.frame_count)
    assert getattr(net, "step", 10) in (10, 0)  # nets without dropout may count or not
    assert graphs[-1] == graphs[1], f"compiled again at each step: {graphs} graphs"


def inductor(case: Case, folder: Path) -> None:
    """The compiler that `torch.compile` takes by itself, in training; half a minute of a C++ compiler."""
    compiled_training(case, folder, "inductor")


def fake(case: Case, folder: Path) -> None:
    """Fake tensors and the meta device: shapes without numbers, forward and backward."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    net, x = case.net(), case.views(3)
    wanted = case.twin()(x)
    mode = FakeTensorMode()
    weights: dict[str, Tensor] = {name: mode.from_tensor(value) for name, value in net.state_dict().items()}
    asked = mode.from_tensor(x.requires_grad_())
    with mode:
        made = torch.func.functional_call(net, weights, (asked,))
        made.sum().backward()
    assert isinstance(made, FakeTensor)
    assert (made.shape, made.dtype) == (wanted.shape, wanted.dtype)
    assert asked.grad is not None
    assert asked.grad.shape == x.shape
    assert copy.deepcopy(net).to("meta")(x.to("meta")).shape == wanted.shape
    case.agrees(net)


# --- torch.func


def vmap(case: Case, folder: Path) -> None:
    net = case.net()
    with torch.no_grad():
        case.agrees(torch.func.vmap(lambda view: net(view[None])[0]), (1, 5))


def jacobian(case: Case, folder: Path) -> None:
    """Of ten logits of one picture."""
    net, twin, x = case.net(), case.twin(), case.views(1)
    asked = x.clone().requires_grad_()
    logits = twin(asked)[0]
    wanted = [torch.autograd.grad(logits[i], asked, retain_graph=True)[0] for i in range(10)]
    along(torch.func.jacrev(lambda view: net(view)[0, :10])(x), torch.stack(wanted), case.slopes)


def per_sample(case: Case, folder: Path) -> None:
    """Each picture's gradient of all weights, by vmap of grad."""
    net, pictures = case.net(), 2 if case.large else 4
    x, labels = case.views(pictures), case.labels(pictures)
    weights = {name: value.detach() for name, value in net.named_parameters()}

    def loss(weights: dict[str, Tensor], view: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(net, weights, (view[None],)), label[None])

    made = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(weights, x, labels)
    twin = case.twin()
    for i in range(pictures):
        wanted = gradients(twin, x[i : i + 1], labels[i : i + 1])
        all_along([value[i] for value in made.values()], wanted, case.slopes)


def double_backward(case: Case, folder: Path) -> None:
    """The gradient of a penalty on the gradient of the input."""

    def penalised(net: nn.Module) -> list[Tensor]:
        x = case.views(2).requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(net(x), case.labels(2)), x, create_graph=True)
        slope.square().sum().backward()
        return [value.grad for value in net.parameters() if value.grad is not None]

    wanted = penalised(case.twin())
    all_along(penalised(case.net()), wanted, case.slopes)


# --- Hooks and attributions


def hooks(case: Case, folder: Path) -> None:
    """Forward and backward hooks on each layer, and torch's hook on all modules, give the twin's outputs and slopes."""
    x, names = case.views(2), case.names
    if case.ours:
        net, seen = case.net(), dict[str, Tensor]()
        assert case.settings is not None
        with torch.no_grad():
            walked = list(net.walk(x))  # type: ignore[operator]
        assert [name for name, _ in walked] == [name for name, _ in net.named_children()] == names
        assert {layer.name for layer in layers_of(case.settings)} <= set(names)
        of_twin = watched(case.twin(), x, names)
        for name, made in walked:
            near(made, of_twin[name][0])
    of_ours, of_twin = watched(case.net(), x, names), watched(case.twin(), x, names)
    for name in names:
        near(of_ours[name][0], of_twin[name][0])
        along(of_ours[name][1], of_twin[name][1], case.slopes)
    net, seen = case.net(), {}
    called = {module: name for name, module in net.named_modules()}
    handle = of_all_modules.register_module_forward_hook(lambda m, _, y: seen.update({called[m]: y.detach().clone()}))
    try:
        net(x)
    finally:
        handle.remove()
    for name in names:
        near(seen[name], of_twin[name][0])


def watched(net: nn.Module, x: Tensor, names: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """The output of each layer and the gradient there, by hooks of its name."""
    outputs, slopes = dict[str, Tensor](), dict[str, Tensor]()
    handles = []
    for name in names:
        module = net.get_submodule(name)
        handles.append(module.register_forward_hook(functools.partial(keep_output, outputs, name)))
        handles.append(module.register_full_backward_hook(functools.partial(keep_slope, slopes, name)))
    net(x.clone().requires_grad_()).square().sum().backward()
    for handle in handles:
        handle.remove()
    return {name: (outputs[name], slopes[name]) for name in names}


def keep_output(kept: dict[str, Tensor], name: str, module: nn.Module, given: Any, made: Tensor) -> None:
    kept[name] = made.detach().clone()


def keep_slope(kept: dict[str, Tensor], name: str, module: nn.Module, of_input: Any, of_output: Any) -> None:
    kept[name] = of_output[0].detach().clone()


def attributed(case: Case, attribute: Callable[[nn.Module, Tensor], Tensor], within: float = CLOSE) -> None:
    """Compare an attribution of Captum's with the twin's."""
    x = case.views(2)
    along(attribute(case.net(), x), attribute(case.twin(), x), max(within, case.slopes))


def guided(case: Case, folder: Path) -> None:
    from captum.attr import GuidedBackprop

    attributed(case, lambda net, x: GuidedBackprop(net).attribute(x, target=3))


def deep_lift(case: Case, folder: Path) -> None:
    from captum.attr import DeepLift

    attributed(case, lambda net, x: DeepLift(net).attribute(x, case.views(2, seed=9), target=3), within=1e-3)


def integrated(case: Case, folder: Path) -> None:
    from captum.attr import IntegratedGradients

    attributed(case, lambda net, x: IntegratedGradients(net).attribute(x, target=3, n_steps=8))


def grad_cam(case: Case, folder: Path) -> None:
    from captum.attr import LayerGradCam

    last = case.last(nn.Conv2d)
    attributed(case, lambda net, x: LayerGradCam(net, net.get_submodule(last)).attribute(x, target=3))


# --- Numbers and layers of others


def torchao(case: Case, folder: Path) -> None:
    """One picture and many, against the twin quantised alike."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    net, twin = case.net(), case.twin()
    quantize_(net, Int8WeightOnlyConfig())
    quantize_(twin, Int8WeightOnlyConfig())
    assert type(net.get_submodule(case.head).weight) is type(twin.get_submodule(case.head).weight) is not nn.Parameter
    for pictures in (1, 8):
        x = case.views(pictures)
        with torch.no_grad():
            near(net(x), twin(x))


def dynamic(case: Case, folder: Path) -> None:
    """One picture and many, against the twin quantised alike."""
    net, twin = (torch.ao.quantization.quantize_dynamic(made, {nn.Linear}) for made in (case.net(), case.twin()))
    assert type(net.get_submodule(case.head)) is type(twin.get_submodule(case.head)) is not nn.Linear
    for pictures in (1, 8):
        x = case.views(pictures)
        with torch.no_grad():
            near(net(x), twin(x), 0.02)  # an input that is on the edge of two of 256 steps may fall on either side


class Adapted(nn.Module):
    """A layer with a low rank beside it, as adapters have."""

    def __init__(self, inner: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inner, self.down, self.up = inner, nn.Linear(inputs, 2, bias=False), nn.Linear(2, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.inner(x) + self.up(self.down(x))
        return made


def replaced(case: Case, name: str, module: nn.Module) -> None:
    """Put one module in the place of a layer of both nets, and compare."""
    net, twin, x = case.net(), case.twin(), case.views(2)
    put(net, name, module)
    put(twin, name, module)
    with torch.no_grad():
        wanted = twin(x)
        near(net(x), wanted)
    assert not torch.equal(wanted, case.twin()(x))
    all_along(gradients(net, x, case.labels(2)), gradients(twin, x, case.labels(2)), case.slopes)


def heads(case: Case, folder: Path) -> None:
    """Identity, five classes, a Sequential or an adapter in the place of the last layer."""
    last = case.net().get_submodule(case.head)
    assert isinstance(last, nn.Linear)
    torch.manual_seed(5)
    inputs, outputs = last.in_features, last.out_features
    deep = nn.Sequential(nn.Linear(inputs, 7), nn.ReLU(), nn.Linear(7, 5))
    for module in (nn.Identity(), nn.Linear(inputs, 5), deep, Adapted(last, inputs, outputs)):
        replaced(case, case.head, module)


def inner(case: Case, folder: Path) -> None:
    """Other modules in the places of an activation, a pool, a norm and a convolution."""
    twin, last = case.twin(), case.last(nn.Conv2d)
    conv = case.net().get_submodule(last)
    assert isinstance(conv, nn.Conv2d)
    replaced(case, case.last(nn.ReLU), nn.Tanh())
    replaced(case, case.last(nn.MaxPool2d), nn.AvgPool2d(3, 2, ceil_mode=True))
    replaced(case, last, nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels).eval(), nn.LeakyReLU(0.5)))
    for name, module in twin.named_children():
        if isinstance(module, (AcrossMaps, WithinMap)):
            replaced(case, name, nn.Identity())


def wrappers(case: Case, folder: Path) -> None:
    """An average of weights, DataParallel, a weight norm, and pruned weights."""
    last, x = case.last(nn.Conv2d), case.views(2)

    def pruned(net: nn.Module) -> nn.Module:
        prune.l1_unstructured(net.get_submodule(last), "weight", 0.5)
        return net

    def normed(net: nn.Module) -> nn.Module:
        nn.utils.parametrizations.weight_norm(net.get_submodule(last))
        with torch.no_grad():
            net.get_submodule(last).parametrizations.weight.original0.mul_(0.5)  # type: ignore[union-attr, operator]
        return net

    averaged = torch.optim.swa_utils.AveragedModel
    for wrap in (averaged, nn.DataParallel, pruned, normed):
        near(wrap(case.net())(x), wrap(case.twin())(x))


def dtypes(case: Case, folder: Path) -> None:
    """Half precision errs at most twice as much as the twin's; double has its digits; channels_last is the same."""
    x, last = case.views(3), dict[str, Any](memory_format=torch.channels_last)
    with torch.no_grad():
        exact = case.twin().double()(x.double())
        near(case.net().double()(x.double()), exact, 1e-10)
        near(case.net().to(**last)(x.to(**last)), exact, 1e-5)
        for dtype in (torch.bfloat16, torch.float16):
            made = case.net().to(dtype)(x.to(dtype))
            assert made.dtype == dtype
            most = (case.twin().to(dtype)(x.to(dtype)).double() - exact).abs().max() / exact.abs().max()
            near(made, exact, 2 * most.item() + 1e-3)


def flops(case: Case, folder: Path) -> None:
    """FlopCounterMode: at batch 1 half of batch 2, and the twin's."""
    counts = []
    for net in (case.net(), case.twin()):
        for pictures in (1, 2):
            for grad in (False, True):
                with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(grad):
                    net(case.views(pictures))
                counts.append(counter.get_total_flops() / pictures)
    assert len(set(counts)) == 1, f"{counts} multiply-adds, twice, for a picture"


@dataclass(frozen=True)
class Habit:
    """A row of the table: what people do, and the nets for which it is refused, with the line."""

    words: str
    check: Callable[[Case, Path], None]
    refused: Mapping[str, str] = field(default_factory=dict)  # by the name of a net: the line that says so
    fails: str = ""  # torchvision's net: how the error begins, if there is one
    quick: tuple[str, ...] = COLUMNS  # the nets that `make test` has time for, as small ones


FEW = ("source",)  # for the slowest
INPLACE = "Output 0 of BackwardHookFunction is a view and is being modified inplace."
HABITS = {
    "plain": Habit("forward, backward", plain),
    "pickle": Habit("`pickle`", pickled),
    "deepcopy": Habit("`copy.deepcopy`", copied),
    "save": Habit("`torch.save(net)`", saved),
    "spawn": Habit("`torch.multiprocessing`, spawn", spawn),
    "fx": Habit("`torch.fx.symbolic_trace`", fx),
    "make_fx": Habit("`make_fx`, of numbers and of symbols", made_fx),
    "export": Habit("`torch.export`, twice in a process, with gradients", exported),
    "export-free": Habit("`torch.export` with a free batch, saved and loaded", exported_free),
    "jit": Habit("`torch.jit.trace`, at other batches, saved and loaded", jit),
    "onnx-script": Habit("ONNX, `dynamo=False`, at batches 1, 2, 5, 40", onnx_script),
    "onnx-dynamo": Habit("ONNX, `dynamo=True`, at batches 1, 2, 5, 40", onnx_dynamo, quick=FEW),
    "compile": Habit("`torch.compile(fullgraph=True)` in testing", compiled, quick=FEW),
    "compile-training": Habit("`torch.compile` in training", compiled_training, quick=FEW),
    "inductor": Habit("the same by inductor", inductor, quick=()),
    "fake": Habit("fake tensors, the meta device", fake),
    "vmap": Habit("`vmap`", vmap),
    "jacrev": Habit("`jacrev`", jacobian),
    "per-sample": Habit("per-sample gradients, `vmap(grad)`", per_sample),
    "double-backward": Habit("a gradient of a gradient", double_backward),
    "hooks": Habit("hooks on each layer by its name, forward and backward", hooks, fails=INPLACE),
    "guided": Habit("Captum `GuidedBackprop`", guided),
    "deep-lift": Habit("Captum `DeepLift`", deep_lift),
    "integrated": Habit("Captum `IntegratedGradients`", integrated),
    "grad-cam": Habit("Captum `LayerGradCam`", grad_cam),
    "torchao": Habit("torchao, int8 weights", torchao),
    "dynamic": Habit("`quantize_dynamic`", dynamic),
    "heads": Habit("another head: Identity, Linear, Sequential, adapter", heads),
    "inner": Habit("other layers inside", inner),
    "wrappers": Habit("averaged weights, DataParallel, weight norm, pruning", wrappers),
    "dtypes": Habit("bfloat16, float16, double, channels_last", dtypes),
    "flops": Habit("`FlopCounterMode`, batch 1 half of batch 2", flops),
}


def outcome(habit: Habit, case: Case, folder: Path) -> str:
    """Try a habit: "right", or how it is refused. For our nets a wrong answer or another error is raised."""
    wanted = habit.refused.get(case.name, "") if case.ours else habit.fails
    try:
        habit.check(case, folder)
    except Exception as error:
        said = str(error) if case.ours else str(error)[: len(wanted)]
        if not wanted or said != wanted:
            raise
        return said
    return "right"


def promised(habit: Habit, net: str) -> str:
    """What the table says of a habit and a net."""
    return (habit.refused.get(net, "") if net != TORCHVISION else habit.fails) or "right"
