import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests import packed

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources import parquet, parquet_reader
from alexnet.data.sources.archives import Slice
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store

pytest.importorskip("pyarrow")


def refusal(source: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_source(source, source.parent / "work")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_every_picture_keeps_its_pixels_and_its_class_and_hidden_labels_are_counted(tmp_path: Path) -> None:
    """In Hugging Face's layout, with row groups of three rows."""
    source, names = tmp_path / "source", ("dog", "cat")
    for part in range(2):
        name = f"data/train-{part:05d}-of-00002.parquet"
        packed.parquet_of(source / name, [0, 1, None, 1, 0], packed.features(names), row_group_size=3)
    packed.parquet_of(source / "data/validation-00000-of-00001.parquet", [1, 0], packed.features(names))
    packed.parquet_of(source / "data/test-00000-of-00001.parquet", [-1] * 4, packed.features(names))
    (source / "README.md").write_text("a card")
    made = prepare(source, tmp_path / "store", side=16, jobs=1)
    assert (made.kind, made.pictures, made.ignored) == ("parquet", {"train": 8, "val": 2}, 1)
    assert made.left_out == {"row without a label": 6}
    store = Store(tmp_path / "store")
    assert [known.name for known in store.classes] == list(names)
    for split in store.splits.values():
        shades = split.read(np.arange(len(split)))[:, 8, -1, 0]
        for name, label, shade in zip(split.names, split.labels, shades, strict=True):
            row = int(name.rpartition("/")[2])
            assert abs(int(shade) - 20 - row) <= 2
            assert label == ([1, 0] if "validation" in name else [0, 1, 9, 1, 0])[row]
    assert not (tmp_path / "store.part").exists()


def test_one_file_with_texts_as_labels_and_a_copy_that_is_made_once(tmp_path: Path) -> None:
    labels = ["dog", "cat", "emu", "cat"]
    lone = packed.parquet_of(tmp_path / "pets.parquet", labels, struct=False)
    found = read_source(lone, tmp_path / "work")
    assert [known.name for known in found.classes] == ["cat", "dog", "emu"]
    assert [found.classes[p.label].name for p in found.splits["train"]] == labels
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    assert len(times) == 3
    assert read_source(lone, tmp_path / "work") == found
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()} == times


def test_classes_that_only_one_split_has_are_refused(tmp_path: Path) -> None:
    few = packed.parquet_of(tmp_path / "few.parquet", [0, 0, -1], packed.features())
    assert "class 'dog' has no picture to train on" in refusal(few)
    source = tmp_path / "source"
    packed.parquet_of(source / "train.parquet", [10, 9])
    packed.parquet_of(source / "test.parquet", [10, 11])
    assert "test/0000001: its class '11' is in no row of the train split" in refusal(source)


@pytest.mark.parametrize(
    ("column", "splits", "words"),
    [
        (
            "split",
            {"x": ["train", "train", "test", "train"]},
            "'split' has 'test' in a file of train; write a file for",
        ),
        ("Set", {"a-0": ["train"] * 4, "a-1": ["Validation"] * 4}, "'Set' has 'Validation' in a file of train"),
        ("usage", {"x": ["Training", "PublicTest"] * 2}, "'usage' has 'PublicTest' beside names of splits"),
        ("split", {"train": ["train"] * 4, "test": ["train"] * 4}, "'split' has 'train' in a file of test"),
        ("split", {"train": ["train"] * 4, "test": ["test"] * 4}, ""),
        ("split", {"x": ["train", None] * 2}, "'split' has 'None' beside names of splits"),
        ("set", {"x": ["of Lego", "of tea"] * 2}, ""),
    ],
)
def test_a_column_of_splits_must_agree_with_the_files(
    column: str, splits: dict[str, list[str]], words: str, tmp_path: Path
) -> None:
    from pyarrow import array
    from pyarrow.parquet import read_table, write_table

    for name, values in splits.items():
        path = packed.parquet_of(tmp_path / "data" / f"{name}.parquet", [0, 1, 0, 1])
        write_table(read_table(path).append_column(column, array(values)), path)
    if words:
        assert words in refusal(tmp_path / "data")
    else:
        assert [len(part) for part in read_source(tmp_path / "data", tmp_path / "work").splits.values()] == [4] * len(
            splits
        )


def test_captions_and_classes_that_differ_only_in_spaces_are_refused(tmp_path: Path) -> None:
    captions = packed.parquet_of(tmp_path / "x.parquet", [f"a picture of {n} cats" for n in range(30)])
    assert "30 rows have 30 different labels" in refusal(captions)
    assert "which differ only in spaces" in refusal(packed.parquet_of(captions, ["cat", "cat ", "dog"] * 2))


def test_the_tables_of_img2dataset_beside_its_shards_are_no_pictures(tmp_path: Path) -> None:
    from pyarrow import table
    from pyarrow.parquet import write_table

    (tmp_path / "00000.tar").write_bytes(packed.tar_of(packed.shard({"a": 0, "b": 1}, "json")))
    write_table(table({"url": ["a"], "key": ["a"]}), tmp_path / "00000.parquet")
    assert read_source(tmp_path, tmp_path / "work").kind == "webdataset"


def test_a_disk_that_is_too_small_and_a_missing_pyarrow_are_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lone = packed.parquet_of(tmp_path / "x.parquet", [0, 1])
    table = parquet._Table("x.parquet", Slice(str(lone), 0, 1 << 60), "image", "label", None, "")
    with pytest.raises(WorkFailed, match=r"needs about \d+\.\d GB for a copy of the pictures, but its disk has only"):
        parquet._check_room(tmp_path, [table])
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.startswith("pyarrow")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"needs pyarrow, which is not installed; pip install 'alexnet\[parquet\]'"):
        read_source(lone, tmp_path / "work")


def test_columns_are_found_by_hugging_faces_types_and_then_by_usual_names() -> None:
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

    def columns(fields: dict[str, object], **kinds: object) -> tuple[str, str, list[str] | None, str]:
        said = {"huggingface": json.dumps({"info": {"features": kinds}})} if kinds else None
        return parquet_reader._columns(pa.schema(list(fields.items()), metadata=said))

    number, classes = pa.int64(), {"_type": "ClassLabel", "names": ["a", "b"]}
    assert columns({"x": image, "target": number}) == ("x", "target", None, "")
    assert columns({"img": image, "fine": number, "y": number}, fine=classes) == ("img", "fine", ["a", "b"], "")
    assert columns({"x": image, "label": number, "Split": pa.string(), "set": number})[3] == "Split"
    both = {"img": image, "fine_label": number, "coarse_label": number}
    assert columns(both, fine_label=classes, coarse_label=classes)[1] == "fine_label"
    assert columns({"mask": image, "image": image, "cls": pa.string()})[:2] == ("image", "cls")
    deep: dict[str, object] = {"_type": "ClassLabel", "names": ["a", "a"]}
    for fields, kinds, words in (
        ({"x": image}, {}, "no column of labels among"),
        ({"label": number}, {}, "no column of pictures among"),
        ({"a": image, "b": image, "label": number}, {}, "several columns of pictures"),
        ({"image": image, "x": number, "y": number}, {"x": classes, "y": classes}, "several columns of labels"),
        ({"image": image, "label": number, "sex": number}, {"sex": classes}, "may be the column 'sex' or 'label'"),
        ({"image": image, "label": pa.list_(number)}, {}, "labels are integers or texts"),
        ({"image": image, "label": pa.float32()}, {}, "labels are integers or texts"),
        ({"image": image, "label": pa.string()}, {"label": classes}, "labels are integers or texts"),
        ({"image": image, "label": number}, {"label": deep}, "not a list of different texts"),
        ({"image": image, "label": number}, {"label": {"_type": "ClassLabel", "names": 7}}, "not a list of different"),
        ({"image": pa.struct([("path", pa.string())]), "label": number}, {}, "no column of pictures"),
        ({"image": pa.list_(image), "label": number}, {}, "no column of pictures"),
    ):
        with pytest.raises(Exception, match=words):
            columns(fields, **kinds)
