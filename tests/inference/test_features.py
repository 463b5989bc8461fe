import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.rounding import gamma, reach

from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.inference import features
from alexnet.runs.run import load

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


@pytest.fixture
def damaged(pictures: Path, tmp_path: Path) -> list[Path]:
    """Write five files; the second and the fourth are not pictures."""
    files = [pictures / "blue/00.png", tmp_path / "a.png", pictures / "red/00.png", tmp_path / "b.png"]
    for path in (files[1], files[3]):
        path.write_bytes(b"no picture")
    return [*files, pictures / "green/03.png"]


def exactly(run: Path, split: Any, layer: str) -> tuple[np.ndarray, float]:
    """Compute a layer's output for each picture of a split in float64, and the rounding error that float32 may add."""
    net = load(run).double()
    views = net.transform.center_crop(torch.from_numpy(split.read(np.arange(len(split)))), torch.float64)

    def put_out() -> list[torch.Tensor]:
        return [net.features(views, layer)]

    with torch.inference_mode():
        (values,), (room,) = put_out(), reach(put_out)
    apart = np.abs(values.numpy()[:, None] - values.numpy()).reshape(len(split), len(split), -1).max(2)
    assert (
        2 * room < apart[~np.eye(len(split), dtype=bool)].min()
    )  # far enough apart to tell all pictures from each other
    return values.numpy(), room


@pytest.mark.parametrize("layer", ["fc7", "relu7", "conv5", "pool1"])
def test_features_of_a_store_are_each_pictures_own(store: Path, run: Path, layer: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(features, "BATCH", 5)
    found = features.features(run, store, layer, split="train", **FP32)
    split = Store(store)["train"]
    assert found.values.dtype == np.float32
    expected, room = exactly(run, split, layer)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=room)
    assert found.names == split.names
    assert found.labels == [["blue", "green", "red"][label] for label in split.labels]


def test_the_held_out_split_is_taken_unless_another_is_named(store: Path, run: Path) -> None:
    assert features.features(run, Store(store), **FP32).names == Store(store)["val"].names


def test_a_file_has_the_features_of_the_same_picture_in_the_store(store: Path, run: Path, pictures: Path) -> None:
    stored = features.features(run, store, split="train", **FP32)
    name = stored.names[3]
    (path,) = [p for p in pictures.rglob("*.png") if name.endswith(f"{p.parent.name}/{p.name}")]
    from_file = features.features(run, path, **FP32)
    expected, room = exactly(run, Store(store)["train"], "relu7")
    for values in (from_file.values[0], stored.values[3]):
        np.testing.assert_allclose(values, expected[3], rtol=0, atol=room)
    assert from_file.labels is None


def test_files_that_cannot_be_read_have_a_reason_and_no_row(store: Path, run: Path, damaged: list[Path]) -> None:
    found = features.features(run, damaged, **FP32)
    assert found.names == [str(damaged[i]) for i in (0, 2, 4)]
    assert found.errors.keys() == {str(damaged[1]), str(damaged[3])}
    _, room = exactly(run, Store(store)["train"], "relu7")
    for row, name in zip(found.values, found.names, strict=True):
        np.testing.assert_allclose(row, features.features(run, name, **FP32).values[0], rtol=0, atol=2 * room)


def test_a_loaded_net_and_pictures_of_any_kind_have_the_same_features(
    store: Path, run: Path, pictures: Path, damaged: list[Path]
) -> None:
    """The neighbours are the same too, and errors are listed by the pictures' names."""
    net, paths = load(run), [pictures / "red/02.png", pictures / "blue/01.png"]
    opened: list[Any] = [Image.open(paths[0]), paths[1].read_bytes(), b"no picture"]
    found = features.features(net, opened)
    assert (found.names, found.errors) == (["picture 0", "picture 1"], {"picture 2": "not a picture: text"})
    assert np.array_equal(found.values, features.features(net, paths).values)
    _, room = exactly(run, Store(store)["train"], "fc7")
    np.testing.assert_allclose(found.values, features.features(run, paths, **FP32).values, rtol=0, atol=2 * room)
    near, apart = features.similar(net, store, opened, 3), features.similar(run, store, paths, 3, **FP32)
    assert [answer["image"] for answer in near] == ["picture 0", "picture 1", "picture 2"]
    assert near[2]["error"] == "not a picture: text"
    for ours, theirs in zip(near, apart, strict=False):
        assert [n["number"] for n in ours["neighbours"]] == [n["number"] for n in theirs["neighbours"]]
    assert features.features(net, store).names == Store(store)["val"].names


def test_features_are_written_with_their_names_beside(run: Path, damaged: list[Path], tmp_path: Path) -> None:
    found = features.write_features(run, damaged, tmp_path / "out", "conv5", **FP32)
    assert sorted(p.name for p in tmp_path.glob("*out*")) == ["out.json", "out.npy"]
    values, facts = np.load(tmp_path / "out.npy"), json.loads((tmp_path / "out.json").read_text())
    np.testing.assert_array_equal(values, features.features(run, damaged, "conv5", **FP32).values)
    assert (facts["names"], facts["layer"], facts["shape"]) == (found.names, "conv5", list(values.shape))
    assert facts["errors"].keys() == found.errors.keys()


def test_written_features_of_a_store_are_those_in_memory(store: Path, run: Path, tmp_path: Path) -> None:
    features.write_features(run, store, tmp_path / "out.npy", split="train", **FP32)
    again = features.features(run, store, split="train", **FP32)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), again.values)
    assert json.loads((tmp_path / "out.json").read_text())["classes"] == again.labels


def test_nothing_is_written_where_the_work_fails(store: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no layer fc9; this net has conv1, .*fc8"):
        features.write_features(run, store, tmp_path / "out", "fc9", **FP32)
    (tmp_path / "no.png").write_bytes(b"")
    found = features.write_features(run, tmp_path / "no.png", tmp_path / "out", **FP32)
    assert len(found.errors) == 1
    assert not list(tmp_path.glob("*out*"))
    with pytest.raises(InputError, match="a folder that exists"):
        features.write_features(run, store, tmp_path / "none" / "out", **FP32)


def test_nearest_pictures_are_those_of_a_plain_search(
    store: Path, run: Path, pictures: Path, monkeypatch: Any
) -> None:  # fmt: skip
    monkeypatch.setattr(features, "BATCH", 7)
    queries = [pictures / "red/02.png", pictures / "blue/01.png"]
    answers = features.similar(run, store, queries, 4, layer="fc7", **FP32)
    split, asked = Store(store)["train"], features.features(run, queries, **FP32).values
    rows = features.features(run, store, split="train", **FP32).values.astype(np.float64)
    for answer, query in zip(answers, asked, strict=True):
        apart = [sum((a - b) ** 2 for a, b in zip(query.astype(np.float64), row, strict=True)) ** 0.5 for row in rows]
        best = sorted(range(len(rows)), key=lambda i: (apart[i], i))[:4]
        assert [n["number"] for n in answer["neighbours"]] == best
        assert [n["name"] for n in answer["neighbours"]] == [split.names[i] for i in best]
        far, rtol = [apart[i] for i in best], gamma(len(query) + 4)  # sums of squares in float64: no cancellation
        np.testing.assert_allclose([n["distance"] for n in answer["neighbours"]], far, rtol=rtol)
        assert [n["class"] for n in answer["neighbours"]] == [
            ["blue", "green", "red"][split.labels[i]] for i in best
        ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_of_pictures_equally_far_the_first_in_the_store_comes_first(
    store: Path, run: Path, monkeypatch: Any, batch: int
) -> None:
    """This holds for any batch size. Features with few values make ties."""
    monkeypatch.setattr(features, "BATCH", batch)
    split = Store(store)["train"]
    monkeypatch.setattr(features, "extract", lambda net, layer, images, compute: coarse(images))
    compute = choose_compute("cpu", "fp32")
    queries = coarse(torch.from_numpy(split.read(np.array([4, 20]))))
    ids, apart = features.nearest(load(run), "", split, queries, 9, compute)
    rows = coarse(torch.from_numpy(split.read(np.arange(len(split))))).numpy()
    for query, found, distances in zip(queries.numpy(), ids, apart, strict=True):
        far = np.linalg.norm(rows - query, axis=1)
        assert found.tolist() == np.argsort(far, kind="stable")[:9].tolist()
        assert len(set(distances.tolist())) < 9
    assert (apart[:, 0] == 0).all()


def coarse(images: torch.Tensor) -> torch.Tensor:
    return (images.float().mean((1, 2)) / 60).round()


def test_a_stored_picture_is_its_own_nearest(store: Path, run: Path, pictures: Path) -> None:
    split = Store(store)["train"]
    (path,) = [p for p in pictures.rglob("*.png") if split.names[7].endswith(f"{p.parent.name}/{p.name}")]
    (answer,) = features.similar(run, store, path, 1, **FP32)
    assert answer["neighbours"][0]["number"] == 7
    values, room = exactly(run, split, "relu7")
    # Two batch sizes may round each unit differently.
    assert answer["neighbours"][0]["distance"] <= 2 * room * math.sqrt(values.shape[1])


def test_similar_goes_on_past_files_that_cannot_be_read(run: Path, store: Path, damaged: list[Path]) -> None:
    answers = features.similar(run, store, damaged, 99, split="val", **FP32)
    assert [a["image"] for a in answers] == [str(path) for path in damaged]
    assert ["error" in a for a in answers] == [False, True, False, True, False]
    assert len(answers[0]["neighbours"]) == len(Store(store)["val"])


def test_pictures_are_compared_by_the_last_hidden_layer() -> None:
    from alexnet.models.build import build

    with torch.device("meta"):
        nets = [build(RECIPES[name].net, 0) for name in ("source", "one-gpu", "cifar-13", "cifar-18")]
    assert [features.last_hidden(net) for net in nets] == ["relu7", "relu7", "relu4", "pool3"]


def test_what_cannot_be_compared_is_refused(run: Path, store: Path, pictures: Path, tmp_path: Path) -> None:
    from alexnet.data.prepare.prepare import prepare

    prepare(pictures, tmp_path / "small", side=32, val_fraction=0.29, jobs=1)
    with pytest.raises(InputError, match=r"takes 64-pixel pictures.*has 32"):
        features.similar(run, tmp_path / "small", pictures / "red/00.png", **FP32)
    with pytest.raises(InputError, match="--split train: only a store"):
        features.features(run, pictures, split="train", **FP32)
    with pytest.raises(InputError, match="no split 'test'"):
        features.features(run, store, split="test", **FP32)
    with pytest.raises(InputError, match="does not exist"):
        features.features(run, tmp_path / "none.png", **FP32)
    with pytest.raises(InputError, match="--top 0"):
        features.similar(run, store, pictures / "red/00.png", 0, **FP32)
