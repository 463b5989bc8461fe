"""The whole net of figure 2 against NumPy alone: values, gradients, towers, initial weights, dropout."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.rounding import gamma, reach
from torch import Tensor

from alexnet import AlexNet
from alexnet.config.recipe import LRN, Net, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.models.layer_table import layers_of
from alexnet.ops.dropout import dropout

Array = np.ndarray[Any, np.dtype[np.float64]]
FORMS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
}

# A net of figure 2's shape on 67 to 99 pixels. Its weights and alpha are large, so that no part is negligible.
SMALL = Net(
    image_size=67, classes=5, channels=(8, 12, 16, 12, 8), hidden=14, lrn=LRN(alpha=1e-3), std=(0.03,) + (0.1,) * 7
)
SOURCE = {"lrn": LRN(alpha=1e-3, divide_alpha_by_n=True), "lrn1_first": True, "spatial_lrn": SpatialLRN(alpha=0.02)}

OTHERS: list[dict[str, Any]] = [
    {"cross_tower": False}, {"conv6": 12}, {"skip": (3,)}, {"skip": (4,)}, {"skip": (5,)}, {"skip": (3, 5)}
]  # fmt: skip


# ---- the reference: one picture (maps, height, width), float64, no torch


def windows(x: Array, size: int, stride: int) -> Array:
    """Return every window that lies inside: (maps, rows, columns, size, size)."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]


def convolve(x: Array, weight: Array, bias: Array, stride: int, before: int, after: int, groups: int) -> Array:
    """Convolve in groups (section 3.5), with `before` zeros at the left and top, `after` at the right and bottom."""
    x = np.pad(x, ((0, 0), (before, after), (before, after)))
    seen = len(x) // groups
    out = []
    for i, kernels in enumerate(np.split(weight, groups)):
        part = windows(x[i * seen : (i + 1) * seen], weight.shape[2], stride)
        out.append(np.tensordot(kernels, part, ((1, 2, 3), (0, 3, 4))))
    return np.concatenate(out) + bias[:, None, None]


def pooled(x: Array, size: int) -> Array:
    """Pool at stride 2 (section 3.4); the last window may hang over, and takes the maximum of the units inside."""
    side = math.ceil((x.shape[1] - size) / 2) + 1
    over = (side - 1) * 2 + size - x.shape[1]
    return windows(np.pad(x, ((0, 0), (0, over), (0, over)), constant_values=-np.inf), size, 2).max((3, 4))


def across(x: Array, norm: LRN, towers: int) -> Array:
    """Normalise map by map (section 3.3), with neighbours from the same tower."""
    each, out = len(x) // towers, np.empty_like(x)
    a = norm.alpha / norm.n if norm.divide_alpha_by_n else norm.alpha
    for i in range(len(x)):
        near = [j for j in range(len(x)) if abs(i - j) <= norm.n // 2 and i // each == j // each]
        out[i] = x[i] / (norm.k + a * sum(x[j] ** 2 for j in near)) ** norm.beta
    return out


def within(x: Array, norm: SpatialLRN) -> Array:
    """Normalise by n x n units of one map, as cnorm2 of the 2012 code: zeros outside, alpha / (n * n)."""
    h = norm.n // 2
    s = windows(np.pad(x**2, ((0, 0), (h, h), (h, h))), norm.n, 1).sum((3, 4))
    return x / (norm.k + norm.alpha / norm.n**2 * s) ** norm.beta


def reference(
    net: Net, state: dict[str, Tensor], picture: Array, factors: tuple[Array, Array] | None = None
) -> dict[str, Array]:
    """Compute every layer for one picture; `factors` multiply relu6 and relu7, and are 1 - p in testing."""
    w = {name: value.double().numpy() for name, value in state.items()}
    f, out = FORMS[net.activation], {}
    x = picture
    over = (
        (math.ceil((net.image_size - net.kernel_sizes[0]) / net.stride)) * net.stride
        + net.kernel_sizes[0]
        - net.image_size
    )

    def conv(i: int, x: Array) -> Array:
        h = net.kernel_sizes[min(i, 5) - 1] // 2
        stride, before, after = (net.stride, 0, over) if i == 1 else (1, h, h)
        meet = i == 1 or (net.cross_tower and i in (min({3, 4, 5} - set(net.skip)), 6))
        groups = 1 if meet else net.towers
        return convolve(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], stride, before, after, groups)

    def lrn(x: Array) -> Array:
        assert net.lrn
        return across(x, net.lrn, net.towers)

    if over:
        out["pad1"] = np.pad(x, ((0, 0), (0, over), (0, over)))
    out["conv1"] = x = conv(1, x)
    if not net.lrn:
        out["relu1"] = x = f(x)
    elif net.lrn1_first:
        out["norm1"] = x = lrn(x)
        out["relu1"] = x = f(x)
    else:
        out["relu1"] = x = f(x)
        out["norm1"] = x = lrn(x)
    out["pool1"] = x = pooled(x, net.pool)
    out["conv2"] = x = conv(2, x)
    out["relu2"] = x = f(x)
    if net.lrn:
        out["norm2"] = x = lrn(x)
    if net.spatial_lrn:
        out["within2"] = x = within(x, net.spatial_lrn)
    out["pool2"] = x = pooled(x, net.pool)
    for i in (3, 4, 5):
        if i not in net.skip:
            out[f"conv{i}"] = x = conv(i, x)
            out[f"relu{i}"] = x = f(x)
    out["pool5"] = x = pooled(x, net.pool)
    if net.conv6:
        out["conv6"] = x = conv(6, x)
        out["relu_conv6"] = x = f(x)
    out["flatten"] = x = x.reshape(-1)
    for i in (6, 7):
        rows, towers = w[f"fc{i}.weight"], 1 if net.cross_tower else net.towers
        parts = zip(np.split(rows, towers), np.split(x, towers), strict=True)
        out[f"fc{i}"] = x = np.concatenate([own @ seen for own, seen in parts]) + w[f"fc{i}.bias"]
        out[f"relu{i}"] = x = f(x)
        out[f"drop{i}"] = x = x * (factors[i - 6] if factors else 1 - net.dropout)
    out["fc8"] = w["fc8.weight"] @ x + w["fc8.bias"]
    return out


# ---- the tests


def pictures(net: Net, n: int, seed: int = 0) -> Tensor:
    """Draw raw pixels minus their mean, with a standard deviation of about 60 grey levels."""
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 60, (n, 3, net.image_size, net.image_size)))


def build(net: Net, seed: int = 0) -> AlexNet:
    """Build a net in float64, with biases that all differ."""
    model = AlexNet(net, seed).double()
    random = np.random.default_rng(99)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.add_(torch.from_numpy(random.normal(0, 0.5, p.shape)))
    return model


def assert_layers(model: AlexNet, x: Tensor, *given: Any) -> dict[str, Tensor]:
    """Check that every layer of each picture equals the reference, up to the float64 rounding of both."""
    place = model.step, model.place.position

    def layers() -> dict[str, Tensor]:
        return {name: value.detach() for name, value in model.at(*place).walk(x)}

    found = layers()
    rooms = dict(zip(found, reach(lambda: list(layers().values()), torch.float64, draws=2), strict=True))
    for i, picture in enumerate(x.numpy()):
        factors = [tuple(mask[i] for mask in masks) for masks in given]
        expected = reference(model.net, model.state_dict(), picture, *factors)
        assert list(found) == list(expected)
        for layer, value in expected.items():
            assert np.abs(found[layer][i].numpy() - value).max() <= 2 * rooms[layer], layer
            assert rooms[layer] < 1e-10 * np.abs(value).max(), layer
    return found


@pytest.fixture(scope="module")
def full() -> dict[str, AlexNet]:
    """Build both recipes at full size, untrained."""
    nets = {}
    for name in ("paper", "source"):
        net = RECIPES[name].net
        assert isinstance(net, Net)
        nets[name] = AlexNet(net).eval()
    return nets


@pytest.mark.parametrize("name", ["paper", "source"])
def test_the_full_net_computes_what_the_paper_prints(full: dict[str, AlexNet], name: str) -> None:
    """Figure 2 at 224 pixels, float32 against float64: they differ by float32 sums of up to 9,216 products."""
    model = full[name]
    x = pictures(model.net, 1).float()
    expected = reference(model.net, model.state_dict(), x[0].double().numpy())
    wide = copy.deepcopy(model).double()
    with torch.no_grad():
        found = dict(model.walk(x))
        logits = model(x)
        rooms = reach(lambda: [value for _, value in wide.walk(x.double())], draws=1)
    assert list(found) == list(expected)
    for (layer, value), room in zip(expected.items(), rooms, strict=True):
        assert np.abs(found[layer][0].double().numpy() - value).max() <= room, layer
        # The spread of fc8, since its units share a large common part.
        assert room < 1e-3 * (np.ptp(value) if layer == "fc8" else np.abs(value).max()), layer
    assert torch.equal(logits, found["fc8"])


@pytest.mark.parametrize("source", [False, True], ids=["paper", "source"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"image_size": 68},  # pools that hang over the edge
        {"image_size": 99, "pool": 2},
        {"towers": 1, "lrn": None},
        {"image_size": 40, "kernel_sizes": (5, 3, 5, 3, 1), "stride": 2},
        {"activation": "tanh", "std": (0.001,) + (0.1,) * 7},
        {"activation": "logistic", "dropout": 0.2},
        *OTHERS,
        {"cross_tower": False, "conv6": 12, "skip": (3, 4)},
    ],
    ids=str,
)
def test_a_small_net_computes_what_the_paper_prints(shape: dict[str, Any], source: bool) -> None:
    """Sections 3.1 to 3.5 and 4.2."""
    model = build(RECIPES["paper"].replace(net=SMALL).replace(net=(SOURCE if source else {}) | shape).net).eval()  # type: ignore[arg-type]
    assert_layers(model, pictures(model.net, 2))


def test_training_computes_the_same_but_for_the_masks() -> None:
    """Section 4.2: the units that the mask keeps are neither halved nor doubled."""
    model = build(SMALL, seed=3).train()
    ones = torch.ones(4, SMALL.hidden, dtype=torch.float64)
    masks = [dropout(ones, 0.5, 3, layer, 17, 8).numpy() for layer in ("fc6", "fc7")]
    assert not np.array_equal(masks[0], masks[1])
    assert_layers(model.at(17, 8), pictures(SMALL, 4), masks)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("training", [False, True], ids=["testing", "training"])
@pytest.mark.parametrize("source", [False, True], ids=["paper", "source"])
def test_the_gradient_is_the_slope(source: bool, training: bool, activation: str) -> None:
    """Backpropagation against finite differences along a random direction of every parameter and of the input."""
    std = (0.03,) + (0.1,) * 7 if activation == "relu" else (0.001, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0)  # not saturated
    net = (
        RECIPES["paper"]
        .replace(net=SMALL)
        .replace(net=(SOURCE if source else {}) | {"activation": activation, "std": std})
    )
    assert isinstance(net.net, Net)
    model = build(net.net).train(training)
    random = np.random.default_rng(1)
    x = pictures(net.net, 3).requires_grad_()
    weigh = torch.from_numpy(random.normal(0, 1, (3, 5)))

    def objective() -> Tensor:
        return (model.at(5)(x) * weigh).sum()

    (room,) = reach(lambda: [objective().detach()], torch.float64)
    tensors = {"input": x} | dict(model.named_parameters())
    gradients = torch.autograd.grad(objective(), list(tensors.values()))
    for (name, tensor), gradient in zip(tensors.items(), gradients, strict=True):
        direction = torch.from_numpy(random.normal(0, 1, tensor.shape))
        # Small steps, so that few pools change their maximum: pixels are large, and conv1's kernels read pixels.
        h = {"input": 1e-5, "conv1.weight": 1e-9}.get(name, 1e-6)
        values, kept = [], tensor.detach().clone()
        with torch.no_grad():
            for side in (h, -h):
                tensor.copy_(kept + side * direction)
                values.append(float(objective()))
            tensor.copy_(kept)
        numeric, exact = (values[0] - values[1]) / (2 * h), float((gradient * direction).sum())
        rounding = room / h  # of both values, divided by the step between them
        assert abs(numeric - exact) < 1e-5 * abs(exact) + rounding, name  # 1e-5 allows for the curvature between them
        assert abs(exact) > 10 * rounding, name


def test_single_weights_have_their_own_slopes() -> None:
    """The same for single weights: three of each parameter, with steps of 1e-6."""
    model = build(SMALL).train()
    x = pictures(SMALL, 2)
    weigh = torch.from_numpy(np.random.default_rng(2).normal(0, 1, (2, 5)))
    model.zero_grad()
    (model.at(3)(x) * weigh).sum().backward()
    random = np.random.default_rng(3)
    for name, p in model.named_parameters():
        assert p.grad is not None
        flat = p.detach().view(-1)
        for i in random.integers(0, len(flat), 3):
            sides = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    flat[i] += step
                    sides.append(float((model.at(3)(x) * weigh).sum()))
                    flat[i] -= step
            numeric = (sides[0] - sides[1]) / 2e-6
            # Float64 rounds the values by some 1e-14 (`reach` above), the slope by 1e-8; 1e-4 allows for the curvature.
            assert numeric == pytest.approx(float(p.grad.view(-1)[i]), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("source", [False, True], ids=["paper", "source"])
def test_the_towers_never_mix_before_conv3(source: bool) -> None:
    """Section 3.2: tower 0's pool2 does not depend on tower 1's conv1 or conv2; conv3 reads both."""
    net = RECIPES["paper"].replace(net=SMALL).replace(net=SOURCE if source else {}).net
    assert isinstance(net, Net)
    model = build(net).eval()
    x = pictures(net, 2)
    half = net.channels[1] // 2
    before, joined = model.features(x, "pool2"), model.features(x, "conv3")
    for layer, maps in (("conv1", net.channels[0]), ("conv2", net.channels[1])):
        weight = model.get_parameter(f"{layer}.weight")
        with torch.no_grad():
            weight[maps // 2 :] *= -1.5
        after = model.features(x, "pool2")
        assert torch.equal(after[:, :half], before[:, :half])
        assert (after[:, half:] != before[:, half:]).any((0, 2, 3)).all()
        assert (model.features(x, "conv3") != joined).any((0, 2, 3)).all()
        with torch.no_grad():
            weight[maps // 2 :] /= -1.5


@pytest.mark.parametrize("layer", ["conv3", "conv4", "conv5"])
def test_the_towers_never_mix_between_conv3_and_fc6(layer: str) -> None:
    """Section 3.2: conv4 and conv5 read only their own GPU's maps; fc6 reads both."""
    model = build(SMALL).eval()
    x = pictures(SMALL, 2)
    before, joined = model.features(x, "pool5"), model.features(x, "fc6")
    weight = model.get_parameter(f"{layer}.weight")
    with torch.no_grad():
        weight[len(weight) // 2 :] *= -1.5
    after = model.features(x, "pool5")
    assert torch.equal(after[:, :4], before[:, :4])
    assert (after[:, 4:] != before[:, 4:]).any()
    assert (model.features(x, "fc6") != joined).any(0).all()


def test_the_relu_after_the_pool_is_the_relu_before_it() -> None:
    """2012 code puts the ReLU of conv1 and conv5 after the pool; the maximum and its gradient are the same."""
    model = AlexNet(SMALL)
    relu, pool = model.get_submodule("relu1"), model.get_submodule("pool1")
    x = pictures(SMALL, 2)[:, :, :16, :16].clone()
    x[:, :, 2:9, 2:9] = -x[:, :, 2:9, 2:9].abs()  # whole windows below zero
    x[:, :, 10:, 10:] = 0  # and ties at zero
    forms: list[Callable[[Tensor], Tensor]] = [
        lambda t: pool(relu(t)),
        lambda t: relu(pool(t)),
    ]
    leaves = [x.clone().requires_grad_() for _ in forms]
    values = [form(leaf) for form, leaf in zip(forms, leaves, strict=True)]
    assert torch.equal(*values)
    g = torch.from_numpy(np.random.default_rng(4).normal(0, 1, values[0].shape))
    slopes = [torch.autograd.grad(value, leaf, g)[0] for value, leaf in zip(values, leaves, strict=True)]
    # A unit that is the maximum of up to four windows sums their gradients in any order.
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=gamma(3) * 4 * float(g.abs().max()))


@pytest.mark.parametrize("name", ["paper", "source"])
def test_initial_weights_are_normal_of_the_stated_deviation(full: dict[str, AlexNet], name: str) -> None:
    """Section 5: "zero-mean Gaussian distribution with standard deviation 0.01"; 0.03 in conv3 to conv5 in 2012."""
    model = full[name]
    stated = [0.01, 0.01, *[0.03 if name == "source" else 0.01] * 3, 0.01, 0.01, 0.01]
    weighted = [layer for layer in model.children() if dict(layer.named_parameters())]
    for i, (layer, std) in enumerate(zip(weighted, stated, strict=True), 1):
        weight, bias = layer.get_parameter("weight").detach().flatten(), layer.get_parameter("bias").detach()
        weight = weight[: 2**22].double() / std  # the first four million
        n = len(weight)
        assert abs(float(weight.mean())) < 5 / math.sqrt(n)  # five deviations of each moment
        assert abs(float((weight**2).mean()) - 1) < 5 * math.sqrt(2 / n)
        assert abs(float((weight**4).mean()) - 3) < 5 * math.sqrt(96 / n)
        assert (bias == (1 if i in (2, 4, 5, 6, 7) else 0)).all()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, same, other = (AlexNet(SMALL, seed).state_dict() for seed in (4, 4, 5))
    for name, value in one.items():
        assert torch.equal(value, same[name])
        if name.endswith("weight"):
            assert not (value == other[name]).any()


def test_a_layers_weights_do_not_depend_on_the_other_layers() -> None:
    """So arms of a study that differ in one layer start equal in the others."""
    changes: list[tuple[dict[str, Any], set[str]]] = [
        ({"classes": 9}, {"fc8"}),
        ({"hidden": 30}, {"fc6", "fc7", "fc8"}),
        ({"image_size": 99}, {"fc6"}),
        ({"channels": (10, 12, 16, 12, 8)}, {"conv1", "conv2"}),
    ]
    one = AlexNet(SMALL).state_dict()
    for change, touched in changes:
        net = RECIPES["paper"].replace(net=SMALL).replace(net=change).net
        assert isinstance(net, Net)
        for name, value in AlexNet(net).state_dict().items():
            assert (name.split(".")[0] in touched) == (value.shape != one[name].shape) or name.endswith("bias")
            if value.shape == one[name].shape:
                assert torch.equal(value, one[name])


def test_no_two_layers_begin_alike() -> None:
    """Every pair of layers has different weights, even fc6 and fc7 of equal shape."""
    weights = [(value / std).flatten()[:100] for value, std in zip(
        (p.detach() for name, p in AlexNet(SMALL).named_parameters() if name.endswith("weight")), SMALL.std, strict=True
    )]  # fmt: skip
    for i, one in enumerate(weights):
        for other in weights[:i]:
            n = min(len(one), len(other))
            assert not torch.isclose(one[:n], other[:n], rtol=1e-4).any()


@pytest.mark.parametrize("source", [False, True], ids=["paper", "source"])
def test_features_are_found_by_the_names_of_the_layers(source: bool) -> None:
    net = RECIPES["paper"].replace(net=SMALL).replace(net=SOURCE if source else {}).net
    assert isinstance(net, Net)
    model = build(net).eval()
    x = pictures(net, 2)
    for layer, value in assert_layers(model, x).items():
        assert torch.equal(model.features(x, layer), value)
    assert torch.equal(model.features(x, "fc8"), model(x))


@pytest.mark.parametrize("layer", ["relu8", "conv6", "", "within2", "Conv1"])
def test_a_layer_that_is_not_there_is_refused_with_the_names_that_are(layer: str) -> None:
    model = build(SMALL)
    with pytest.raises(InputError, match=r"conv1.*pool5.*fc8"):
        model.features(pictures(SMALL, 1), layer)


def test_training_moves_on_a_step_a_forward_and_testing_does_not() -> None:
    model, x = build(SMALL), pictures(SMALL, 1)
    model.train().at(6)(x)
    assert model.step == 7
    model.eval()(x)
    model.features(x, "fc7")
    assert model.step == 7


def test_a_step_has_its_masks_and_another_step_others() -> None:
    """Section 4.2: the masks are a function of the step, so a resumed run drops the same units."""
    model, x = build(SMALL).train(), pictures(SMALL, 8)
    first, second = model.at(2)(x), model(x)
    assert torch.equal(model.at(2)(x), first)
    assert torch.equal(model.at(3)(x), second)
    assert not torch.equal(first, second)
    other = build(SMALL, seed=1).train()
    other.load_state_dict(model.state_dict())
    assert not torch.equal(other.at(2)(x), first)


def test_a_share_of_the_batch_drops_what_the_whole_batch_drops() -> None:
    model, x = build(SMALL).train(), pictures(SMALL, 6)
    whole = model.at(2)(x)
    parts = torch.cat([model.at(2, first)(x[first : first + 2]) for first in (0, 2, 4)])
    (room,) = reach(lambda: [model.at(2)(x).detach()], torch.float64)
    torch.testing.assert_close(parts, whole, rtol=0, atol=2 * room)  # other batch sizes sum in another order


@pytest.mark.parametrize("p", [0.5, 0.2, 0.0])
def test_testing_multiplies_fc6_and_fc7_by_one_minus_p(p: float) -> None:
    """Section 4.2: "At test time, we use all the neurons but multiply their outputs by 0.5"."""
    net = RECIPES["paper"].replace(net=SMALL).replace(net={"dropout": p}).net
    assert isinstance(net, Net)
    model, x = build(net).eval(), pictures(SMALL, 2)
    for i in (6, 7):
        assert torch.equal(model.features(x, f"drop{i}"), model.features(x, f"relu{i}") * (1 - p))
    model.train()
    for i in (6, 7):
        relu, drop = model.at(1).features(x, f"relu{i}"), model.at(1).features(x, f"drop{i}")
        assert torch.equal(drop[drop != 0], relu[drop != 0])
        assert bool((drop != relu).any()) == (p > 0)


def test_dropout_in_training_has_the_mean_of_testing() -> None:
    """Section 4.2: the 0.5 of testing is the mean over the masks; 100 steps of 40 masks, five standard deviations."""
    model = build(SMALL)
    x = pictures(SMALL, 1)
    relu = model.eval().features(x, "relu6").detach()
    expected = model.features(x, "drop6").detach()
    masks = torch.cat([dropout(relu.expand(40, -1), 0.5, 0, "fc6", step, 0) for step in range(100)])
    assert ((masks.mean(0) - expected[0]).abs() <= 5 * relu[0].abs() * 0.5 / math.sqrt(4000)).all()


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_other_nets_weigh_what_the_walk_says(shape: dict[str, Any]) -> None:
    net = RECIPES["paper"].replace(net=SMALL).replace(net=shape).net
    assert isinstance(net, Net)
    model = AlexNet(net)
    weights = {layer.name: layer.weights for layer in layers_of(net) if layer.weights}
    held = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}
    assert {name: count for name, count in held.items() if count} == weights
    assert list(weights) == list(net.layers)


def test_towers_that_do_not_talk_see_nothing_of_each_other() -> None:
    """Net 150 of the 2012 log: a change to tower 1's conv1 changes nothing in tower 0 before fc8."""
    net = RECIPES["paper"].replace(net=SMALL).replace(net={"cross_tower": False}).net
    assert isinstance(net, Net)
    model, x = build(net).eval(), pictures(net, 1)
    before = dict(model.walk(x))
    with torch.no_grad():
        model.conv1.weight[len(model.conv1.weight) // 2 :] += 1
    after = dict(model.walk(x))
    for name in list(before)[:-1]:
        half = before[name].shape[1] // 2
        assert torch.equal(before[name][:, :half], after[name][:, :half]), name
        assert not torch.equal(before[name][:, half:], after[name][:, half:]), name
    assert not torch.equal(before["fc8"], after["fc8"])


def test_a_layer_starts_alike_whichever_others_there_are() -> None:
    """So a study can pair a net without conv3 with the whole net of the same seed."""
    whole, less = AlexNet(SMALL, 5), AlexNet(Net(**{**vars(SMALL), "skip": (3,)}), 5)
    for name in ("conv1", "conv2", "conv5", "fc6", "fc8"):
        assert torch.equal(whole.get_submodule(name).weight, less.get_submodule(name).weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shape", [{"skip": (2,)}, {"skip": (3, 4, 5)}, {"skip": (3, 3)}, {"conv6": 7}, {"conv6": -2}], ids=str
)
def test_a_net_that_cannot_be_is_refused(shape: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"recipe net\."):
        RECIPES["paper"].replace(net=shape)
