from pathlib import Path

import pytest

from alexnet.core.errors import InputError
from alexnet.data.sources.shard_names import by_split, distinct, expanded, is_pattern, stem


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], {"train": 2}),
        (["train.parquet", "validation.parquet", "test.parquet"], {"train": 1, "val": 1, "test": 1}),
        (
            ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"],
            {"train": 2, "test": 1},
        ),
        (["imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"], {"train": 1, "val": 1}),
        (["000000.tar", "000001.tar"], {"train": 2}),
        (["Train/0.tar", "Dev/0.tar"], {"train": 1, "val": 1}),
        (["train-00000-of-00001-0123456789abcdef.parquet"], {"train": 1}),
        (["training-9.tar", "training-10.tar", "training-11.tar"], {"train": 3}),
        (["trainers-0.tar", "trainers-1.tar"], {"train": 2}),
    ],
)
def test_the_name_of_a_shard_says_its_split(names: list[str], splits: dict[str, int]) -> None:
    found = by_split(names)
    assert {split: len(shards) for split, shards in found.items()} == splits
    assert sorted(name for shards in found.values() for name in shards) == sorted(names)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train-0.tar", "train-2.tar"], "the shards between 'train-0.tar' and 'train-2.tar' are missing"),
        (["train-00000-of-00003.parquet", "train-00001-of-00003.parquet"], "one of 3 shards, but number 2 is missing"),
        (["train-00000-of-00001.parquet", "train-00000-of-00002.parquet"], "have one number; leave one out"),
        (["train-00000-of-00002.parquet", "train-00001-of-00003.parquet"], "are of two sets of shards"),
        (["train-0.tar", "train-00.tar"], "'train-0.tar' and 'train-00.tar' have one number"),
        (["train-0.tar", "val-0.tar", "validation-0.tar"], "both name the val split"),
        (["train_val-0.tar"], "names two splits, 'train' and 'val'"),
        (["train-0.tar", "unlabeled-0.tar"], "'unlabeled-0.tar' names no split"),
        (["val-0.tar", "test-0.tar"], "but no train split"),
    ],
)
def test_shards_that_are_missing_double_or_unclear_are_refused_by_name(names: list[str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        by_split(names)
    assert words in str(caught.value)


def test_a_pattern_stands_for_its_files_in_order_and_all_must_be_there(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for n in range(11):
            (tmp_path / f"{split}-{n:03d}.tar").touch()
    found = expanded(f"{tmp_path}/{{train,val}}-{{008..010}}.tar")
    assert list(found) == [f"{split}-{n:03d}.tar" for split in ("train", "val") for n in (8, 9, 10)]
    assert all(path.is_file() for path in found.values())
    assert list(expanded(f"{tmp_path}/train-0{{0..1}}{{0..0}}.tar")) == ["train-000.tar", "train-010.tar"]
    for inside, words in (
        ("{008..012}", r"names 5 files, but '.*train-011\.tar' is missing, and 1 others"),
        ("{3..1}", "must count up"),
        ("{0..999999999}", "must count up, to 100000 files at most"),
        ("{0..999}{0..999}", "names more than 100000 files"),
        ("{x}", "give a range"),
        ("{001,001}", "twice"),
    ):
        with pytest.raises(InputError, match=words):
            expanded(f"{tmp_path}/train-{inside}.tar")


def test_a_file_with_braces_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    name = tmp_path / "{a,b}.tar"
    assert is_pattern(name, (".tar",))
    assert not is_pattern(name, (".parquet",))
    name.touch()
    assert not is_pattern(name, (".tar",))


def test_names_of_classes_must_differ_in_more_than_case_and_stems_lose_all_suffixes() -> None:
    assert distinct(["a", "b"], "x") == ["a", "b"]
    with pytest.raises(InputError, match="'cat' and 'Cat', which differ only in case"):
        distinct(["cat", "Cat"], "x")
    assert [stem(name) for name in ("a.tar.gz", "b/c.TAR", "d.e.parquet", "f.tgz")] == ["a", "b/c", "d.e", "f"]
