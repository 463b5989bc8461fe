"""Pictures of a store on the page: what can be picked, and the nearest ones by the net's features."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.inference.trained import load_for_inference
from alexnet.lab.stored import NEAREST, Stored, evenly


@pytest.fixture(scope="module")
def stored(run: Path, store: Path) -> Stored:
    compute = choose_compute("cpu", "fp32")
    return Stored(load_for_inference(run, compute), alexnet.Store(store), compute, "run")


def test_the_nearest_pictures_are_those_of_similar(stored: Stored, run: Path, store: Path, pictures: Path) -> None:
    file = pictures / "red" / "00.png"
    of = alexnet.features(run, [file], stored.layer, device="cpu", precision="fp32").values.astype("<f4").tobytes()
    (expected,) = alexnet.similar(run, store, [file], NEAREST, device="cpu", precision="fp32")
    found = stored.nearest(of)
    assert [(each["number"], each["name"], each["class"]) for each in found] == [
        (each["number"], each["name"], each["class"]) for each in expected["neighbours"]
    ]
    assert [each["distance"] for each in found] == pytest.approx([e["distance"] for e in expected["neighbours"]])


def test_every_held_out_picture_stands_on_one_page_and_is_the_stores_to_the_bit(stored: Stored, store: Path) -> None:
    split = alexnet.Store(store)["val"]
    shown = [each for page in range(stored.facts["pages"]) for each in stored.page(page)]
    assert sorted(each["number"] for each in shown) == list(range(len(split)))
    for each in shown[:3]:
        pixels, label = split[each["number"]]
        png = Image.open(io.BytesIO(stored.picture("pick", each["place"])))
        assert np.array_equal(np.array(png), pixels)
        assert each["class"] == stored.classes[label]


def test_of_a_large_split_some_pictures_are_compared_evenly_apart(run: Path, store: Path) -> None:
    compute = choose_compute("cpu", "fp32")
    net = load_for_inference(run, compute)
    seen: list[tuple[int, int]] = []
    part = Stored(net, alexnet.Store(store), compute, "run", 7, lambda *at: seen.append(at))
    assert seen == [(7, 7)]
    whole = alexnet.Store(store)["train"]
    assert [each["name"] for each in part.compared()] == [whole.names[i] for i in part.numbers]
    assert part.features.shape[0] == 7
    assert evenly(30, 7).tolist() == [0, 4, 8, 12, 17, 21, 25]
    assert evenly(3, 7).tolist() == [0, 1, 2]


def test_features_and_pictures_that_there_are_not_are_a_line(stored: Stored) -> None:
    units = stored.features.shape[1]
    with pytest.raises(InputError, match=rf"3 bytes; the features of relu7 are {units} float32 numbers"):
        stored.nearest(b"abc")
    with pytest.raises(InputError, match="infinity or NaN"):
        stored.nearest(np.full(units, np.nan, "<f4").tobytes())
    with pytest.raises(InputError, match="picture 999; it must be 0 to 29"):
        stored.picture("near", 999)
    with pytest.raises(InputError, match="page 9; it must be 0 to 0"):
        stored.page(9)


def test_a_store_of_another_size_is_a_line(run: Path, tmp_path: Path, pictures: Path) -> None:
    alexnet.prepare(pictures, tmp_path / "other", side=32, jobs=1)
    compute = choose_compute("cpu", "fp32")
    net = load_for_inference(run, compute)
    with pytest.raises(InputError, match=r"run takes 64-pixel pictures, but store .* has 32"):
        Stored(net, alexnet.Store(tmp_path / "other"), compute, "run")
