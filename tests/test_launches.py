"""How many kernels a training step launches on a GPU, counted without one.

A launch costs a microsecond or two on a GPU, whatever its size, and at a batch of 128 a step has time for about a
thousand of them. How many there are does not depend on sizes, so a small net is counted in Triton's interpreter.
"""

import sys
from collections import Counter
from typing import Any

import pytest
import torch
from tests.ops.triton.shared import CUDA, interpreting, triton
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.models import blocks
from alexnet.models.build import build
from alexnet.ops import crop, loss
from alexnet.training import optimizer
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates
from alexnet.training.step import Step

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(CUDA, reason="a profiler counts the launches of a device")]
MOST = {"source": 109, "paper": 101}  # the four copies around a replayed graph are not among them
# Operations that allocate memory or give it another shape launch nothing. On CUDA a convolution applies its ReLU, and
# the gradient of the loss fills its memory with zeros first.
MANY = dict.fromkeys(
    ("empty", "empty_like", "empty_strided", "new_empty", "detach", "_unsafe_view", "promote_types", "relu", "relu_"), 0
)
MANY["nll_loss_backward"] = 2


class Launches(TorchDispatchMode):
    """Counts kernels of PyTorch's operations on CUDA, but not those of Triton's interpreter, which CUDA has not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: Counter[str] = Counter()

    def add(self, name: str) -> None:
        self.counted[name] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and not interpreted():
            name = func.overloadpacket.__name__
            self.counted[name] += sum(args[-1]) if name == "convolution_backward" else MANY.get(name, 1)
        return func(*args, **(kwargs or {}))


def interpreted() -> bool:
    """Tell whether Triton's interpreter is at work."""
    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
        if frame.f_code.co_filename.endswith("triton/runtime/interpreter.py"):
            return True
    return False


def counted(name: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the launches of a recipe's step as a graph captures it: its place and its rates are tensors."""
    for module, chooser in ((crop, "best"), (loss, "best"), (optimizer, "best")):
        monkeypatch.setattr(module, chooser, lambda *_: triton)  # as for tensors on a CUDA device
    for chooser in ("suits", "possible"):
        monkeypatch.setattr(blocks, chooser, lambda *_: True)
    recipe = RECIPES[name].replace(net={"image_size": 53, "channels": (8, 8, 16, 8, 8), "hidden": 8, "classes": 5})
    compute = Compute(torch.device("cpu"), "bf16")
    net = compute.hold(build(recipe.net, 0)).train()
    transform = Transform(recipe.views, 53, torch.full((55, 55, 3), 120.0), torch.eye(3))
    momentum = Momentum(net, recipe.sgd, compute.dtype)
    rates = LearningRates(1e-3, 2e-3)
    momentum.rule = momentum.factors(rates)
    step = Step(net, transform, momentum, compute, 0)
    split = torch.randint(0, 256, (3, 55, 55, 3), dtype=torch.uint8)
    batch = Batch(5, 0, 0, torch.tensor([2]), split, torch.tensor([1]), stored=True)
    number, epoch, first = torch.tensor((5, 0, 0)).unbind()
    with interpreting():  # what is made once is not of the step
        transform.augment(split, batch.ids, seed=0, epoch=0, dtype=compute.dtype, stored=True, blocks=step.blocks)
    with interpreting(), Launches() as launches:
        for kernel in kernels():
            monkeypatch.setattr(kernel, "pre_run_hooks", [lambda *_, name=kernel.fn.__name__, **__: launches.add(name)])
        step.run(batch, number, epoch, first, rates, True)
    return +launches.counted


def kernels() -> list[Any]:
    """List the kernels of Triton's that are ours."""
    modules = triton.norm, triton.within, triton.relu, triton.random, triton.update, triton.views, triton.loss
    return [value for module in modules for name, value in vars(module).items() if name.endswith("_kernel")]


@pytest.mark.parametrize("name", MOST)
def test_a_step_launches_no_more_kernels_than_it_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = counted(name, monkeypatch)
    assert found.total() <= MOST[name], sorted(found.items(), key=lambda item: -item[1])
