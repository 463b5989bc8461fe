"""What a stranger may put into WebDataset shards, CIFAR-100 and Kaggle's files: each is read or refused in a line."""

import io
import os
import pickle
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests import packed

from alexnet.core.errors import InputError
from alexnet.data.sources import archives
from alexnet.data.sources.base import Source
from alexnet.data.sources.recognise import read_source
from alexnet.data.sources.shard_labels import listed_classes

Count = Callable[..., None]
ONE, TWO = packed.shard({"a0": 0, "a1": 1}), packed.shard({"b0": 1, "b1": 0})


def said(source: Path | str, work: Path) -> str:
    """The one line that refuses a source."""
    with pytest.raises(InputError) as refused:
        read_source(source, work)
    words = str(refused.value)
    assert len(words.splitlines()) == 1
    assert len(words) < 1000
    return words


def outcome(source: Path, work: Path) -> Source | None:
    """What is read of a source, or None if it is refused in a line."""
    try:
        return read_source(source, work)
    except InputError as error:
        refused = str(error)
    assert len(refused.splitlines()) == 1
    return None


def link() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("b0.cls")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    return out.getvalue()


def shards() -> dict[str, tuple[bytes, str]]:
    """What the second shard of two is, and a part of what is said of it, with shard and key."""
    jpeg = packed.jpeg(9)

    def labelled(label: bytes, suffix: str = "cls") -> bytes:
        return packed.tar_of({"b0.jpg": jpeg, f"b0.{suffix}": label} | packed.shard({"b1": 1}))

    whole = packed.tar_of(TWO)
    return {
        "the same keys": (packed.tar_of(ONE), "train-0.tar and train-1.tar overlap: both have the key 'a0'"),
        "one key again": (packed.tar_of(TWO | packed.shard({"a1": 1})), "overlap: both have the key 'a1'"),
        "no label": (packed.tar_of(TWO | {"b2.jpg": jpeg}), "train-1.tar: the key 'b2' has no label"),
        "no picture": (packed.tar_of(TWO | {"b2.cls": b"1"}), "train-1.tar: the key 'b2' has no picture, only .cls"),
        "two pictures": (
            packed.tar_of(TWO | {"b0.png": jpeg}),
            "train-1.tar: the key 'b0' has the pictures .jpg and .png",
        ),
        "one file twice": (packed.tar_of([*TWO.items(), ("b0.cls", b"1")]), "train-1.tar has 'b0.cls' twice"),
        "one file in two cases": (packed.tar_of(TWO | {"b0.CLS": b"1"}), "train-1.tar has 'b0.CLS' twice"),
        "a label past the last": (
            labelled(b"2"),
            "train-1/b0 has the label 2, which is not one of the 2 listed classes",
        ),
        "a huge label": (labelled(b"9" * 900), "train-1.tar: b0.cls is not a label (9999"),
        "a label of 12 digits": (
            labelled(b"9" * 12),
            "train-1.tar: b0.cls is not a label (999999999999 is out of range)",
        ),
        "a negative label": (labelled(b"-1"), "train-1.tar: b0.cls is not a label (-1 is out of range)"),
        "an empty label": (labelled(b" \n"), "train-1.tar: b0.cls is not a label (it has no text)"),
        "a label of two lines": (labelled(b"1\n2"), "b0.cls is not a label (it has more than one line)"),
        "a label that is not UTF-8": (labelled(b"\xff\xfe"), "train-1.tar: b0.cls is not a label"),
        "a label of 2 MB": (
            labelled(b"1" * 2_000_000),
            "train-1.tar: b0.cls has 2000000 bytes; a label has 1000 at most",
        ),
        "a name among numbers": (labelled(b"emu"), "train-1/b0 has a name as its label, but train-0/a0 a number"),
        "JSON without a label": (
            labelled(b'{"caption": "x"}', "json"),
            "b0.json is not a label (it has no number or name",
        ),
        "JSON that is a list": (labelled(b"[1]", "json"), "train-1.tar: b0.json is not a label (it is not an object)"),
        "JSON 100,000 deep": (labelled(b"[" * 100_000, "json"), "train-1.tar: b0.json is not a label"),
        "JSON with NaN": (labelled(b'{"label": NaN}', "json"), "train-1.tar: b0.json is not a label"),
        "JSON with a number of 9,000 digits": (
            labelled(b'{"label": %s}' % (b"9" * 9000), "json"),
            "b0.json is not a label",
        ),
        "JSON with true": (labelled(b'{"label": true}', "json"), "train-1.tar: b0.json is not a label"),
        "a link": (link(), "train-1.tar is refused: its member 'b0.cls' is a link"),
        "cut in a member": (whole[:1000], "train-1.tar is cut short in its member"),
        "cut in a header": (whole[:2000], "train-1.tar is damaged at byte 1536"),
        "a path outside": (packed.tar_of({"../b0.jpg": jpeg}), "'../b0.jpg' points outside"),
        "nothing": (b"", "train-1.tar"),
        "no tar": (b"<html>" * 200, "train-1.tar"),
        "no pictures": (packed.tar_of({"b0.txt": b"1", "b1.txt": b"0"}), "train-1.tar has no picture KEY.jpg"),
    }


def test_every_hostile_shard_is_refused_with_shard_and_key_named(tmp_path: Path, count: Count) -> None:
    faults = shards()
    for number, (fault, (data, words)) in enumerate(faults.items()):
        source = tmp_path / str(number)
        source.mkdir()
        (source / "classes.txt").write_text("cat\ndog\n")
        if "name" in fault:
            (source / "classes.txt").unlink()
        (source / "train-0.tar").write_bytes(packed.tar_of(ONE))
        (source / "train-1.tar").write_bytes(data)
        told = said(source, tmp_path / "work")
        assert words in told, (fault, told)
    count("WebDataset: shards that overlap, keys and labels", injected=len(faults), survived=len(faults))


def test_hostile_lists_of_classes_packed_shards_and_captions_are_refused(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train-0.tar").write_bytes(packed.tar_of(ONE))
    lists = {
        "classes.txt": [
            (b"cat\ncat\n", "lists the class 'cat' 2 times"),
            (b"cat\n", "label 1, which is not one of the 1"),
        ],
        "dataset.json": [
            (b"[" * 100_000, "dataset.json cannot be read"),
            (b'{"classes": [1, 2]}', "lists classes that are not texts"),
            (b'{"classes": {"a": 1}}', "lists classes that are not texts"),
            (b'{"classes": ["cat", "dog", "emu"]}', "class 'emu' has no picture to train on"),
        ],
    }
    faults = 0
    for name, contents in lists.items():
        for data, words in contents:
            (source / name).write_bytes(data)
            assert words in said(source, tmp_path / "work")
            faults += 1
        (source / name).unlink()
    place = archives.Slice(str(source / "train-0.tar"), 0, 1 << 40)
    with pytest.raises(InputError, match="the limit is"):
        listed_classes(archives.Listing({"classes.txt": place}, frozenset()))
    captions = {f"c{n}": f"a picture of number {n}" for n in range(9)}
    (source / "train-0.tar").write_bytes(packed.tar_of(packed.shard(captions, "txt")))
    assert "these look like captions" in said(source, tmp_path / "work")
    monkeypatch.setattr(archives, "FREE_GROWTH", 1 << 20)
    bomb = packed.tar_of({"a0.jpg": bytes(3 << 20), "a0.cls": b"1"}, "w:gz")
    (source / "train-0.tar").unlink()
    (source / "train-0.tar.gz").write_bytes(bomb)
    assert f"{len(bomb)} bytes grow to more than" in said(source, tmp_path / "work")
    assert not list((tmp_path / "work").glob("*"))
    count("WebDataset: lists of classes, captions, a bomb", injected=faults + 3, survived=faults + 3)


def test_a_shard_with_damaged_bytes_is_read_or_refused(tmp_path: Path, torture: bool, count: Count) -> None:
    whole, chance, read = packed.tar_of(ONE | TWO), random.Random(3), 0
    many = 5000 if torture else 100
    for _ in range(many):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (tmp_path / "x.tar").write_bytes(data)
        found = outcome(tmp_path / "x.tar", tmp_path / "work")
        if found is None:
            continue
        assert sum(map(len, found.splits.values())) in (2, 3, 4)
        read += 1
    count("WebDataset with damaged bytes", injected=many, survived=many, figure=f"{read} read")


class Mark:
    """Leaves a mark where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_in_cifar_100_never_runs(tmp_path: Path, count: Count) -> None:
    source, mark = tmp_path / "source", tmp_path / "mark"
    packed.cifar100(source)
    attacks = [
        pickle.dumps({b"fine_labels": Mark(mark), b"fine_label_names": Mark(mark)}, protocol=2),
        b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(mark),
        b"cbuiltins\neval\n.",
        b"cnumpy\nload\n.",
        b"\x80\x02}r\xff\xff\xff\x1f.",  # a memo of 8 GB
        pickle.dumps(
            {b"fine_labels": [100], b"data": np.zeros((1, 3072), np.uint8), b"fine_label_names": [b"x"] * 100}
        ),
        b"\x80\x02}q\x00.",
        b"",
    ]
    for name in ("train", "test", "meta"):
        whole = (source / name).read_bytes()
        for attack in attacks:
            (source / name).write_bytes(attack)
            assert said(source, tmp_path / "work").startswith(name)
        (source / name).write_bytes(whole)
    assert not mark.exists()
    many = 3 * len(attacks)
    count("CIFAR-100: a pickle with code, or none", injected=many, survived=many, figure="no mark")


def test_cifar_100_with_damaged_bytes_is_read_or_refused(tmp_path: Path, torture: bool, count: Count) -> None:
    source, chance, read, many = tmp_path / "source", random.Random(4), 0, 1000 if torture else 45
    packed.cifar100(source)
    for number in range(many):
        file = source / ("meta", "train", "test")[number % 3]
        whole = file.read_bytes()
        data = bytearray(whole)
        data[chance.randrange(min(len(data), 600))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        if found := outcome(source, tmp_path / "work"):
            read += 1
            assert {len(found.classes), *map(len, found.splits.values())} <= {100, 30}
        file.write_bytes(whole)
    count("CIFAR-100 with damaged bytes", injected=many, survived=many, figure=f"{read} read")


def test_kaggles_list_of_val_labels_with_damaged_bytes_is_read_or_refused(
    tmp_path: Path, torture: bool, count: Count
) -> None:
    wnids = [f"n{n:08d}" for n in range(1, 4)]
    members = {f"ILSVRC/Data/CLS-LOC/train/{wnid}/{wnid}_0.JPEG": b"x" for wnid in wnids}
    members |= {f"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_{n:08d}.JPEG": b"x" for n in range(1, 7)}
    rows = [f"ILSVRC2012_val_{n:08d},{wnids[n % 3]} 1 2 3 4 " for n in range(1, 7)]
    whole = {
        "LOC_val_solution.csv": "\r\n".join(["ImageId,PredictionString", *rows]).encode(),
        "LOC_synset_mapping.txt": "".join(f"{wnid} words, more words\n" for wnid in wnids).encode(),
    }
    right = {f"val/ILSVRC2012_val_{n:08d}.JPEG": n % 3 for n in range(1, 7)}
    chance, read, wrong = random.Random(5), 0, 0
    many = 5000 if torture else 100
    for number in range(many):
        name = list(whole)[number % 4 == 0]
        data = bytearray(whole[name])
        for _ in range(1 + number % 2):
            data[chance.randrange(len(data))] = (
                chance.choice(b'",\n\r\0 x\xffn09') if number % 3 else chance.randrange(256)
            )
        (tmp_path / "x.tar").write_bytes(packed.tar_of(members | whole | {name: bytes(data)}))
        found = outcome(tmp_path / "x.tar", tmp_path / "work")
        if found is None:
            continue
        read += 1
        labels = {picture.name: picture.label for picture in found.splits["val"]}
        assert labels.keys() == right.keys()
        wrong += labels != right  # the damage made another wnid of the list
    assert wrong <= many // 10
    huge = tmp_path / "LOC_val_solution.csv"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "x.tar").unlink()
    for member, content in members.items():
        (tmp_path / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / member).write_bytes(content)
    assert "LOC_val_solution.csv has 1099511627776 bytes" in said(tmp_path, tmp_path.parent / "work")
    assert "cannot read" in said(tmp_path / "ILSVRC", tmp_path.parent / "work")
    count("Kaggle's lists with damaged bytes", injected=many + 2, survived=many + 2, figure=f"{read} read")
