import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests import packed

from alexnet.core.errors import InputError
from alexnet.data.images.formats import SUFFIXES
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.base import Source
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store


def shards(folder: Path, **made: dict[str, bytes]) -> Path:
    """Write shards; the double underscore in a name stands for a dash."""
    folder.mkdir(exist_ok=True)
    for name, members in made.items():
        (folder / f"{name.replace('__', '-')}.tar").write_bytes(packed.tar_of(members))
    return folder


def counts(source: Path | str, work: Path) -> dict[str, dict[str, int]]:
    found: Source = read_source(source, work)
    assert found.kind == "webdataset"
    names = [known.name for known in found.classes]
    return {
        split: {name: sum(p.label == n for p in pictures) for n, name in enumerate(names)}
        for split, pictures in found.splits.items()
    }


def test_every_picture_keeps_its_pixels_and_its_label(tmp_path: Path) -> None:
    source = shards(
        tmp_path / "source",
        train__000=packed.shard({"a0": 0, "a1": 1}),
        train__001=packed.shard({"b0": 1, "b1": 0, "b2": 2}, "json"),
        val__000=packed.shard({"a0": 2}) | {"a0.json": b"{}", "README.md": b"for a human"},
    )
    (source / "classes.txt").write_text("cat\ndog\nemu\n")
    made = prepare(source, tmp_path / "store", side=16, jobs=1)
    assert (made.kind, made.pictures, made.ignored) == ("webdataset", {"train": 5, "val": 1}, 2)
    store = Store(tmp_path / "store")
    found = {}
    for split in store.splits.values():
        shades = split.read(np.arange(len(split)))[:, 8, -1, 0]
        for name, label, shade in zip(split.names, split.labels, shades, strict=True):
            found[name] = store.classes[label].name, int(shade)
    assert found == {
        "train-000/a0": ("cat", 20),
        "train-000/a1": ("dog", 21),
        "train-001/b0": ("dog", 20),
        "train-001/b1": ("cat", 21),
        "train-001/b2": ("emu", 22),
        "val-000/a0": ("emu", 20),
    }


def test_every_suffix_of_a_picture_is_one_in_a_shard(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for n, suffix in enumerate(SUFFIXES):
        members |= {f"{n}{suffix}": packed.jpeg(n), f"{n}.cls": str(n % 2).encode()}
    assert counts(shards(tmp_path / "source", train__0=members), tmp_path / "work") == {"train": {"0": 8, "1": 7}}


def test_a_folder_a_pattern_a_packed_shard_and_one_shard_alone_are_read(tmp_path: Path) -> None:
    labels: list[dict[str, int | str]] = [{f"{s}{n}": ["dog", "cat"][n % 2] for n in range(4)} for s in "ab"]
    source = shards(tmp_path / "source", s__000000=packed.shard(labels[0]), s__000001=packed.shard(labels[1], "txt"))
    both = {"train": {"cat": 4, "dog": 4}}
    assert counts(source, tmp_path / "work") == both
    assert counts(f"{source}/s-{{000000..000001}}.tar", tmp_path / "work") == both
    assert counts(source / "s-000001.tar", tmp_path / "work") == {"train": {"cat": 2, "dog": 2}}
    (source / "s-000003.tar").write_bytes(packed.tar_of(packed.shard({"c": "cat"})))
    assert counts(f"{source}/s-{{000000,000003}}.tar", tmp_path / "work") == {"train": {"cat": 3, "dog": 2}}
    with pytest.raises(InputError, match=r"between 's-000001\.tar' and 's-000003\.tar' are missing; .* in braces"):
        read_source(source, tmp_path / "work")
    (source / "s-000003.tar").unlink()
    (source / "s-000001.tar").unlink()
    (source / "s-000001.tar.gz").write_bytes(packed.tar_of(packed.shard(labels[1]), "w:gz"))
    assert counts(source, tmp_path / "work") == both
    assert counts(source / "s-000001.tar.gz", tmp_path / "work") == {"train": {"cat": 2, "dog": 2}}


def test_numbers_are_classes_in_numeric_order_and_names_in_order_of_text(tmp_path: Path) -> None:
    source = shards(tmp_path / "numbers", x0=packed.shard({"a": 10, "b": 9, "c": "007"}))
    assert [known.name for known in read_source(source, tmp_path).classes] == ["7", "9", "10"]
    source = shards(tmp_path / "names", x0=packed.shard({"a": "dog", "b": "cat"}))
    assert [known.name for known in read_source(source, tmp_path).classes] == ["cat", "dog"]
    info = {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}}
    (source / "dataset_info.json").write_text(json.dumps(info))
    assert [known.name for known in read_source(source, tmp_path).classes] == ["dog", "cat"]


def test_a_tar_of_class_folders_is_no_shard_and_a_tar_of_tars_is_read(tmp_path: Path) -> None:
    folders = {
        f"{kind}/{n}.{suffix}": packed.jpeg(n) for kind in ("cat", "dog") for n in range(3) for suffix in ("jpg",)
    }
    boxes = {name.replace(".jpg", ".txt"): b"0 0.5 0.5 1 1" for name in folders}
    (tmp_path / "folders.tar").write_bytes(packed.tar_of(folders | boxes))
    assert read_source(tmp_path / "folders.tar", tmp_path / "work").kind == "folders"
    source = shards(tmp_path / "source", train__0=folders)
    with pytest.raises(InputError, match=r"train-0\.tar: the key 'cat/0' has no label; .* or unpack the shard"):
        read_source(source, tmp_path)
    inner = {f"wds/train-{n}.tar": packed.tar_of(packed.shard({f"{n}a": 0, f"{n}b": 1})) for n in range(2)}
    (tmp_path / "all.tar").write_bytes(packed.tar_of(inner))
    assert counts(tmp_path / "all.tar", tmp_path / "work") == {"train": {"0": 2, "1": 2}}


def test_keys_in_folders_named_by_splits_stay_in_them(tmp_path: Path) -> None:
    members = packed.shard({"train/a": 0, "train/b": 1, "val/a": 1})
    (tmp_path / "x.tar").write_bytes(packed.tar_of(members))
    assert counts(tmp_path / "x.tar", tmp_path) == {"train": {"0": 1, "1": 1}, "val": {"0": 0, "1": 1}}


@pytest.mark.parametrize(
    ("name", "members", "words"),
    [
        (
            "x-0.tar",
            {"a.json": '{"label": 0, "split": "train"}', "b.json": '{"label": 1, "split": "test"}'},
            "b.json names the split test, but the shard is of train; write shards for each split",
        ),
        ("x-0.tar", {"a.txt": "0 0.5 0.5 0.2 0.2", "b.txt": "1 0.5 0.5 0.2 0.2"}, "boxes are not read"),
        ("x-0.tar", {"a.cls": "0.25", "b.cls": "0.75"}, "is neither one whole number nor a name"),
        ("x-0.tar", {"a.cls": "cat  x", "b.cls": "cat x"}, "which differ only in spaces"),
    ],
)
def test_splits_boxes_and_measures_in_a_shard_are_refused(
    name: str, members: dict[str, str], words: str, tmp_path: Path
) -> None:
    labels = {label: text.encode() for label, text in members.items()}
    data = {f"{label.split('.')[0]}.jpg": packed.jpeg(20 + n) for n, label in enumerate(members)}
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / name).write_bytes(packed.tar_of({**data, **labels}))
    with pytest.raises(InputError, match=re.escape(words)):
        read_source(tmp_path / "shards", tmp_path / "work")


def test_a_shard_whose_folders_only_hold_its_keys_is_not_read_as_class_folders(tmp_path: Path) -> None:
    shard = tmp_path / "x.tar"
    keys = ["000/a", "000/b", "001/c", "001/d"]
    shard.write_bytes(packed.tar_of(packed.shard(dict(zip(keys, [0, 1, 0, 1], strict=True)), "json")))
    with pytest.raises(InputError, match=r"000/b\.json has the label 1, which differs from the class folders"):
        read_source(shard, tmp_path / "work")
    shard.write_bytes(packed.tar_of(packed.shard(dict(zip(keys, "aabb", strict=True)), "json")))
    assert [known.name for known in read_source(shard, tmp_path / "work").classes] == ["000", "001"]
