"""A net with parts of it changed: each switch against the layers run by hand."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor

import alexnet
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.data.transforms import make_transform
from alexnet.lab.walk import GRAY, MOST_INPUTS, Settings, inputs, mask, order, switches, towers_of, walk
from alexnet.models.layers import Dropout
from alexnet.models.network import Network

SMALL = {"classes": 7, "hidden": 16, "channels": (8, 16, 16, 16, 8)}


def net_of(name: str) -> Network:
    """A small net of a recipe's kind, with a transform."""
    recipe = RECIPES[name].replace(net=SMALL)
    net = alexnet.AlexNet(recipe, seed=3).eval()
    size = recipe.net.image_size
    mean = torch.full((size + 8, size + 8, 3), 120.0)
    net.transform = make_transform(recipe, mean, torch.ones(3), torch.eye(3))
    return net


@pytest.fixture(scope="module")
def net() -> Network:
    return net_of("tiny")


@pytest.fixture(scope="module")
def square(net: Network) -> Tensor:
    side = net.transform.side
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


@pytest.mark.parametrize("name", ["tiny", "paper", "owt", "caffenet"])
def test_settings_that_change_nothing_are_the_net(name: str) -> None:
    net = net_of(name)
    x = 50 * torch.randn(2, 3, net.net.image_size, net.net.image_size, generator=torch.Generator().manual_seed(1))
    made = walk(net, x, Settings())
    assert list(made) == list(net.order)
    with torch.inference_mode():
        for layer, out in net.walk(x):
            torch.testing.assert_close(made[layer], out, rtol=1e-5, atol=1e-5)


def by_hand(net: Network, x: Tensor, names: list[str]) -> Tensor:
    with torch.inference_mode():
        for name in names:
            x = net.layer(name)(x)
    return x


def test_a_norm_that_is_off_is_left_out_with_the_one_within_its_maps(net: Network, square: Tensor) -> None:
    x = inputs(net, square, Settings(), torch.float32)
    for norms, gone in (((False, True), {"norm1"}), ((True, False), {"norm2", "within2"})):
        kept = [name for name in net.order if name not in gone]
        assert torch.equal(walk(net, x, Settings(norms=norms))["fc8"], by_hand(net, x, kept))
    both = walk(net, x, Settings(norms=(False, False)))
    assert not {"norm1", "norm2", "within2"} & both.keys()


def test_norms_change_places_with_their_relus(net: Network, square: Tensor) -> None:
    x = inputs(net, square, Settings(), torch.float32)
    names = list(net.order)
    for number in "12":
        a, b = names.index(f"relu{number}"), names.index(f"norm{number}")
        assert abs(a - b) == 1
        names[a], names[b] = names[b], names[a]
    assert order(net, Settings(swapped=True)) == names != list(net.order)
    assert torch.equal(walk(net, x, Settings(swapped=True))["fc8"], by_hand(net, x, names))


def test_a_silent_tower_is_zero_and_what_does_not_meet_it_stays(net: Network, square: Tensor) -> None:
    x = inputs(net, square, Settings(), torch.float32)
    whole, silent = walk(net, x, Settings()), walk(net, x, Settings(silent=(0,)))
    for name in ("conv1", "conv2", "conv3", "fc6", "fc7"):
        first, second = silent[name].chunk(2, 1)
        assert not first.any()  # the towers meet at conv3
        assert torch.equal(second, whole[name].chunk(2, 1)[1]) == (name in ("conv1", "conv2"))
    assert silent["fc8"].any()
    assert not walk(net, x, Settings(silent=(0, 1)))["fc7"].any()


def test_a_mask_drops_units_as_in_training_and_follows_from_its_seed(net: Network, square: Tensor) -> None:
    layer = net.layer("drop6")
    assert isinstance(layer, Dropout)
    drawn = mask(layer, 100_000, 5)
    assert set(drawn.tolist()) == {0.0, 1.0}
    assert abs(float(drawn.mean()) - (1 - layer.p)) < 0.01
    assert torch.equal(drawn, mask(layer, 100_000, 5))
    assert not torch.equal(drawn, mask(layer, 100_000, 6))
    x = inputs(net, square, Settings(), torch.float32)
    made = walk(net, x, Settings(dropout=5))
    assert torch.equal(made["drop6"], made["relu6"] * drawn[: made["relu6"].shape[1]])


def test_gray_views_and_covers_are_what_they_say(net: Network, square: Tensor) -> None:
    transform = net.transform
    places = transform.places()
    several = inputs(net, square, Settings(places=(2, 5, 9)), torch.float32)
    assert torch.equal(several, transform.ten_crop(square[None])[[2, 5, 9], 0])
    size = transform.size
    gray = inputs(net, square, Settings(gray=True, places=(0,)), torch.float32)[0]
    top, left, _ = places[0]
    for row, column in ((0, 0), (3, size - 1)):
        r, g, b = square[top + row, left + column].tolist()
        level = (GRAY[0] * r + GRAY[1] * g + GRAY[2] * b + 500) // 1000
        assert gray[:, row, column].tolist() == [level - 120.0] * 3
    covered = inputs(net, square, Settings(places=(2, 7), covers=((1, 2, 4), (0, 0, 1))), torch.float32)
    assert len(covered) == 4
    for i, (place, (top, left, side)) in enumerate((p, c) for p in (2, 7) for c in ((1, 2, 4), (0, 0, 1))):
        plain = inputs(net, square, Settings(places=(place,)), torch.float32)[0]
        assert not covered[i, :, top : top + side, left : left + side].any()
        plain[:, top : top + side, left : left + side] = 0
        assert torch.equal(covered[i], plain)


def test_switches_say_what_a_net_has() -> None:
    assert switches(net_of("tiny"))["norms"] == [True, True]
    owt = switches(net_of("owt"))
    assert (owt["norms"], owt["swapped"], owt["towers"]) == ([False, False], False, 1)
    assert switches(net_of("caffenet"))["swapped"] is False  # a pool stands between its norms and ReLUs
    assert towers_of(net_of("paper")) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object with some of norms,"),
        ('{"norm": true}', "must be an object with some of norms,"),
        ('{"norms": [true]}', "norms .* two of true and false"),
        ('{"norms": [1, 0]}', "norms .* two of true and false"),
        ('{"silent": [2]}', "silent .* some of 0 to 1"),
        ('{"silent": [true]}', "silent .* some of 0 to 1"),
        ('{"dropout": -1}', "dropout -1; it must be null, or 0 to"),
        ('{"dropout": 1e3}', "dropout 1000.0; it must be null"),
        ('{"places": []}', "places .* some of 0 to 9"),
        ('{"places": [10]}', "places .* some of 0 to 9"),
        ('{"covers": [[0, 0]]}', "covers .* lists of top, left and side"),
        ('{"covers": [[0, 0, 1e9]]}', "covers .* lists of top, left and side"),
        (json.dumps({"places": [0] * (MOST_INPUTS + 1)}), "ask for 257 inputs; at most 256"),
        ("[" * 100_000, "is not JSON"),
        ("NaN", "must be an object"),
    ],
)
def test_wrong_settings_are_a_line(given: str, words: str, net: Network) -> None:
    with pytest.raises(InputError, match=words) as error:
        Settings.read(given, net)
    assert len(str(error.value)) < 300


def test_right_settings_are_read(net: Network) -> None:
    given = {"norms": [True, False], "silent": [1], "dropout": 7, "places": [0, 1], "covers": [[0, 1, 2]], "gray": True}
    found = Settings.read(json.dumps(given), net)
    assert found == Settings((True, False), False, (1,), 7, True, (0, 1), ((0, 1, 2),))
    assert Settings.read("", net) == Settings()
