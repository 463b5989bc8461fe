"""Error rates as in the 2012 code (layer_kernels.cu:96-119 for ties), intervals, and the average over ten views."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.rounding import gamma, reach

from alexnet import AlexNet
from alexnet.config.recipe import Net, Views
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.transforms import Transform
from alexnet.inference.evaluate import probabilities, shares_of
from alexnet.inference.evaluation import errors
from alexnet.inference.measures import wilson


def errors_by_loops(rows: list[list[float]], labels: list[int]) -> tuple[float, float]:
    """Compute top-1 credit as 1 / ties at the maximum, and top-5 credit as slots left / ties, for each picture."""
    credits = [0.0, 0.0]
    for row, label in zip(rows, labels, strict=True):
        better = len([p for p in row if p > row[label]])
        ties = len([p for p in row if p == row[label]])
        for which, slots in enumerate((1, 5)):
            left = slots - better
            if left >= ties:
                credits[which] += 1
            elif left > 0:
                credits[which] += left / ties
    return 1 - credits[0] / len(rows), 1 - credits[1] / len(rows)


@given(st.integers(2, 12).flatmap(lambda n: st.lists(
    st.tuples(st.lists(st.integers(0, 4), min_size=n, max_size=n), st.integers(0, n - 1)), min_size=1, max_size=8
)))  # fmt: skip
def test_tied_classes_share_the_credit(cases: list[tuple[list[int], int]]) -> None:
    """2012 code: top-1 = 1 / ties at the maximum, top-5 = slots left / ties. Few values make many ties."""
    rows, labels = [[p / 4 for p in row] for row, _ in cases], [label for _, label in cases]
    found = errors(np.array(rows, np.float32), np.array(labels), 10)
    assert (found.top1, found.top5) == pytest.approx(errors_by_loops(rows, labels), abs=gamma(16))
    assert (found.images, found.views) == (len(rows), 10)


def test_a_net_that_gives_every_class_the_same_earns_chance() -> None:
    """2012 code: ten equal classes give 1 / 10 and 5 / 10, whatever the label is."""
    found = errors(np.full((7, 10), 0.1, np.float32), np.arange(7), 1)
    assert (found.top1, found.top5) == pytest.approx((0.9, 0.5))


def test_the_first_five_of_fewer_than_five_classes_are_never_wrong() -> None:
    found = errors(np.array([[0.7, 0.2, 0.1]], np.float32), np.array([2]), 1)
    assert (found.top1, found.top5) == (1.0, 0.0)


def test_nats_are_the_mean_of_minus_the_logarithm_of_the_true_class() -> None:
    """2012 code: the first cost that convnet prints."""
    rows = np.array([[0.5, 0.25, 0.25], [0.125, 0.8, 0.075], [1.0, 0.0, 0.0]], np.float32)
    found = errors(rows[:2], np.array([1, 0]), 1)
    assert found.nats == pytest.approx(
        (math.log(4) + math.log(8)) / 2, rel=gamma(8, torch.float32)
    )  # two logs and their mean
    assert 80 < errors(rows[2:], np.array([1]), 1).nats < math.inf  # a probability of 0 gives a finite loss


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_a_net_that_says_nan_earns_nothing() -> None:
    """2012 code: compares with the maximum, and NaN equals nothing, so it gets no credit."""
    rows = np.full((4, 10), np.nan, np.float32)
    found = errors(rows, np.arange(4), 1)
    assert (found.top1, found.top5) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("rate", "n", "low", "high"),
    [
        (0.1, 100, 0.05523, 0.17437),
        (0.5, 100, 0.40383, 0.59617),
        (0.0, 10, 0.0, 0.27753),
        (1.0, 10, 0.72247, 1.0),
        (0.407, 50_000, 0.40270, 0.41131),
    ],
)
def test_the_interval_is_wilsons(rate: float, n: int, low: float, high: float) -> None:
    """Tables of the 95 % score interval (Wilson 1927)."""
    assert wilson(rate, n) == pytest.approx((low, high), abs=1e-5)  # the tables have five digits


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_intervals_ends_are_the_rates_that_lie_1_96_deviations_away(case: tuple[int, int]) -> None:
    wrong, n = case
    low, high = wilson(wrong / n, n)
    assert 0 <= low <= wrong / n + gamma(32)
    assert wrong / n - gamma(32) <= high <= 1
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            z = abs(wrong / n - end) / math.sqrt(end * (1 - end) / n)
            assert z == pytest.approx(
                1.959964, rel=1e-6
            )  # z has seven digits; rate - end keeps seven digits of float64


@pytest.mark.parametrize(
    ("weights", "runs", "shares"),
    [(None, 4, [0.25] * 4), ([1, 1, 2], 3, [0.25, 0.25, 0.5]), ([0, 3], 2, [0, 1]), ([0.2], 1, [1])],
)
def test_the_shares_sum_to_one(weights: list[float] | None, runs: int, shares: list[float]) -> None:
    assert shares_of(weights, runs) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("weights", "runs"),
    [([1.0], 2), ([1.0, 1.0], 1), ([-1.0, 2.0], 2), ([0.0, 0.0], 2), ([math.nan, 1.0], 2), ([math.inf, 1.0], 2)],
    ids=str,
)
def test_weights_that_are_no_shares_are_refused(weights: list[float], runs: int) -> None:
    with pytest.raises(InputError, match="--weights"):
        shares_of(weights, runs)


def small() -> tuple[AlexNet, Transform, torch.Tensor]:
    """A transform, five pictures, and a net whose logits differ from view to view by about one."""
    net = Net(
        image_size=40,
        kernel_sizes=(5, 3, 3, 3, 3),
        stride=2,
        classes=4,
        channels=(4, 4, 4, 4, 4),
        hidden=8,
        std=(0.1,) * 8,
    )
    random = np.random.default_rng(0)
    mean = torch.from_numpy(random.uniform(100, 140, (48, 48, 3)).astype(np.float32))
    images = torch.from_numpy(random.integers(0, 256, (5, 48, 48, 3), np.uint8))
    model, transform = AlexNet(net).eval(), Transform(Views(), 40, mean, torch.eye(3))
    with torch.no_grad():
        logits = torch.stack([model(view) for view in transform.ten_crop(images)])
        model.fc8.weight.div_(logits.std(0).mean())
        model.fc8.bias.sub_(model(transform.center_crop(images)).mean(0))
    return model, transform, images


@pytest.mark.parametrize("mean", ["place", "centre"])
def test_ten_views_average_probabilities_and_not_logits(mean: Any) -> None:
    """Section 4.1: "averaging the predictions made by the network's softmax layer on the ten patches"."""
    net, given, images = small()
    transform = Transform(Views(mean=mean), 40, given.mean, given.components)
    wide = copy.deepcopy(net).double()

    def averages() -> list[torch.Tensor]:
        """Compute the means of the ten views and the central view in float64, and the mean of the logits."""
        logits = torch.stack([wide(view) for view in transform.ten_crop(images, torch.float64)])
        each = logits.exp() / logits.exp().sum(2, keepdim=True)
        mean = logits.mean(0)
        return [each.mean(0), each[2], mean.exp() / mean.exp().sum(1, keepdim=True)]

    with torch.no_grad():
        ten, central, plain = averages()
        of_ten, of_central, _ = reach(averages)  # float32; logits of two views differ by about one
    assert (plain - ten).abs().max() > 100 * of_ten  # the test can tell the two averages apart
    centre, found = probabilities(net, transform, images, choose_compute("cpu", "fp32"), 10)
    np.testing.assert_allclose(found, ten, rtol=0, atol=of_ten)
    for one in (centre, *probabilities(net, transform, images, choose_compute("cpu", "fp32"), 1)):
        np.testing.assert_allclose(one, central, rtol=0, atol=of_central)
