"""When the update rule runs, and that it changes nothing."""

from dataclasses import replace

import pytest
import torch

from alexnet.config.recipes import RECIPES
from alexnet.distributed.sharding import Gradients, Sharding
from alexnet.models.build import build
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates
from alexnet.training.updates import AfterBackward, DuringBackward, updates

RECIPE = RECIPES["tiny"].replace(net={"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 3})
RATES = LearningRates(0.01, 0.02)


def test_on_a_cpu_the_update_comes_after_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_GPU", "early=on")
    momentum = Momentum(build(RECIPE.net, 0), RECIPE.sgd)
    made = updates(momentum, Gradients(momentum.compute_weights, Sharding()), alone=True)
    assert isinstance(made, AfterBackward)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("frozen", [(), ("conv1", "conv2", "fc7")])
def test_an_update_beside_the_backward_pass_is_the_update_after_it(frozen: tuple[str, ...]) -> None:
    """To the bit: each parameter's update reads its own gradient alone, and a frozen one has none."""
    ended = []
    for kind in (AfterBackward, DuringBackward):
        net = build(RECIPE.net, 0).to("cuda")
        momentum = Momentum(net, replace(RECIPE.sgd, layer_lr=dict.fromkeys(frozen, 0.0)))
        learning = {name: w for name, w in momentum.compute_weights.items() if name not in momentum.never}
        gradients = Gradients(learning, Sharding())
        made = AfterBackward(momentum, gradients) if kind is AfterBackward else DuringBackward(momentum)
        for number in range(3):
            gradients.clear()
            made.begin(RATES)
            loss = sum((p.square().sum() * (number + 1) for p in net.parameters()), torch.zeros((), device="cuda"))
            gradients.backward(loss)
            made.finish(RATES)
        ended.append({name: p.detach().clone() for name, p in net.named_parameters()})
        assert momentum.finite.all()
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])
