"""The views of sections 2 and 4.1, compared with slices and loops; the 2012 variant follows convdata_jpeg.py."""

import copy
import io
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.config.recipe import Views
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.data.transforms import Transform, make_transform
from alexnet.ops import cpu, reference

SIDE, INPUT = 40, 8  # a margin of 32, as for 224 in 256
COMPONENTS = torch.tensor([[0.6, -0.7, 0.4], [0.6, 0.1, -0.8], [0.5, 0.7, 0.5]]) * torch.tensor([60.0, 20.0, 8.0])


def rulers(n: int, side: int = SIDE) -> Tensor:
    """Pictures whose pixels encode their position: (row, column, number of the picture)."""
    out = np.empty((n, side, side, 3), np.uint8)
    out[..., 0] = np.arange(side)[:, None]
    out[..., 1] = np.arange(side)
    out[..., 2] = np.arange(n)[:, None, None] % 256
    return torch.from_numpy(out)


def noise(n: int, side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8))


def viewing(image: Tensor | None = None, side: int = SIDE, input: int = INPUT, **settings: Any) -> Transform:
    """A transform that by default has no colour noise and a mean of zero."""
    settings = {"colour": 0.0} | settings
    return Transform(Views(**settings), input, torch.zeros(side, side, 3) if image is None else image, COMPONENTS)


def places(x: Tensor) -> list[tuple[int, int, bool]]:
    """Read (top, left, mirrored) from views of rulers."""
    top, first, last = x[:, 0, 0, 0].long(), x[:, 1, 0, 0].long(), x[:, 1, 0, -1].long()
    return [(int(t), int(min(f, e)), bool(f > e)) for t, f, e in zip(top, first, last, strict=True)]


def train(
    v: Transform, images: Tensor, ids: Tensor | None = None, seed: int = 0, epoch: int = 0, **more: Any
) -> Tensor:
    ids = torch.arange(len(images)) if ids is None else ids
    return v.augment(images, ids, seed=seed, epoch=epoch, **more)


@pytest.mark.parametrize("place", [False, True])
def test_views_of_stored_pictures_are_those_of_the_pictures_taken_out(place: bool) -> None:
    """Only a device's cache is read in place; the C++ form takes the pictures out itself."""
    v = viewing(noise(1, seed=1)[0].float(), colour=0.1, mean="place" if place else "centre", pictures_per_crop=2)
    split, ids = noise(9), torch.tensor([7, 0, 3, 3, 8])
    for dtype in (torch.float32, torch.float64):
        taken = train(v, split[ids], ids, first=1, dtype=dtype)
        assert torch.equal(train(v, split, ids, first=1, dtype=dtype, stored=True), taken)


def test_the_ten_views_are_the_corners_the_centre_and_their_mirrors() -> None:
    """Section 4.1: "five 224 x 224 patches (the four corner patches and the center patch) as well as their horizontal
    reflections"; at 256 these are (0, 0), (0, 32), (16, 16), (32, 0), (32, 32)."""
    images = noise(3)
    found = viewing().ten_crop(images)
    assert found.shape == (10, 3, 3, INPUT, INPUT)
    for i, (top, left) in enumerate([(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]):
        patch = images[:, top : top + INPUT, left : left + INPUT].permute(0, 3, 1, 2).float()
        assert torch.equal(found[i], patch)
        assert torch.equal(found[i + 5], patch.flip(3))


def test_the_central_view_is_the_middle_of_the_picture() -> None:
    """Section 4.1; 16 .. 239 of 256."""
    images = noise(2)
    assert torch.equal(viewing().center_crop(images), images[:, 16:24, 16:24].permute(0, 3, 1, 2).float())
    assert torch.equal(viewing().center_crop(images), viewing().ten_crop(images)[2])


def test_a_net_that_sees_the_whole_picture_has_two_views() -> None:
    """cifar-18 uses views of 32 in pictures of 32: the picture and its mirror image."""
    v, images = viewing(side=INPUT), noise(2, INPUT)
    found = v.ten_crop(images)
    whole = images.permute(0, 3, 1, 2).float()
    assert torch.equal(found, torch.stack([whole, whole.flip(3)]))
    assert torch.equal(v.center_crop(images), whole)
    assert set(places(train(v, rulers(50, INPUT)))) == {(0, 0, False), (0, 0, True)}


def test_training_views_are_slices_of_the_picture() -> None:
    """Section 4.1: "extracting random 224 x 224 patches (and their horizontal reflections)"."""
    images = noise(40)
    where = places(train(viewing(), rulers(40)))
    found = train(viewing(), images)
    for i, (top, left, mirrored) in enumerate(where):
        patch = images[i, top : top + INPUT, left : left + INPUT].permute(2, 0, 1).float()
        assert torch.equal(found[i], patch.flip(2) if mirrored else patch)


def test_training_places_are_uniform_over_33_by_33_and_half_are_mirrored() -> None:
    """Section 4.1; 33 x 33 x 2 views, as 2012 drew them (2048 is 32 x 32 x 2). Chi-squared, five deviations."""
    v, images = viewing(), rulers(256)
    drawn = [place for epoch in range(85) for place in places(train(v, images, epoch=epoch))]
    n = len(drawn)
    counts = np.zeros((33, 33, 2))
    for top, left, mirrored in drawn:
        counts[top, left, int(mirrored)] += 1
    tables = (counts.sum((1, 2)), counts.sum((0, 2)), counts.sum((0, 1)), counts.sum(2), counts)
    for table in tables:
        expected = n / table.size
        chi = ((table - expected) ** 2 / expected).sum()
        assert chi < table.size - 1 + 5 * math.sqrt(2 * (table.size - 1))


def test_crops_and_mirrors_can_be_switched_off() -> None:
    assert set(places(train(viewing(crops=False), rulers(60)))) == {(16, 16, False), (16, 16, True)}
    still = places(train(viewing(mirror=False), rulers(60)))
    assert not any(mirrored for _, _, mirrored in still)
    assert len(set(still)) > 50
    assert torch.equal(train(viewing(crops=False, mirror=False), rulers(6)), viewing().center_crop(rulers(6)))


@pytest.mark.parametrize("batch", [48, 32, 7])
def test_32_consecutive_pictures_of_the_epoch_share_crop_and_mirror(batch: int) -> None:
    """2012 code, convdata_jpeg.py:77: crop_chunk = 32, whatever the minibatch."""
    v, n = viewing(pictures_per_crop=32), 160
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))
    images = rulers(n)[order]
    drawn = []
    for first in range(0, n, batch):
        rows = slice(first, first + batch)
        drawn += places(train(v, images[rows], order[rows], first=first))
    chunks = [set(drawn[i : i + 32]) for i in range(0, n, 32)]
    assert all(len(chunk) == 1 for chunk in chunks)
    assert len(set.union(*chunks)) == 5
    assert drawn != places(train(v, images, order, epoch=1))


@pytest.mark.parametrize("reading", ["place", "centre"])
def test_the_mean_is_subtracted_as_the_reading_has_it(reading: str) -> None:
    """Section 2: "subtracting the mean activity over the training set from each pixel"; convdata_jpeg.py:95: the mean's
    central crop, unmirrored, wherever the picture's crop lies."""
    images = noise(6)
    mean = torch.from_numpy(np.random.default_rng(1).uniform(90, 140, (SIDE, SIDE, 3)).astype(np.float32))
    v = viewing(mean, mean=reading)
    seen = [(train(v, images), places(train(viewing(), rulers(6))))]
    seen += [(x, [place] * 6) for x, place in zip(v.ten_crop(images), v.places(), strict=True)]
    seen.append((v.center_crop(images), [(16, 16, False)] * 6))
    for found, where in seen:
        for i, (top, left, mirrored) in enumerate(where):
            for y in range(INPUT):
                for x in range(INPUT):
                    column = left + (INPUT - 1 - x if mirrored else x)
                    own = mean[top + y, column] if reading == "place" else mean[16 + y, 16 + x]
                    expected = images[i, top + y, column].float() - own
                    assert torch.equal(found[i, :, y, x], expected)


def added(v: Transform, n: int, epochs: int = 1, **more: Any) -> np.ndarray:
    """Collect the colour noise added to each of n pictures in each epoch: (n * epochs, 3)."""
    images = torch.zeros(n, SIDE, SIDE, 3, dtype=torch.uint8)
    rows = []
    for epoch in range(epochs):
        x = train(v, images, epoch=epoch, **more)
        assert torch.equal(x, x[:, :, :1, :1].expand_as(x))  # the same for all pixels of a picture
        rows.append(x[:, :, 0, 0].double().numpy())
    return np.concatenate(rows)


@pytest.mark.parametrize("scale", ["deviation", "eigenvalue"])
def test_colour_noise_has_a_hundredth_of_the_pictures_colour_covariance(scale: str) -> None:
    """Section 4.1: p_i alpha_i lambda_i with alpha of deviation 0.1; the 2012 code has lambda's square root, so that
    the noise's covariance is 0.01 of the RGB covariance; as printed, 0.01 of its square."""
    random = np.random.default_rng(2)
    colours = random.normal(0, 1, (5000, 3)) @ random.normal(0, 30, (3, 3))
    covariance = np.cov(colours.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    recipe = RECIPES["cifar-13"].replace(net={"image_size": INPUT}, views={"colour": 0.1, "colour_scale": scale})
    v = make_transform(recipe, torch.zeros(SIDE, SIDE, 3), torch.from_numpy(values), torch.from_numpy(vectors))
    draws = added(v, 500, 40)
    n = len(draws)
    expected = 0.01 * (covariance if scale == "deviation" else covariance @ covariance)
    found = draws.T @ draws / n
    deviations = np.sqrt(np.diag(expected))
    bound = 5 * np.sqrt(2 / n) * np.outer(deviations, deviations)  # five deviations of a sample covariance, at least
    assert (np.abs(found - expected) < bound).all()
    assert (np.abs(draws.mean(0)) < 5 * deviations / math.sqrt(n)).all()


def test_colour_noise_is_drawn_anew_for_each_picture_epoch_and_seed() -> None:
    """Section 4.1: "each alpha_i is drawn only once for all the pixels of a particular training image until that image
    is used for training again, at which point it is re-drawn"; crops may be shared, colours never are."""
    v = viewing(colour=0.1, pictures_per_crop=32)
    draws = np.concatenate([added(v, 64), added(v, 64, seed=1), added(v, 64, 2)[64:]])
    assert len(np.unique(draws.round(4), axis=0)) == 3 * 64
    assert np.array_equal(added(v, 64), added(v, 64))


def test_colour_noise_is_in_no_test_view_and_in_none_when_it_is_off() -> None:
    images = noise(4)
    noisy, plain = viewing(colour=0.1, colour_shrink=True), viewing()
    assert torch.equal(noisy.ten_crop(images), plain.ten_crop(images))
    assert torch.equal(noisy.center_crop(images), plain.center_crop(images))
    assert torch.equal(train(noisy, images, colour=False), train(plain, images))
    assert not torch.equal(train(noisy, images), train(plain, images))


def test_the_2012_code_divides_by_1_1_after_the_noise_and_only_with_it() -> None:
    """convdata_jpeg.py:155-179: img += c * noise; img /= 1 + c, with c = 0 late in training."""
    images, mean = noise(4), noise(1, seed=3)[0].float()
    shrunk, plain = (train(viewing(mean, colour=0.1, colour_shrink=s), images) for s in (True, False))
    torch.testing.assert_close(shrunk * 1.1, plain, rtol=1e-6, atol=1e-5)
    late = (train(viewing(mean, colour=0.1, colour_shrink=s), images, colour=False) for s in (True, False))
    assert torch.equal(*late)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_views_are_divided_by_each_colours_deviation_after_the_mean(dtype: torch.dtype) -> None:
    """As in torchvision: (pixel - mean) / std, in float32, rounded once to the type of the views."""
    std, mean = (58.395, 57.12, 57.375), noise(1, seed=3)[0].float()
    recipe = RECIPES["small"].replace(views={"std": std})
    v = make_transform(recipe, mean, torch.ones(3), torch.eye(3))
    plain = make_transform(recipe.replace(views={"std": ()}), mean, torch.ones(3), torch.eye(3))
    images, divisors = noise(3), torch.tensor(std).view(3, 1, 1)
    assert torch.equal(v.center_crop(images, dtype), (plain.center_crop(images) / divisors).to(dtype))
    assert torch.equal(v.ten_crop(images, dtype), (plain.ten_crop(images) / divisors).to(dtype))
    assert torch.equal(train(v, images, dtype=dtype), (train(plain, images) / divisors).to(dtype))
    in_blocks = [train(each, images, dtype=dtype, blocks=(4, 8)) for each in (v, plain)]
    expected = reference.pack(train(v, images, dtype=torch.float32), 4, 8).to(dtype)
    assert torch.equal(in_blocks[0], expected)
    assert not torch.equal(*in_blocks)
    assert "divided by 58.395, 57.12, 57.375" in repr(v)
    assert v.to("cpu").std is not None


@pytest.mark.parametrize("name", ["paper", "tiny"])
def test_a_picture_has_its_view_whatever_batch_it_is_in(name: str) -> None:
    """In the paper's variant a view depends only on (seed, epoch, picture), in any batch and order."""
    settings = RECIPES[name].replace(views={"pictures_per_crop": 1}).views
    v = Transform(settings, INPUT, torch.zeros(SIDE, SIDE, 3), COMPONENTS)
    images, ids = noise(12), torch.arange(100, 112)
    whole = train(v, images, ids, epoch=3)
    parts = [train(v, images[i : i + 5], ids[i : i + 5], epoch=3, first=i) for i in (0, 5, 10)]
    assert torch.equal(torch.cat(parts), whole)
    order = torch.from_numpy(np.random.default_rng(4).permutation(12))
    assert torch.equal(train(v, images[order], ids[order], epoch=3), whole[order])
    for other in (
        train(v, images, ids, epoch=4),
        train(v, images, ids, seed=1, epoch=3),
        train(v, images, ids + 12, epoch=3),
    ):
        assert all(not torch.equal(a, b) for a, b in zip(other, whole, strict=True))


@pytest.mark.parametrize("switch", ["native", "off"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["paper", "source"])
def test_a_view_has_the_same_bits_in_a_batch_of_any_size(
    name: str, dtype: torch.dtype, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture's input may not depend on the rest of its batch: neither noise, mean and crop, nor rounding."""
    if switch == "off":
        monkeypatch.setattr(cpu, "library", lambda: None)
    settings = RECIPES[name].replace(views={"pictures_per_crop": 1, "colour": 0.1}).views
    v = Transform(settings, INPUT, noise(1, seed=3)[0].float() / 3, COMPONENTS)
    images, ids = noise(128), torch.arange(1000, 1128)
    alone = [train(v, images[i : i + 1], ids[i : i + 1], epoch=3, dtype=dtype) for i in range(128)]
    tested = [v.ten_crop(images[i : i + 1], dtype) for i in range(128)]
    for size in (2, 3, 8, 128):
        for first in range(0, 128, size):
            rows = slice(first, first + size)
            assert torch.equal(train(v, images[rows], ids[rows], epoch=3, dtype=dtype), torch.cat(alone[rows]))
            assert torch.equal(v.ten_crop(images[rows], dtype), torch.cat(tested[rows], 1))


def test_colours_lie_along_the_components_as_a_loop_has_them() -> None:
    """Section 4.1: the sum of p_i alpha_i over i; in float64 to a rounding of each product and sum."""
    alpha = torch.from_numpy(np.random.default_rng(5).normal(0, 0.1, (50, 3)).astype(np.float32))
    found = reference.colour_shift(alpha, COMPONENTS)
    assert found.dtype == torch.float64
    for row, colours in zip(alpha.tolist(), found.tolist(), strict=True):
        for channel, colour in enumerate(colours):
            terms = [a * float(c) for a, c in zip(row, COMPONENTS[channel], strict=True)]
            assert abs(colour - math.fsum(terms)) <= 3 * 2**-53 * sum(map(abs, terms))


def test_the_scale_multiplies_every_view_at_the_end() -> None:
    """Section 2: raw pixels; today's habit of dividing by 58 is a factor on the finished input."""
    images, mean = noise(4), noise(1, seed=3)[0].float()
    settings: dict[str, Any] = {"colour": 0.1, "colour_shrink": True}
    raw, scaled = viewing(mean, **settings), viewing(mean, scale=1 / 58, **settings)
    for form in (lambda v: train(v, images), lambda v: v.ten_crop(images), lambda v: v.center_crop(images)):
        torch.testing.assert_close(form(scaled) * 58, form(raw), rtol=1e-5, atol=1e-5)


def test_pictures_are_left_as_they_were() -> None:
    images, mean = noise(4), noise(1, seed=3)[0].float()
    v, before, old = viewing(mean, colour=0.1, scale=0.5), images.clone(), mean.clone()
    for _ in range(2):
        train(v, images)
        v.ten_crop(images)
    assert torch.equal(images, before)
    assert torch.equal(mean, old)


def test_tensors_and_arrays_one_picture_and_several_give_the_same_views() -> None:
    """Arrays of users: read-only, as from a PIL image; with negative strides, as from OpenCV's BGR turned to RGB."""
    v, images = viewing(noise(1, seed=3)[0].float()), noise(3)
    array = images.numpy()
    frozen, backwards = array.copy(), np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    frozen.flags.writeable = False
    for form in (v.center_crop, v.ten_crop, v):
        expected = form(images)
        for given in (array, frozen, backwards):
            assert torch.equal(form(given), expected)
        for one in (images[1], array[1]):
            assert torch.equal(form(one), form(images[1:2]))
    assert torch.equal(v(images), v.center_crop(images))
    assert v.ten_crop(images, torch.float64).dtype == torch.float64


BAD: dict[str, Any] = {
    "float32 Tensor (2, 40, 40, 3)": torch.zeros(2, SIDE, SIDE, 3),
    "int64 ndarray (2, 40, 40, 3)": np.zeros((2, SIDE, SIDE, 3), np.int64),
    "uint8 Tensor (2, 3, 40, 40)": torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8),
    "uint8 Tensor (2, 50, 50, 3)": torch.zeros(2, 50, 50, 3, dtype=torch.uint8),
    "uint8 ndarray (40, 40)": np.zeros((SIDE, SIDE), np.uint8),
    "list": [],
    "None": None,
}


@pytest.mark.parametrize("words", BAD)
def test_pictures_of_another_shape_or_type_are_refused_with_the_shape_that_is_taken(words: str) -> None:
    for form in (viewing().center_crop, viewing().ten_crop):
        with pytest.raises(InputError) as caught:
            form(BAD[words])
        said = str(caught.value)
        assert said.startswith(f"this transform takes pictures as uint8 (N, 40, 40, 3), not {words};")


def test_a_transform_prints_in_a_line_and_not_its_mean() -> None:
    assert repr(viewing()) == (
        "Transform(uint8 (N, 40, 40, 3) -> float32 (N, 3, 8, 8): minus the mean of its place, on cpu)"
    )
    assert "the mean of its centre, times 0.5" in repr(viewing(mean="centre", scale=0.5))


def test_a_transform_is_copied_and_pickled_with_its_numbers() -> None:
    v, images = viewing(noise(1, seed=3)[0].float(), colour=0.1), noise(3)
    file = io.BytesIO()
    torch.save(v, file)
    file.seek(0)
    for other in (copy.deepcopy(v), pickle.loads(pickle.dumps(v)), torch.load(file, weights_only=False)):  # noqa: S301
        assert torch.equal(train(other, images), train(v, images))
        assert repr(other) == repr(v)
