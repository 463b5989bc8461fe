import json
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save
from tests.trained import put

from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.inference import features
from alexnet.inference.feature_files import TOLD, write_features
from alexnet.inference.rdm import rdm
from alexnet.runs import checkpoint
from alexnet.runs.run import Run

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


def test_features_are_written_with_their_names_beside(run: Path, damaged: list[Path], tmp_path: Path) -> None:
    found = write_features(run, damaged, tmp_path / "out", "conv5", **FP32).found["conv5"]
    assert sorted(p.name for p in tmp_path.glob("*out*")) == ["out.json", "out.npy"]
    values, facts = np.load(tmp_path / "out.npy"), json.loads((tmp_path / "out.json").read_text())
    np.testing.assert_array_equal(values, features.features(run, damaged, "conv5", **FP32).values)
    assert (facts["names"], facts["layer"], facts["shape"]) == (found.names, "conv5", list(values.shape))
    assert facts["errors"].keys() == found.errors.keys()


def test_written_features_of_a_store_are_those_in_memory(store: Path, run: Path, tmp_path: Path) -> None:
    write_features(run, store, tmp_path / "out.npy", split="train", **FP32)
    again = features.features(run, store, split="train", **FP32)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), again.values)
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["classes"] == again.labels
    assert (told["store"], told["split"]) == (Store(store).digest, "train")
    assert told["checkpoint"] == Run(run).checkpoints[-1].name  # also where none was named


def test_nothing_is_written_where_the_work_fails(store: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no layer fc9; did you mean .*fc8\?.* conv1, .*fc8"):
        write_features(run, store, tmp_path / "out", "fc9", **FP32)
    (tmp_path / "no.png").write_bytes(b"")
    written = write_features(run, tmp_path / "no.png", tmp_path / "out", ["fc7", "conv1"], metric="cosine", **FP32)
    assert len(written.found["fc7"].errors) == 1
    assert not written.files
    assert not list(tmp_path.glob("*out*"))
    with pytest.raises(InputError, match="a folder that exists"):
        write_features(run, store, tmp_path / "none" / "out", **FP32)


def test_several_layers_are_a_file_each_with_one_list_of_names(run: Path, damaged: list[Path], tmp_path: Path) -> None:
    names = ["conv1", "classifier.4"]
    written = write_features(run, damaged, tmp_path / "out", names, metric="euclidean", **FP32)
    files = ["out.conv1.npy", "out.conv1.rdm.npy", "out.fc7.npy", "out.fc7.rdm.npy", "out.json"]
    assert sorted(path.name for path in tmp_path.glob("*out*")) == files
    assert sorted(path.name for path in written.files) == files
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["layers"] == list(written.found) == ["conv1", "fc7"]
    assert facts["rdm"] == "euclidean"
    assert facts["names"] == [str(damaged[i]) for i in (0, 2, 4)]
    for layer in ("conv1", "fc7"):
        write_features(run, damaged, tmp_path / "one", layer, **FP32)
        assert (tmp_path / f"out.{layer}.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
        values, matrix = (np.load(tmp_path / f"out.{layer}{suffix}.npy") for suffix in ("", ".rdm"))
        np.testing.assert_array_equal(matrix, rdm(values, "euclidean"), strict=True)
        assert facts["shapes"][layer] == list(values.shape)
    assert {name: (shape, dtype) for name, shape, dtype in written.arrays} == {
        str(tmp_path / name): (np.load(tmp_path / name).shape, str(np.load(tmp_path / name).dtype))
        for name in files[:4]
    }


def test_the_matrix_of_one_layer_lies_beside_its_features(store: Path, run: Path, tmp_path: Path) -> None:
    write_features(run, store, tmp_path / "out.npy", metric="correlation", **FP32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.npy", "out.rdm.npy"]
    write_features(run, store, tmp_path / "plain", **FP32)
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()
    with_rdm, plain = (json.loads((tmp_path / name).read_text()) for name in ("out.json", "plain.json"))
    assert with_rdm == plain | {"rdm": "correlation"}
    np.testing.assert_allclose(
        np.load(tmp_path / "out.rdm.npy"), 1 - np.corrcoef(np.load(tmp_path / "out.npy").astype(float)), atol=1e-12
    )


def test_hdf5_holds_what_the_files_hold(run: Path, store: Path, damaged: list[Path], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    names: Any = ["conv1", "fc7"]
    for source in (store, damaged):
        written = write_features(run, source, tmp_path / "all.h5", names, metric="cosine", format="h5", **FP32)
        write_features(run, source, tmp_path / "out", names, metric="cosine", **FP32)
        facts = json.loads((tmp_path / "out.json").read_text())
        assert [path.name for path in written.files] == ["all.h5"]
        with h5py.File(tmp_path / "all.h5") as file:
            assert dict(file.attrs) == {name: facts[name] for name in TOLD if name in facts}
            assert file.attrs["checkpoint"] == Run(run).checkpoints[-1].name
            assert file.attrs["recipe"] == Run(run).recipe.digest
            assert file["names"].asstr()[:].tolist() == facts["names"]
            assert ("labels" in file) == (facts["classes"] is not None)
            if "labels" in file:
                assert file["labels"].asstr()[:].tolist() == facts["classes"]
            assert dict(file["errors"].asstr()[:].tolist()) == facts["errors"]
            for layer in names:
                np.testing.assert_array_equal(file[layer][:], np.load(tmp_path / f"out.{layer}.npy"), strict=True)
                matrix = np.load(tmp_path / f"out.{layer}.rdm.npy")
                np.testing.assert_array_equal(file["rdm"][layer][:], matrix, strict=True)
    assert not list(tmp_path.glob(".*"))


def test_a_name_that_is_not_utf_8_is_escaped_in_hdf5_as_in_json(run: Path, pictures: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    try:
        path = tmp_path / "r\udce9d.png"
        path.write_bytes((pictures / "red/00.png").read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    write_features(run, path, tmp_path / "out", format="h5", **FP32)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["names"].asstr()[:].tolist() == [str(path).replace("\udce9", "\\udce9")]


def test_hdf5_on_a_full_disk_is_an_error_with_the_files_name_and_leaves_nothing(
    run: Path, store: Path, tmp_path: Path
) -> None:
    """A file-size limit stands in for the disk: the arrays fit by themselves, but not in one file."""
    pytest.importorskip("h5py")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12 * 8 * 27 * 27 * 4 + 1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            write_features(run, store, tmp_path / "out", ["conv1", "relu1"], format="h5", **FP32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(tmp_path / ".out.h5.part")
    assert not list(tmp_path.iterdir())


def test_hdf5_without_h5py_is_refused_with_the_command_that_installs_it(
    run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install 'alexnet\[hdf5\]'$"):
        write_features(run, store, tmp_path / "out", format="h5", **FP32)
    assert not list(tmp_path.iterdir())


def test_an_undefined_dissimilarity_leaves_no_files(run: Path, store: Path, tmp_path: Path) -> None:
    silent = shutil.copytree(run, tmp_path / "silent")
    weights = checkpoint.read_tensors(checkpoint.list_checkpoints(silent)[-1], "weights.safetensors")
    weights["fc7.weight"].zero_()
    weights["fc7.bias"].fill_(-1)
    put(silent, "weights.safetensors", save(weights))
    with pytest.raises(InputError, match=r"^layer relu7: all features of .* are equal, so its correlation"):
        write_features(silent, store, tmp_path / "out", ["conv1", "relu7"], metric="correlation", **FP32)
    assert not list(tmp_path.glob("*out*"))
    write_features(silent, store, tmp_path / "out", ["conv1", "relu7"], metric="euclidean", **FP32)
    assert not np.load(tmp_path / "out.relu7.rdm.npy").any()


def test_a_wrong_choice_is_refused(run: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format hdf; choose from npy, h5"):
        write_features(run, store, tmp_path / "out", format="hdf", **FP32)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="metric x; choose from correlation, euclidean, cosine"):
        write_features(run, store, tmp_path / "out", metric="x", **FP32)  # type: ignore[arg-type]
