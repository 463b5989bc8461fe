"""Pictures that a source has twice: compared with a loop over all pairs, and the same after any interruption."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.prepared import fingerprint

from alexnet.core.errors import InputError
from alexnet.data.prepare import duplicates, plan
from alexnet.data.prepare.duplicates import FILE, Found, Pictures, hashes, near
from alexnet.data.prepare.prepare import cut_away, prepare
from alexnet.data.store import Store, verify

SIDE = 32


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SHARD_BYTES", 4 * SIDE * SIDE * 3)


def drawn(seed: int, size: tuple[int, int] = (60, 60)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes and splits, with one picture in two splits, one with two labels, one thrice in a class, one alone."""
    root = tmp_path / "source"
    for n, (split, label) in enumerate((s, c) for s in ("train", "val") for c in ("cat", "dog")):
        (root / split / label).mkdir(parents=True)
        for k in range(5):
            drawn(10 * n + k).save(root / split / label / f"{k}.png")
    shutil.copy(root / "train/cat/0.png", root / "val/cat/leaked.png")
    shutil.copy(root / "train/cat/1.png", root / "train/dog/other-label.png")
    shutil.copy(root / "train/dog/2.png", root / "train/dog/a-copy.png")
    shutil.copy(root / "train/dog/2.png", root / "train/dog/b-copy.png")
    return root


def listed(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / FILE).read_text().splitlines()]


def test_identical_pictures_across_splits_and_with_two_labels_are_counted_and_listed(
    source: Path, tmp_path: Path
) -> None:
    made = prepare(source, tmp_path / "store", side=SIDE, jobs=1)
    assert made.duplicates is not None
    assert made.duplicates["near"] is None
    assert made.duplicates["identical"] == {
        "pictures": 7, "groups": 3, "across_splits": 1, "two_labels": 1, "held_out": 1, "complete": True
    }  # fmt: skip
    assert made.duplicates["listed"] == 2
    found = {tuple(p["name"] for p in line["pictures"]): line for line in listed(tmp_path / "store")}
    assert set(found) == {
        ("train/cat/0.png", "val/cat/leaked.png"), ("train/cat/1.png", "train/dog/other-label.png")
    }  # fmt: skip
    assert [p["split"] for p in found["train/cat/0.png", "val/cat/leaked.png"]["pictures"]] == ["train", "val"]


def test_the_other_files_of_a_store_do_not_depend_on_what_was_looked_for(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("pdqhash")
    kinds: tuple[duplicates.Duplicates, ...] = ("off", "exact", "near")
    prints = []
    for kind in kinds:
        made = prepare(source, tmp_path / kind, side=SIDE, jobs=1, duplicates=kind)
        assert (made.duplicates is None) == (kind == "off")
        prints.append(fingerprint(tmp_path / kind))
    assert FILE not in prints[0]
    assert [{name: value for name, value in each.items() if name != FILE} for each in prints] == [prints[0]] * 3
    assert verify(tmp_path / "near") == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_found_is_the_same_with_any_jobs_and_after_an_interruption(
    jobs: int, source: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pdqhash")
    whole = prepare(source, tmp_path / "whole", side=SIDE, jobs=1, duplicates="near")

    class StopError(Exception):
        pass

    def progress(done: int, total: int) -> None:
        if done > 8:
            raise StopError

    with pytest.raises(StopError):
        prepare(source, tmp_path / "store", side=SIDE, jobs=jobs, progress=progress)
    for path in (tmp_path / "store.part/records").iterdir():  # as 0.1.0 wrote them
        data = json.loads(path.read_bytes().rpartition(b"\n")[0])
        del data["outside"]
        lines = json.dumps(data).encode()
        path.write_bytes(lines + b"\n" + hashlib.sha256(lines).hexdigest().encode())
    (tmp_path / "store.part/store" / FILE).write_text("of another run")
    resumed = prepare(source, tmp_path / "store", side=SIDE, jobs=jobs, duplicates="near")
    assert resumed.duplicates == whole.duplicates
    assert fingerprint(tmp_path / "store") == fingerprint(tmp_path / "whole")


class Alike(Pictures):
    """Pictures whose checksums and sizes are all equal."""

    def __init__(self, part: Path, work: plan.PreparePlan) -> None:
        super().__init__(part, work)
        self.keys[:] = 7


def test_equal_checksums_of_different_pictures_are_no_duplicates(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "Pictures", Alike)
    found = prepare(source, tmp_path / "store", side=SIDE, jobs=1).duplicates
    assert found is not None
    assert (found["identical"]["pictures"], found["identical"]["groups"]) == (7, 3)


def test_near_identical_pictures_across_splits_are_found(tmp_path: Path) -> None:
    pytest.importorskip("pdqhash")
    for n, name in enumerate(("train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "val/dog/d.png")):
        (tmp_path / "source" / name).parent.mkdir(parents=True)
        drawn(n, (200, 200)).save(tmp_path / "source" / name)
    image = drawn(0, (200, 200))
    image.save(tmp_path / "source/val/dog/again.jpg", quality=70)
    image.resize((90, 90)).save(tmp_path / "source/val/cat/small.png")
    made = prepare(tmp_path / "source", tmp_path / "store", side=64, jobs=1, duplicates="near")
    assert made.duplicates is not None
    assert made.duplicates["identical"]["groups"] == 0
    assert made.duplicates["near"] == {
        "pictures": 3, "groups": 3, "across_splits": 2, "two_labels": 2, "held_out": 2, "complete": True
    }  # fmt: skip
    pairs = [{p["name"] for p in line["pictures"]} for line in listed(tmp_path / "store")]
    assert all("again" in str(pair) or "small" in str(pair) for pair in pairs)
    assert all(line["kind"] == "near" and 0 <= line["bits_apart"] <= 31 for line in listed(tmp_path / "store"))


def test_near_without_pdqhash_is_refused_before_the_work(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    with pytest.raises(InputError, match=r"pip install 'alexnet\[near\]'"):
        prepare(source, tmp_path / "store", side=SIDE, jobs=1, duplicates="near")
    assert not (tmp_path / "store.part").exists()


class Drawn(Pictures):
    """Pictures without files: two splits and three labels in turn."""

    def __init__(self, count: int) -> None:
        self.splits = ["train", "val"]
        self.split = (np.arange(count) % 2).astype(np.uint8)
        self.labels = (np.arange(count) % 3).astype(np.int32)


def planted(count: int, seed: int, most: int) -> np.ndarray:
    """Random hashes, of which some repeat others in all but a few bits."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, (count, 256), np.uint8)
    for n in range(0, count // 2, 3):
        bits[count - 1 - n] = bits[n]
        bits[count - 1 - n, random.choice(256, int(random.integers(0, most)), replace=False)] ^= 1
    bits[4:5] = 0  # a picture without edges
    return np.packbits(bits, axis=1).view(np.uint64)


def by_loops(hashed: np.ndarray, group: np.ndarray, pictures: Pictures) -> dict[str, Any]:
    """Compare every pair, bit by bit."""
    bits = np.unpackbits(hashed.view(np.uint8), axis=1)
    found, twins, leaked = Found(), set[int](), set[int]()
    for a in range(len(bits)):
        for b in range(a + 1, len(bits)):
            apart = (
                sum(x != y for x, y in zip(bits[a], bits[b], strict=True)) if bits[a].any() and bits[b].any() else 99
            )
            if apart > 31 or (group[a] == group[b] >= 0):
                continue
            twins |= {a, b}
            splits = pictures.split[a] != pictures.split[b]
            found.groups += 1
            found.across_splits += int(splits)
            found.two_labels += int(pictures.labels[a] != pictures.labels[b])
            leaked |= {n for n in (a, b) if splits and pictures.split[n] == 1}
    found.pictures, found.held_out = len(twins), len(leaked)
    return found.counts()


def test_buckets_find_every_pair_of_up_to_15_bits() -> None:
    hashed, group, pictures = planted(90, 1, 16), np.full(90, -1, np.int32), Drawn(90)
    group[[0, 89]] = 5
    found = near(pictures, hashed, group)
    assert found.counts() == by_loops(hashed, group, pictures)
    assert found.groups > 5
    assert [apart for _, apart in found.listed] == sorted(apart for _, apart in found.listed)


def test_pairs_of_16_to_31_bits_are_mostly_found_and_none_beyond() -> None:
    hashed, group = planted(3000, 2, 60), np.full(3000, -1, np.int32)
    apart = [int(np.unpackbits((hashed[n] ^ hashed[2999 - n]).view(np.uint8)).sum()) for n in range(0, 1500, 3)]
    within = sum(bits <= 31 for bits in apart)
    assert 0.9 * within < near(Drawn(3000), hashed, group).groups <= within


def test_equal_hashes_of_all_pictures_end_soon_and_are_said_to_be_a_part() -> None:
    hashed = np.tile(planted(1, 3, 1), (2000, 1))
    found = near(Drawn(2000), hashed, np.full(2000, -1, np.int32))
    assert not found.complete
    assert 2000 * duplicates.WINDOW * 0.9 < found.groups <= 2000 * duplicates.WINDOW
    assert len(found.listed) == duplicates.MOST_LISTED


def test_a_picture_without_edges_has_no_hash() -> None:
    pytest.importorskip("pdqhash")
    flat, edges = np.full((64, 64, 3), 90, np.uint8), np.asarray(drawn(1, (64, 64)))
    found = hashes([flat, edges])
    assert (found.dtype.name, found.shape) == ("uint64", (2, 4))
    assert found.any(axis=1).tolist() == [False, True]


def test_the_share_cut_away_is_counted_over_all_pictures(tree: Callable[..., Path], tmp_path: Path) -> None:
    """The fixture's pictures are 48 x 40: a sixth of each is cut away."""
    source = tree(each=4)
    Image.new("RGB", (40, 80)).save(source / "cat/tall.png")
    made = prepare(source, tmp_path / "crop", side=SIDE, jobs=1)
    assert made.cut_away == {"pictures": 9, "median": 0.167, "p90": 0.5, "over_quarter": 1}
    assert prepare(source, tmp_path / "pad", side=SIDE, jobs=1, fit="pad").cut_away is None
    assert "outside" not in (tmp_path / "crop/meta.json").read_text()
    assert len(Store(tmp_path / "crop")["train"]) + len(Store(tmp_path / "crop")["val"]) == 9


@pytest.mark.parametrize("shares", [[0], [250, 251], [1, 2, 3, 999], list(range(0, 1000, 7)), [333] * 9 + [0]])
def test_median_and_percentile_are_those_of_the_sorted_list(shares: list[int]) -> None:
    ordered, n = sorted(shares), len(shares)
    found = cut_away(np.bincount(shares, minlength=1001))
    assert found == {
        "pictures": n,
        "median": ordered[-(-n * 5 // 10) - 1] / 1000,
        "p90": ordered[-(-n * 9 // 10) - 1] / 1000,
        "over_quarter": sum(share > 250 for share in shares),
    }


def test_a_work_folder_without_shares_has_no_median() -> None:
    assert cut_away(np.zeros(1001, np.int64)) is None
