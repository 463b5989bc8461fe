import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.core.errors import InputError
from alexnet.data.prepare import plan
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store, verify
from alexnet.data.store_files import pack, unpack

Tree = Callable[..., Path]


@pytest.fixture(params=["raw", "jpeg"])
def made(request: pytest.FixtureRequest, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plan, "SHARD_BYTES", 4 * 32 * 32 * 3)
    prepare(tree(each=8), tmp_path / "store", side=32, format=request.param, jobs=1)
    return tmp_path / "store"


def test_pictures_read_in_any_order_are_the_same(made: Path) -> None:
    split = Store(made)["train"]
    whole = split.read(np.arange(len(split)))
    order = np.random.default_rng(0).permutation(len(split))
    np.testing.assert_array_equal(split.read(order), whole[order])
    assert whole.dtype == np.uint8
    assert len(split) > 4  # several shards


def test_read_fills_the_array_it_is_given(made: Path) -> None:
    split = Store(made)["train"]
    out = np.zeros((3, 32, 32, 3), np.uint8)
    assert split.read(np.array([5, 0, 5]), out) is out
    np.testing.assert_array_equal(out, split.read(np.array([5, 0, 5])))


def test_a_stored_jpeg_is_the_same_picture_with_simplejpeg_and_without() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8)
    rows = np.zeros_like(colours)
    for picture, row in zip(colours, rows, strict=True):
        record = np.frombuffer(pack(picture, "jpeg"), np.uint8)
        assert unpack(record, "jpeg", row) is row
        np.testing.assert_array_equal(row, unpack(record, "jpeg", np.zeros_like(row), fast=False))


def test_threads_read_the_same_pictures(made: Path) -> None:
    split = Store(made)["train"]
    expected = Store(made)["train"].read(np.arange(len(split)))
    with ThreadPoolExecutor(4) as pool:
        for n, picture in enumerate(pool.map(lambda n: split.read(np.array([n % len(split)])), range(200))):
            np.testing.assert_array_equal(picture[0], expected[n % len(split)])


def test_digest_does_not_depend_on_the_place(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "elsewhere")
    assert Store(tmp_path / "elsewhere").digest == Store(made).digest


def test_missing_split_is_refused_with_those_there_are(made: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'; it has train, val"):
        Store(made)["test"]


def test_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="is not a store"):
            Store(path)


def test_store_of_another_format_is_refused(made: Path) -> None:
    meta = json.loads((made / "meta.json").read_text())
    (made / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(InputError, match="format 99, made by a newer alexnet; this one reads format 1: upgrade"):
        Store(made)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b'{"format": 1}', b"\xff", b'{"format": 1, "splits": 3}']
)
def test_damaged_meta_is_refused(content: bytes, made: Path) -> None:
    (made / "meta.json").write_bytes(content)
    for opened in (Store, verify):
        with pytest.raises(InputError, match=r"meta\.json"):
            opened(made)


def test_altered_class_name_is_noticed(made: Path) -> None:
    meta = (made / "meta.json").read_text()
    (made / "meta.json").write_text(meta.replace('"cat"', '"cow"'))
    with pytest.raises(InputError, match=r"meta\.json"):
        Store(made)


SMALL = ["train/index.safetensors", "train/names.jsonl", "val/index.safetensors", "statistics.safetensors"]


@pytest.mark.parametrize("file", SMALL)
def test_altered_small_file_is_noticed_when_opened(file: str, made: Path) -> None:
    data = bytearray((made / file).read_bytes())
    data[len(data) // 2] ^= 1
    (made / file).write_bytes(data)
    with pytest.raises(InputError, match=f"{file}.*alexnet verify"):
        Store(made)


@pytest.mark.parametrize("file", [*SMALL, "train/00000.bin", "train/00001.bin"])
def test_truncated_or_missing_file_is_noticed_when_opened(file: str, made: Path) -> None:
    whole = (made / file).read_bytes()
    (made / file).write_bytes(whole[:-1])
    with pytest.raises(InputError, match=f"{file}.*alexnet verify"):
        Store(made)
    (made / file).unlink()
    with pytest.raises(InputError, match=f"{file}.*alexnet verify"):
        Store(made)


def test_altered_picture_is_noticed_when_first_read(made: Path) -> None:
    data = bytearray((made / "train/00001.bin").read_bytes())
    data[len(data) // 2] ^= 1
    (made / "train/00001.bin").write_bytes(data)
    split = Store(made)["train"]
    split.read(np.arange(4))
    with pytest.raises(InputError, match=r"train/00001\.bin.*at picture"):
        split.read(np.arange(len(split)))


def test_verify_lists_exactly_what_is_damaged(made: Path) -> None:
    assert verify(made) == []
    for file in ("train/00001.bin", "prepare.jsonl", "statistics.safetensors"):
        (made / file).write_bytes((made / file).read_bytes() + b"x")
    (made / "val/names.jsonl").unlink()
    assert sorted(verify(made)) == ["prepare.jsonl", "statistics.safetensors", "train/00001.bin", "val/names.jsonl"]


def test_a_split_is_a_dataset_whose_items_are_a_picture_and_its_label(made: Path) -> None:
    store = Store(made)
    assert isinstance(store["train"], torch.utils.data.Dataset)
    for split in store.splits.values():
        whole = split.read(range(len(split)))
        for given in (0, -1, len(split) - 1, -len(split), np.int64(1), torch.tensor(-2)):
            picture, label = split[given]
            assert (picture.dtype.name, picture.shape, type(label)) == ("uint8", (32, 32, 3), int)
            np.testing.assert_array_equal(picture, whole[int(given)])
            assert label == split.labels[int(given)]
        for past in (len(split), -len(split) - 1):
            with pytest.raises(IndexError, match=f"has no picture {past}; it has {len(split)}"):
                split[past]
        assert [label for _, label in split] == split.labels.tolist()  # iteration ends


def test_pictures_are_read_by_any_sequence_of_numbers(made: Path) -> None:
    split = Store(made)["train"]
    whole = split.read(np.arange(len(split)))
    for ids in ([3, -1, 3], range(2, 6), np.array([1, 0], np.uint8), torch.tensor([-1, 5]), (0,), [], range(0)):
        np.testing.assert_array_equal(split.read(ids), whole[np.asarray(ids, dtype=np.int64)])
    for wrong in (3, [[0, 1]], [0.5], [True, False], ["0"]):
        with pytest.raises(InputError, match=r"numbers are of shape .*; give a list of integers"):
            split.read(wrong)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_pytorch_gives_the_stores_pictures(workers: int, made: Path) -> None:
    split = Store(made)["train"]
    whole = split.read(range(len(split)))  # so that files are open before processes fork
    loader = torch.utils.data.DataLoader(split, 4, num_workers=workers)
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    np.testing.assert_array_equal(images.numpy(), whole)
    assert labels.tolist() == split.labels.tolist()


def test_a_split_travels_without_its_open_files(made: Path) -> None:
    split = Store(made)["train"]
    expected, names = split.read(range(len(split))), split.names
    assert {"_file", "names"} <= split.__dict__.keys()
    travelled: Any = pickle.loads(pickle.dumps(split))  # noqa: S301
    assert "names" not in travelled.__dict__
    assert travelled.names == names
    np.testing.assert_array_equal(travelled.read(range(len(split))), expected)
    assert isinstance(travelled, torch.utils.data.Dataset)


@pytest.mark.parametrize("missing", [["preadv"], ["preadv", "pread"]])
def test_pictures_are_the_same_on_a_system_that_cannot_read_at_a_place(
    missing: list[str], made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Store(made)["train"].read(range(8))
    for name in missing:
        monkeypatch.delattr(os, name)
    split = Store(made)["train"]
    with ThreadPoolExecutor(4) as pool:
        for n, picture in enumerate(pool.map(lambda n: split.read([n % 8]), range(200))):
            np.testing.assert_array_equal(picture[0], whole[n % 8])


def test_a_store_in_the_place_of_a_split_is_refused_with_the_split_to_take(made: Path) -> None:
    store = Store(made)
    for use in (len, list, lambda given: list(torch.utils.data.DataLoader(given))):
        with pytest.raises(InputError, match=r"is a store of splits \(train, val\); use one: store\['val'\]"):
            use(store)
    assert store


def test_a_store_and_a_split_say_in_a_line_what_they_are(made: Path) -> None:
    store = Store(made)
    content = f"2 classes, 32 x 32, {store.format}"
    assert repr(store) == f"<store {made} from folders: {content}; train 14, val 2>"
    assert repr(store["val"]) == f"<split 'val' of {made}: 2 pictures, 32 x 32, {store.format}>"


def test_preparing_does_not_import_torch() -> None:
    """Importing it would cost each worker process a second and 200 MB."""
    code = "import sys, alexnet.data.prepare.prepare, alexnet.data.store; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_subset_has_as_many_of_each_class_and_the_smaller_is_part_of_the_larger(store: Path) -> None:
    whole = Store(store)
    small, large = whole.subset(6, 3), whole.subset(15)
    assert np.bincount(small["train"].labels).tolist() == [2, 2, 2]
    assert np.bincount(small[small.held_out].labels).tolist() == [1, 1, 1]
    assert len(large[large.held_out]) == len(whole[whole.held_out])
    assert set(small["train"].names) < set(large["train"].names) < set(whole["train"].names)
    assert len({whole.digest, small.digest, large.digest, whole.subset(6).digest}) == 4
    assert whole.subset().digest == whole.digest
    assert whole.subset(6, 3).digest == Store(store).subset(6, 3).digest


def test_pictures_labels_and_names_of_a_subset_are_those_of_the_whole(store: Path) -> None:
    whole, part = Store(store)["train"], Store(store).subset(9)["train"]
    places = [whole.names.index(name) for name in part.names]
    assert places == sorted(places)
    assert (part.labels == whole.labels[places]).all()
    assert (part.read(range(9)) == whole.read(places)).all()
    again = copy.copy(part)
    assert again.names == part.names
    assert (again.read([4, 1]) == part.read([4, 1])).all()


@pytest.mark.parametrize(
    ("train", "held_out", "words"),
    [
        (7, None, "--pictures is 7; give a multiple of the 3 classes"),
        (0, None, "--pictures is 0"),
        (None, 2, "--held-out is 2;"),
        (3000, None, "--pictures 3000 needs 1000 pictures of each class, but .* train has only 10 .* give 30 or fewer"),
    ],
)
def test_a_subset_that_cannot_be_drawn_is_refused(
    store: Path, train: int | None, held_out: int | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        Store(store).subset(train, held_out)
