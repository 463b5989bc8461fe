"""The sharding of a net and its gradient over processes, checked against the whole net in one process."""

import copy
import pickle
from typing import Any

import pytest
import torch
from tests.ranks import Ranks, worked
from tests.rounding import reach
from torch import Tensor

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.distributed.mesh import Axis, Mesh
from alexnet.distributed.shard import ModelShard, shard
from alexnet.distributed.sharding import Gradients, Sharding, sharding
from alexnet.models.alexnet import AlexNet
from alexnet.models.build import build
from alexnet.models.layers import Runs

NET = Net(image_size=63, classes=5, channels=(8, 8, 8, 8, 8), hidden=12, kernel_sizes=(11, 5, 3, 3, 3), std=(0.1,) * 8)
PICTURES = [2, 1]  # for each of two replicas


def views() -> Tensor:
    return 50 * torch.randn(3, 3, 63, 63, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def passed(mesh: Mesh, strategy: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the logits of this process's pictures, and gather the gradients."""
    over = sharding(mesh, strategy, NET)
    net = shard(AlexNet(NET, 3), over.model_shard).double().train()
    gradients = Gradients(dict(net.named_parameters()), over)
    runs = [(0, 2), (2, 1)] if strategy != "towers" else [(0, 3)]
    position, pictures = runs[mesh.replicas.index]
    gradients.clear()
    logits = net.at(7, position, runs if over.model_shard.gathers else ())(views()[position : position + pictures])
    gradients.backward((logits * torch.arange(position, position + pictures)[:, None]).square().sum())
    gradients.wait()
    return logits.detach(), over.gather(gradients)


@pytest.mark.parametrize("strategy", ["data", "towers", "hybrid"])
def test_a_spread_net_is_the_net_forwards_and_backwards(ranks: Ranks, strategy: str) -> None:
    """Logits and all gradients agree in training mode: dropout drops the same units of each picture."""
    alone, expected = whole()
    rooms = reach(flat, torch.float64)
    found = ranks(2, worked, passed, strategy, towers=2 if strategy == "towers" else 1)
    for rank, (logits, gradients) in enumerate(found):
        own = alone if strategy == "towers" else alone.split(PICTURES)[rank]
        # Both sum over maps and pictures in float64, but in different orders.
        torch.testing.assert_close(logits, own, rtol=0, atol=2 * rooms[0])
        for (name, gradient), room in zip(expected.items(), rooms[1:], strict=True):
            assert room < 1e-10 * gradient.abs().max()
            torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=2 * room, msg=name)


def whole() -> tuple[Tensor, dict[str, Tensor]]:
    net = AlexNet(NET, 3).double().train()
    logits = net.at(7)(views())
    (logits * torch.arange(3)[:, None]).square().sum().backward()
    return logits.detach(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def flat() -> list[Tensor]:
    logits, gradients = whole()
    return [logits, *gradients.values()]


@pytest.mark.parametrize("tower", [0, 1])
def test_a_tower_draws_its_part_of_the_same_weights(tower: int) -> None:
    """It holds half of each layer's outputs; layers that read one tower have half the inputs (figure 2)."""
    net = RECIPES["paper"].net
    assert isinstance(net, Net)
    with torch.device("meta"):
        shapes = {n: tuple(p.shape) for n, p in shard(AlexNet(net), ModelShard(2, tower, 2, tower)).named_parameters()}
    assert shapes["conv1.weight"] == (48, 3, 11, 11)
    assert shapes["conv2.weight"] == (128, 48, 5, 5)
    assert shapes["conv3.weight"] == (192, 256, 3, 3)
    assert shapes["conv4.weight"] == (192, 192, 3, 3)
    assert shapes["conv5.weight"] == (128, 192, 3, 3)
    assert shapes["fc6.weight"] == (2048, 9216)
    assert shapes["fc7.weight"] == (2048, 4096)
    assert shapes["fc8.weight"] == (1000, 4096)
    one, other = AlexNet(NET, 3), shard(AlexNet(NET, 3), ModelShard(2, tower, 2, tower))
    for name, part in other.named_parameters():
        weight = one.get_parameter(name)
        first = tower * len(part) if len(part) < len(weight) else 0
        assert torch.equal(part, weight[first : first + len(part)]), name


def test_whole_layers_are_what_shape_walk_says() -> None:
    net = RECIPES["paper"].net
    assert isinstance(net, Net)
    with torch.device("meta"):
        assert {n: p.shape[0] for n, p in AlexNet(net).named_parameters() if n.endswith("bias")} == {
            f"{layer}.bias": n for layer, n in net.widths.items()
        }


def kept(x: Tensor, runs: Runs) -> Tensor:
    return x if runs else torch.zeros_like(x)


def test_a_copy_of_a_part_is_joined_at_its_own_place() -> None:
    """Copied or pickled, its hooks read its own pictures of each replica."""
    net = shard(AlexNet(NET, 3), ModelShard(before={"flatten": kept}, after={"fc8": kept})).eval()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301
        x = views()[:1].float()
        assert not other(x).any()
        assert other.at(0, 0, ((0, 1),))(x).any()
    assert not net(x).any()


def totals(mesh: Mesh, strategy: str) -> Tensor:
    over = sharding(mesh, strategy, NET)
    return over.sum_over_parts(torch.ones(2, 3, dtype=torch.float64), ["conv1.weight", "fc6.weight", "fc8.weight"])


@pytest.mark.parametrize(("strategy", "row"), [("data", [1, 1, 1]), ("towers", [2, 2, 1]), ("hybrid", [1, 2, 2])])
def test_sums_over_a_layer_reach_over_the_processes_that_share_it(ranks: Ranks, strategy: str, row: list[int]) -> None:
    """Each tower holds all of fc8, and each replica all convolutions: they are not counted twice."""
    for found in ranks(2, worked, totals, strategy, towers=2 if strategy == "towers" else 1):
        assert found.tolist() == [row, row]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_gradients_of_parts_add_up_in_float32(parts: int) -> None:
    """In bfloat16 a large sum would lose most of what a late part adds."""
    w = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    gradients = Gradients({"w": w}, Sharding(), parts)
    for _ in range(2):  # the second step starts from zero
        gradients.clear()
        for part in range(parts):
            gradients.backward((w * (256.0 if part == 0 else 0.75)).sum())
        gradients.wait()
        expected = 256 + 0.75 * (parts - 1)
        assert gradients["w"].float().tolist() == [expected] * 4


@pytest.mark.parametrize(
    ("strategy", "change", "words"),
    [
        ("towers", {"towers": 1}, "--strategy towers: the recipe's net.towers is 1"),
        (
            "hybrid",
            {"hidden": 13, "towers": 1},
            "2 replicas cannot share the 13 units of fc6 and fc7 evenly",
        ),
    ],
)
def test_a_way_that_is_not_for_the_net_is_refused(strategy: str, change: dict[str, Any], words: str) -> None:
    mesh = Mesh(Axis(0, 2), Axis(0, 2))
    with pytest.raises(InputError, match=words):
        sharding(mesh, strategy, RECIPES["paper"].replace(net=change).net)
    with pytest.raises(InputError, match="is for AlexNet only; train a CifarNet with"):
        sharding(mesh, strategy, RECIPES["cifar-18"].net)


def test_a_way_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no strategy tower; did you mean towers"):
        sharding(Mesh(), "tower", NET)


def test_one_process_spreads_nothing() -> None:
    over = sharding(Mesh(), "data", NET)
    assert over.description == "1 process"
    tensors = {"fc6.weight": torch.ones(4)}
    assert over.gather(tensors)["fc6.weight"] is tensors["fc6.weight"]
    assert shard(build(NET, 0), over.model_shard).state_dict().keys() == build(NET, 0).state_dict().keys()


def sent_before_conv1(mesh: Mesh) -> list[str]:
    """List the gradients that are on their way to the replicas when backward reaches conv1's kernels."""
    over = sharding(mesh, "data", NET)
    net = AlexNet(NET, 3).double()
    gradients, found = Gradients(dict(net.named_parameters()), over), list[str]()
    net.conv1.weight.register_hook(lambda _: found.extend(gradients.sent))
    gradients.clear()
    gradients.backward(net(views()).sum())
    gradients.wait()
    return found


def test_gradients_travel_while_backward_goes_on(ranks: Ranks) -> None:
    """The fully connected layers come first, with 58.6 of the paper's 61 million weights; the order is the same."""
    first, second = ranks(2, worked, sent_before_conv1)
    assert first == second
    assert {name.split(".")[0] for name in first[:6]} == {"fc8", "fc7", "fc6"}
    assert {f"{layer}.weight" for layer in NET.layers} - set(first) == {"conv1.weight"}
