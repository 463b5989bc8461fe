import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests import packed

from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store


def refusal(source: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_source(source, source.parent / "work")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_every_picture_keeps_its_pixels_fine_label_and_name_in_both_forms_and_their_archives(tmp_path: Path) -> None:
    made = packed.cifar100(tmp_path / "cifar-100-python")
    packed.cifar100(tmp_path / "cifar-100-binary", "binary")
    with tarfile.open(tmp_path / "python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "cifar-100-python", "cifar-100-python")
    sources = ["cifar-100-python", "cifar-100-binary", "python.tar.gz"]
    digests = {prepare(tmp_path / name, tmp_path / f"store-{name}", jobs=1).digest for name in sources}
    assert len(digests) == 1
    store = Store(tmp_path / "store-cifar-100-python")
    assert (store.kind, store.side) == ("cifar-100", 32)
    assert [known.name for known in store.classes] == [f"kind_{n}" for n in range(100)]
    for split, file in (("train", "train"), ("val", "test")):
        labels, planes = made[file]
        part = store[split]
        numbers = [int(name.split("/")[1]) for name in part.names]
        assert sorted(numbers) == list(range(len(labels)))
        np.testing.assert_array_equal(part.labels, labels[numbers])
        pictures = part.read(np.arange(len(part))).transpose(0, 3, 1, 2).reshape(len(part), 3072)
        np.testing.assert_array_equal(pictures, planes[numbers])


def test_what_is_missing_or_out_of_range_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    packed.cifar100(source, "binary")
    (source / "fine_label_names.txt").write_text("one\ntwo\n")
    assert "fine_label_names.txt does not name CIFAR-100's 100 fine classes" in refusal(source)
    (source / "fine_label_names.txt").unlink()
    assert "CIFAR-100's fine_label_names.txt is missing" in refusal(source)
    packed.cifar100(tmp_path / "python")
    batch = {b"fine_labels": [100], b"data": np.zeros((1, 3072), np.uint8)}
    (tmp_path / "python/test").write_bytes(pickle.dumps(batch, protocol=2))
    assert "test has the label 100, but CIFAR-100's are 0 to 99" in refusal(tmp_path / "python")


def test_coarse_labels_alone_are_not_taken_for_fine_ones(tmp_path: Path) -> None:
    packed.cifar100(tmp_path / "source")
    batch = {b"coarse_labels": [1], b"data": np.zeros((1, 3072), np.uint8)}
    (tmp_path / "source/train").write_bytes(pickle.dumps(batch, protocol=2))
    assert "train is not a CIFAR-100 batch (b'fine_labels')" in refusal(tmp_path / "source")
