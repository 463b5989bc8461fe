"""Predictions, for every form in which a net and pictures can be given."""

import copy
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import alexnet
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.inference.trained import load_for_inference
from alexnet.models.network import Network
from alexnet.ops.packed import KEPT

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def net(run: Path) -> Network:
    return alexnet.load(run)


def test_a_file_its_bytes_its_image_and_its_array_get_the_same_probabilities(
    run: Path, net: Network, pictures: Path
) -> None:
    path = pictures / "red/00.png"
    image = Image.open(path)
    array = np.asarray(image)
    many: list[Any] = [path, str(path), path.read_bytes(), image, array, torch.from_numpy(array.copy())]
    for given, options in ((run, FP32), (net, {})):
        found = alexnet.predict(given, many, **options)
        names = [str(path), str(path), *(f"picture {i}" for i in range(2, 6))]
        assert [answer["image"] for answer in found] == names
        assert all(answer["predictions"] == found[0]["predictions"] for answer in found)
        assert [set(p) for p in found[0]["predictions"]] == [{"class", "index", "probability"}] * 3
        for one in many:
            (alone,) = alexnet.predict(given, one, **options)
            assert [p["class"] for p in alone["predictions"]] == [p["class"] for p in found[0]["predictions"]]


def test_a_loaded_net_says_what_its_run_says_and_is_left_as_it_is(run: Path, net: Network, pictures: Path) -> None:
    paths = sorted(pictures.rglob("*.png"))[::6]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for views in (1, 10):
        ours = alexnet.predict(net, paths, views=views)
        theirs = alexnet.predict(run, paths, views=views, **FP32)
        for a, b in zip(ours, theirs, strict=True):
            assert a["image"] == b["image"]
            probabilities = [{p["class"]: p["probability"] for p in answer["predictions"]} for answer in (a, b)]
            assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-4)  # the memory format differs
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training


def test_only_a_net_that_no_user_holds_keeps_its_weights_rearranged(run: Path, net: Network) -> None:
    compute = choose_compute("cpu", "fp32")
    assert any(layer in KEPT for layer in load_for_inference(run, compute).modules())
    assert not any(layer in KEPT for layer in load_for_inference(net, compute).modules())


def test_a_picture_that_cannot_be_read_has_its_error_in_its_place(net: Network, pictures: Path) -> None:
    image = Image.open(pictures / "red/00.png")
    found = alexnet.predict(net, [b"no picture", image, b"", image], top=1, views=1)
    assert [set(answer) - {"image"} for answer in found] == [{"error"}, {"predictions"}, {"error"}, {"predictions"}]
    assert found[0] == {"image": "picture 0", "error": "not a picture: text"}
    assert found[1]["predictions"] == found[3]["predictions"]
    assert alexnet.predict(net, []) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_net_computes_in_the_type_that_it_has(net: Network, pictures: Path, dtype: torch.dtype) -> None:
    path = pictures / "red/00.png"
    (wide,), (found,) = alexnet.predict(net, path), alexnet.predict(copy.deepcopy(net).to(dtype), path)
    p, q = ({each["class"]: each["probability"] for each in a["predictions"]} for a in (wide, found))
    assert p == pytest.approx(q, abs=0.1)
    assert net.transform.mean.dtype == torch.float32


def without(net: Network, **change: Any) -> Network:
    other = copy.copy(net)
    other.__dict__.update(change)
    return other


def test_what_is_no_net_and_a_net_that_cannot_answer_are_refused(net: Network, pictures: Path, tmp_path: Path) -> None:
    path = pictures / "red/00.png"
    cases: list[tuple[Any, str]] = [
        (None, "expected a run folder or a net from alexnet.load, not None"),
        (np.zeros((4, 4, 3), np.uint8), r"expected a run folder or a net .*, not uint8 ndarray \(4, 4, 3\)"),
        (tmp_path, "is not a run"),
        (nn.Linear(2, 2), "this Linear has no .classes or no .transform"),
        (without(net, classes=()), "this AlexNet has no .classes or no .transform, .*alexnet.load"),
        (without(net, transform=None), "this AlexNet has no .classes or no .transform"),
        (without(net, training=True), r"this AlexNet is in training mode, .*; call net.eval\(\) first"),
        (without(net, classes=["a", "b"]), r"the net has 3 outputs, but .classes has 2 names"),
    ]
    for given, words in cases:
        with pytest.raises(InputError, match=words):
            alexnet.predict(given, path)
    told: list[dict[str, Any]] = [{"device": "cpu"}, {"precision": "fp32"}]
    for options in told:
        with pytest.raises(InputError, match=r"a loaded net keeps its device and precision; leave .* out"):
            alexnet.predict(net, path, **options)
    with pytest.raises(InputError, match="picture 1 must be a path"):
        alexnet.predict(net, [path, io.BytesIO(path.read_bytes())])  # type: ignore[list-item]


def test_a_net_trained_on_warped_pictures_warps_the_pictures_that_it_is_given(net: Network) -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 90, 3), np.uint8))
    side = net.transform.side
    warped = wide.resize((side, 20), Image.Resampling.BILINEAR).resize((side, side), Image.Resampling.BILINEAR)
    other = without(net, transform=replace(net.transform, fit="warp"))
    assert alexnet.predict(other, wide)[0]["predictions"] == alexnet.predict(net, warped)[0]["predictions"]
    assert alexnet.predict(other, wide)[0]["predictions"] != alexnet.predict(net, wide)[0]["predictions"]


def test_the_pictures_of_a_store_get_their_names_and_classes(
    run: Path, net: Network, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Store(store)
    found = alexnet.predict(net, opened)
    part = opened[opened.held_out]
    assert [answer["image"] for answer in found] == list(part.names)
    assert [answer["label"] for answer in found] == [net.classes[i] for i in part.labels]
    images = list(part.read(np.arange(len(part))))
    assert [a["predictions"] for a in found] == [a["predictions"] for a in alexnet.predict(net, images)]
    assert len(alexnet.predict(run, store, split="train", **FP32)) == len(opened["train"])
    with pytest.raises(InputError, match="has no split 'test'"):
        alexnet.predict(net, store, split="test")
    with pytest.raises(InputError, match="--split val is for a store"):
        alexnet.predict(net, images, split="val")
    with pytest.raises(InputError, match=r"is a store, not a folder of pictures; give .* alone"):
        alexnet.predict(net, [store, images[0]])


def test_a_loaded_net_is_of_one_checkpoint(net: Network, store: Path, pictures: Path) -> None:
    picture = pictures / "red/00.png"
    acts: list[Any] = [
        lambda: alexnet.predict(net, picture, checkpoint="best"),
        lambda: alexnet.features(net, picture, checkpoint=8),
        lambda: alexnet.similar(net, store, picture, checkpoint="last"),
    ]
    for act in acts:
        with pytest.raises(InputError, match=r"a loaded net is of one checkpoint; choose it in alexnet\.load"):
            act()
