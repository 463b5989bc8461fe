from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.exact import exactly
from torch import nn

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


def test_several_layers_in_one_pass_are_those_of_one_at_a_time_bit_for_bit(
    store: Path, run: Path, damaged: list[Path]
) -> None:
    names = ["fc7", "conv1", "relu5", "pool2"]
    for source in (store, damaged):
        found = features.features(run, source, names, **FP32)
        assert list(found) == names
        for name in names:
            alone = features.features(run, source, name, **FP32)
            np.testing.assert_array_equal(found[name].values, alone.values, strict=True)
            assert found[name][1:] == alone[1:]


def test_a_pass_runs_the_net_once_for_each_picture_and_stops_after_the_last_layer_asked_for(
    store: Path, run: Path
) -> None:
    net = load(run)
    seen: dict[str, int] = {"conv1": 0, "conv3": 0, "conv4": 0}
    for name in seen:

        def count(_: object, given: Any, __: object, name: str = name) -> None:
            seen[name] += len(given[0])

        net.get_submodule(name).register_forward_hook(count)
    features.features(net, store, ("relu3", "conv1", "norm1", "features.0"), split="train")
    assert seen == {"conv1": 30, "conv3": 30, "conv4": 0}


def test_a_layer_that_changes_its_input_in_place_does_not_change_the_features_before_it(store: Path, run: Path) -> None:
    net, plain = load(run), features.features(run, store, ["conv3", "relu3"], **FP32)
    net.relu3 = nn.ReLU(inplace=True)
    found = features.features(net, store, ["conv3", "relu3"])
    assert (found["conv3"].values < 0).any()
    for name in found:
        np.testing.assert_array_equal(found[name].values, plain[name].values)


def test_features_are_found_by_other_packages_names_and_kept_by_the_name_given(store: Path, run: Path) -> None:
    asked = ["features.11", "Relu5", "relu5", "classifier.4"]
    found = features.features(run, store, asked, **FP32)
    assert list(found) == asked
    assert found["features.11"].values is found["Relu5"].values is found["relu5"].values
    np.testing.assert_array_equal(
        features.features(run, store, "CLASSIFIER.4", **FP32).values, found["classifier.4"].values
    )


def test_features_may_be_mapped_to_files(store: Path, run: Path, tmp_path: Path) -> None:
    features.features(run, store, keep=tmp_path / "one.npy", **FP32)
    found = features.features(run, store, ["features.0", "fc7"], keep=tmp_path, **FP32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conv1.npy", "fc7.npy", "one.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "conv1.npy"), found["features.0"].values)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "fc7.npy").read_bytes()


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
    with pytest.raises(InputError, match="no layer fc9; did you mean fc"):
        features.features(run, store, ["fc7", "fc9"], **FP32)
    with pytest.raises(InputError, match="name one or more"):
        features.features(run, store, [], **FP32)
