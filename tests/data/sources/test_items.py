"""Pictures given from Python: every type of picture and label, memory, resuming, and each refusal with its index."""

import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.prepare import plan
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store

Fingerprint = Callable[[Path], dict[str, str]]
SIDE = 8


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def as_file(n: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(n)).save(out, "PNG")
    return out.getvalue()


def test_a_picture_of_any_type_gives_the_same_pixels(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for n in (4, 5):
        (tmp_path / f"more/{n}.png").write_bytes(as_file(n))
    transposed = np.ascontiguousarray(pixels(6).transpose(1, 0, 2)).transpose(1, 0, 2)
    pictures: list[Any] = [
        pixels(0),
        torch.from_numpy(pixels(1)),
        Image.fromarray(pixels(2)),
        as_file(3),
        tmp_path / "more/4.png",
        str(tmp_path / "more/5.png"),
        transposed,
        bytearray(as_file(7)),
    ]
    items = [(picture, n % 2, "val" if n > 5 else None) for n, picture in enumerate(pictures)]
    made = alexnet.prepare(items, tmp_path / "store", side=SIDE, jobs=1)
    assert (made.kind, made.pictures, made.ignored) == ("items", {"train": 6, "val": 2}, 0)
    store = Store(tmp_path / "store")
    names = [f"item-{n:07d}" for n in range(8)]
    names[4:6] = ["4.png", "5.png"]
    for split in store.splits.values():
        for name, label, picture in zip(split.names, split.labels, split.read(range(len(split))), strict=True):
            np.testing.assert_array_equal(picture, pixels(names.index(name)))
            assert store.classes[label].name == str(names.index(name) % 2)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 10, 9], ["9", "10"]),
        ([np.int64(1), np.uint8(0)], ["0", "1"]),
        ([torch.tensor(3), torch.tensor(2)], ["2", "3"]),
        (["b", np.str_("a")], ["a", "b"]),
    ],
)
def test_labels_are_texts_or_whole_numbers_of_any_type(labels: list[Any], classes: list[str], tmp_path: Path) -> None:
    found = read_source([(pixels(n), label) for n, label in enumerate(labels)], tmp_path)
    assert [known.name for known in found.classes] == classes
    assert [found.classes[p.label].name for p in found.splits["train"]] == [
        str(label.item() if hasattr(label, "item") else label) for label in labels
    ]


def test_a_torch_dataset_is_read_as_it_is(tmp_path: Path) -> None:
    class Pairs(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            if index >= 6:
                raise IndexError
            return pixels(index), index % 2

    found = read_source(Pairs(), tmp_path)  # type: ignore[arg-type]
    assert len(found.splits["train"]) == 6


def test_weights_and_splits_come_after_the_label(tmp_path: Path) -> None:
    items = [(pixels(n), n % 2, ["train", "Validation"][n > 3], 0.5 + n) for n in range(6)]
    alexnet.prepare(items, tmp_path / "store", side=SIDE, jobs=1)
    for split in Store(tmp_path / "store").splits.values():
        assert split.weights is not None
        assert split.weights.tolist() == [0.5 + int(name[-1]) for name in split.names]


def test_relative_paths_start_from_root_and_names_do_not_depend_on_the_place(tmp_path: Path) -> None:
    digests = []
    for place in ("one", "two/deep"):
        for n in range(4):
            (tmp_path / place / f"{n % 2}").mkdir(parents=True, exist_ok=True)
            (tmp_path / place / f"{n % 2}/{n}.png").write_bytes(as_file(n))
        items = [(f"{n % 2}/{n}.png", n % 2) for n in range(4)]
        made = alexnet.prepare(items, tmp_path / f"store-{place[:3]}", side=SIDE, jobs=1, root=tmp_path / place)
        digests.append(made.digest)
    assert digests[0] == digests[1]
    store = Store(tmp_path / "store-one")
    assert {name for split in store.splits.values() for name in split.names} == {f"{n % 2}/{n}.png" for n in range(4)}


def test_the_same_items_again_resume_and_give_the_same_store_and_others_are_refused(
    tmp_path: Path, fingerprint: Fingerprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SHARD_BYTES", 2 * SIDE * SIDE * 3)

    def items(first: int = 0) -> Iterator[tuple[np.ndarray, str]]:
        return ((pixels(first + n), "ab"[n % 2]) for n in range(12))

    def stop(done: int, total: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    whole = alexnet.prepare(items(), tmp_path / "whole", side=SIDE, jobs=1)
    with pytest.raises(KeyboardInterrupt):
        alexnet.prepare(items(), tmp_path / "store", side=SIDE, jobs=1, progress=stop)
    with pytest.raises(InputError, match="was begun from another source"):
        alexnet.prepare(items(1), tmp_path / "store", side=SIDE, jobs=1)
    seen: list[int] = []
    again = alexnet.prepare(items(), tmp_path / "store", side=SIDE, jobs=1, progress=lambda done, _: seen.append(done))
    assert seen[0] == 6
    assert again.digest == whole.digest
    assert fingerprint(tmp_path / "store") == fingerprint(tmp_path / "whole")
    assert not (tmp_path / "store.part").exists()


def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    big = np.zeros((1000, 1000, 3), np.uint8)
    tracemalloc.start()
    read_source(((big, n % 2) for n in range(40)), tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * big.size
    assert (tmp_path / "items.bin").stat().st_size == 40 * big.size


def test_an_unreadable_file_among_the_items_is_listed_like_that_of_a_folder(tmp_path: Path) -> None:
    items = [*((as_file(n), n % 2) for n in range(4)), (b"words", 0)]
    made = alexnet.prepare(items, tmp_path / "store", side=SIDE, jobs=1, val_fraction=0)
    assert made.refused == {"not a picture": 1}
    assert "item-0000004" in (tmp_path / "store/prepare.jsonl").read_text()


GOOD = [(pixels(0), "a"), (pixels(1), "b")]
REFUSED: dict[str, tuple[Any, str]] = {
    "a number": (7, "item 2 is a int; give (picture, label[, split[, weight]])"),
    "a string": ("ab", "item 2 is a str; give"),
    "a dictionary": ({"image": pixels(2), "label": 1}, "item 2 is a dict; give"),
    "one": ((pixels(2),), "item 2 is a tuple of 1; give"),
    "five": ((pixels(2), "a", "val", 1.0, 2), "item 2 is a tuple of 5; give"),
    "no label": ((pixels(2), None), "item 2: the label is None; give a text or a whole number"),
    "a fraction": ((pixels(2), 1.0), "item 2: the label is 1.0; give"),
    "truth": ((pixels(2), True), "item 2: the label is True; give"),
    "large": ((pixels(2), 10**5000), "item 2: the label is a number of more than 64 bits"),
    "empty": ((pixels(2), " "), "item 2: the label is empty"),
    "split": ((pixels(2), "a", "held"), "item 2: the split is 'held'; give 'train', 'val' or 'test'"),
    "split's type": ((pixels(2), "a", 1), "item 2: the split is 1; give"),
    "weight": ((pixels(2), "a", None, float("nan")), "item 2: the weight is nan; give"),
    "huge weight": ((pixels(2), "a", None, 10**5000), "item 2: the weight is a number of more than 200 bits"),
    "type": ((object(), "a"), "item 2: the picture is a object; give a path, a PIL image, bytes"),
    "floats": ((pixels(2) / 255, "a"), "item 2: the picture is float64 of shape (8, 8, 3); give uint8 of height"),
    "planes": ((torch.zeros(3, 8, 8, dtype=torch.uint8), "a"), "item 2: the picture is uint8 of shape (3, 8, 8)"),
    "gray": ((pixels(2)[..., 0], "a"), "item 2: the picture is uint8 of shape (8, 8)"),
    "no pixels": ((pixels(2)[:0], "a"), "item 2: the picture is uint8 of shape (0, 8, 3)"),
    "mode": ((Image.new("F", (8, 8)), "a"), "item 2: the picture cannot be used (colour mode not taken: F)"),
    "missing": (("no/such.png", "a"), "item 2: cannot open the picture 'no/such.png': No such file"),
    "zero": (("a\0.png", "a"), "item 2: cannot open the picture 'a\\x00.png'"),
    "folder": ((Path(), "a"), "item 2: the picture '.' is not a plain file"),
    "a class of val": ((pixels(2), "c", "val"), "item 2: the label 'c' has no picture in train"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_refused_by_its_index(what: str, tmp_path: Path) -> None:
    item, expected = REFUSED[what]
    with pytest.raises(InputError) as caught:
        alexnet.prepare([*GOOD, item], tmp_path / "store", side=SIDE, jobs=1)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    source: Any
    for source in (7, None, [], b""):
        with pytest.raises(InputError, match="the source"):
            alexnet.prepare(source, tmp_path / "store")
    with pytest.raises(InputError, match="leave those items out"):
        alexnet.prepare(GOOD, tmp_path / "store", ignore="x")
    (tmp_path / "a.png").write_bytes(as_file(0))
    twice = [(tmp_path / "a.png", "a"), (tmp_path / "x/../a.png", "b")]
    with pytest.raises(
        InputError, match=r"item 1 names the picture .* again, with the label 'b'; item 0 has it with 'a'"
    ):
        alexnet.prepare(twice, tmp_path / "store")


def test_a_full_disk_is_one_line_and_the_generators_own_error_comes_through(tmp_path: Path) -> None:
    (tmp_path / "items.bin").symlink_to("/dev/full")
    with pytest.raises(WorkFailed, match=r"cannot write .*items\.bin: No space left on device; make room"):
        read_source(GOOD, tmp_path)

    def broken() -> Iterator[tuple[np.ndarray, str]]:
        yield from GOOD
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        alexnet.prepare(broken(), tmp_path / "store", side=SIDE, jobs=1)
    assert alexnet.prepare(GOOD, tmp_path / "store", side=SIDE, jobs=1, val_fraction=0).pictures == {"train": 2}
