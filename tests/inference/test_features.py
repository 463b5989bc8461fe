import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.exact import exactly

from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.inference import features, similar
from alexnet.runs.run import load

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


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
    near, apart = similar.similar(net, store, opened, 3), similar.similar(run, store, paths, 3, **FP32)
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
    with pytest.raises(InputError, match=r"no layer fc9; this net has .*conv1, .*fc8"):
        features.write_features(run, store, tmp_path / "out", "fc9", **FP32)
    (tmp_path / "no.png").write_bytes(b"")
    found = features.write_features(run, tmp_path / "no.png", tmp_path / "out", **FP32)
    assert len(found.errors) == 1
    assert not list(tmp_path.glob("*out*"))
    with pytest.raises(InputError, match="a folder that exists"):
        features.write_features(run, store, tmp_path / "none" / "out", **FP32)


def test_what_has_no_features_is_refused(run: Path, store: Path, pictures: Path, tmp_path: Path) -> None:
    from alexnet.data.prepare.prepare import prepare

    prepare(pictures, tmp_path / "small", side=32, val_fraction=0.29, jobs=1)
    with pytest.raises(InputError, match=r"takes 64-pixel pictures.*has 32"):
        features.features(run, tmp_path / "small", **FP32)
    with pytest.raises(InputError, match="--split train: only a store"):
        features.features(run, pictures, split="train", **FP32)
    with pytest.raises(InputError, match="no split 'test'"):
        features.features(run, store, split="test", **FP32)
    with pytest.raises(InputError, match="does not exist"):
        features.features(run, tmp_path / "none.png", **FP32)
