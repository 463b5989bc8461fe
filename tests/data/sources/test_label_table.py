"""Tables of labels: every form, every place of the pictures, and each refusal with its row and value."""

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.base import Source
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store, verify

Make = Callable[..., Path]
CSV = "path,label\n" + "".join(f"images/{n}.jpg,{['cat', 'dog'][n % 2]}\n" for n in range(6))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "p.jpg"
    Image.new("RGB", (20, 16), (200, 30, 60)).save(path)
    return path


@pytest.fixture
def make(tmp_path: Path, picture: Path) -> Make:
    """A function that makes a folder of pictures by name and of other files with their text."""

    def filled(*pictures: str, **others: str | bytes) -> Path:
        root = tmp_path / "source"
        for name in pictures or [f"images/{n}.jpg" for n in range(6)]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, root / name)
        for name, text in others.items():
            path = root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return filled


@pytest.fixture
def folders(make: Make) -> Callable[..., Path]:
    """A function that makes class folders of two pictures each, with tables beside them."""
    return lambda **tables: make(*(f"{folder}/{n}.jpg" for folder in ("cat", "dog") for n in range(2)), **tables)


def pairs(found: Source) -> dict[str, list[tuple[str, str]]]:
    """Each picture's name and class, by split."""
    return {
        split: sorted((p.name, found.classes[p.label].name) for p in pictures)
        for split, pictures in found.splits.items()
    }


def refusal(source: Path, **options: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_source(source, source.parent / "work", **options)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


EXPECTED = {"train": [(f"images/{n}.jpg", ["cat", "dog"][n % 2]) for n in range(6)]}
ROWS = [(f"images/{n}.jpg", ["cat", "dog"][n % 2]) for n in range(6)]
OBJECTS = [{"file_name": path, "label": label} for path, label in ROWS]
FORMS = {
    "csv": CSV,
    "byte order mark": "\ufeff" + CSV,
    "Windows line ends": CSV.replace("\n", "\r\n"),
    "no line end at the end": CSV.rstrip(),
    "quoted": "".join('"' + line.replace(",", '","') + '"\n' for line in CSV.split()),
    "semicolons": CSV.replace(",", ";"),
    "tabs": CSV.replace(",", "\t"),
    "names in capitals, other columns between": "".join(
        f"{n},{a},x y,{b}\n" for n, (a, b) in enumerate([("Image Path", "Category"), *ROWS])
    ),
    "a quoted comma and line end in another column": CSV.replace("\n", ',"a, ""b""\nc"\n'),
    "no header": CSV.partition("\n")[2],
    "empty lines and spaces": CSV.replace("\n", "\n\n").replace(",", " , "),
    "dots and slashes": CSV.replace("images/", "./images//"),
    "backslashes": CSV.replace("images/", "images\\"),
    "json lines": "".join(json.dumps(record) + "\n" for record in OBJECTS),
    "json lines of Windows": "\ufeff" + "".join(json.dumps(record) + "\r\n" for record in OBJECTS),
    "json list": json.dumps(OBJECTS, indent=1),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_table_is_read_the_same(form: str, make: Make) -> None:
    source = make(table_dot_csv=FORMS[form])
    assert pairs(read_source(source / "table.csv", source)) == EXPECTED


def test_a_list_of_caffe_has_a_path_a_space_and_a_number(make: Make) -> None:
    names = ["a 1/with  spaces 7.jpg", "b, c.jpg", "d.jpg"]
    source = make(*names, list_dot_txt="".join(f"{name} {n + 8}\n" for n, name in enumerate(names)))
    found = read_source(source / "list.txt", source)
    assert [known.name for known in found.classes] == ["8", "9", "10"]
    assert pairs(found)["train"] == sorted(zip(names, ["8", "9", "10"], strict=True))


def test_root_is_the_folder_that_the_paths_start_from(make: Make, tmp_path: Path) -> None:
    source = make()
    (tmp_path / "elsewhere.csv").write_text(CSV)
    found = read_source(tmp_path / "elsewhere.csv", source, root=source)
    assert pairs(found) == EXPECTED
    absolute = CSV.replace("images/", f"{source.resolve()}/images/")
    (tmp_path / "absolute.csv").write_text(absolute)
    assert pairs(read_source(tmp_path / "absolute.csv", source, root=source)) == EXPECTED
    (tmp_path / "other").mkdir()
    assert "is not in" in refusal(tmp_path / "elsewhere.csv")
    assert "as --root" in refusal(tmp_path / "elsewhere.csv")
    assert "is not a folder" in refusal(tmp_path / "elsewhere.csv", root=source / "images/0.jpg")
    assert "is not a table of labels; omit the option" in refusal(source, root=source)


@pytest.mark.parametrize("packed", ["", "tar", "zip", "wrapped"])
def test_a_table_beside_its_pictures_is_read_in_a_folder_and_in_an_archive(
    packed: str, make: Make, tmp_path: Path
) -> None:
    source = make(labels_dot_csv="id,label\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(6)), README_dot_md="x")
    given = source
    if packed == "tar":
        given = tmp_path / "a.tar"
        with tarfile.open(given, "w") as archive:
            archive.add(source, "top")
    if packed == "zip":
        given = tmp_path / "a.zip"
        with zipfile.ZipFile(given, "w") as z:
            for path in source.rglob("*"):
                z.write(path, path.relative_to(source))
    if packed == "wrapped":
        source.rename(tmp_path / "inner")
        source.mkdir()
        (tmp_path / "inner").rename(source / "inner")
    found = read_source(given, tmp_path / "work")
    assert pairs(found) == {"train": [(f"images/{n}.jpg", "ab"[n % 2]) for n in range(6)]}
    assert (found.kind, found.ignored) == ("table", 2)


def test_ids_without_suffix_find_the_one_file_of_that_name(make: Make) -> None:
    source = make(
        "train/1.jpg", "train/2.PNG", "test/1.jpg", train_dot_csv="id,label\n1,a\n2,b\n", test_dot_csv="id\n1\n"
    )
    assert pairs(read_source(source, source)) == {"train": [("train/1.jpg", "a"), ("train/2.PNG", "b")]}
    make("train/2.webp")
    assert "row 3: the picture 'train/2' may be '2.PNG' or '2.webp'; write the suffix too" in refusal(source)


def test_tables_of_splits_and_hugging_faces_metadata_are_read(make: Make, tmp_path: Path) -> None:
    line = '{"file_name": "%d.jpg", "label": "%s"}\n'
    source = make(
        *(f"{split}/{n}.jpg" for split in ("train", "val") for n in range(2)),
        train__metadata_dot_jsonl=line % (0, "a") + line % (1, "b"),
        val__metadata_dot_csv="file_name,label\n0.jpg,b\n1.jpg,a\n",
    )
    expected = {
        "train": [("train/0.jpg", "a"), ("train/1.jpg", "b")],
        "val": [("val/0.jpg", "b"), ("val/1.jpg", "a")],
    }
    assert pairs(read_source(source, source)) == expected
    shutil.rmtree(source)
    rows = {split: [f"{name},{label}\n" for name, label in part] for split, part in expected.items()}
    pictures = [name for part in expected.values() for name, _ in part]
    source = make(*pictures, metadata_dot_csv="file_name,label\n" + "".join(rows["train"] + rows["val"]))
    assert pairs(read_source(source, source)) == expected
    shutil.rmtree(source)
    tables = {f"{split}_dot_csv": "path,label\n" + "".join(part) for split, part in rows.items()}
    assert pairs(read_source(make(*pictures, **tables), source)) == expected
    shutil.rmtree(source)
    lists = {f"{split}_dot_txt": "".join(part).replace("a\n", "0\n").replace("b\n", "1\n").replace(",", " ")
             for split, part in rows.items()}  # fmt: skip
    assert [len(part) for part in pairs(read_source(make(*pictures, **lists), source)).values()] == [2, 2]


def test_a_column_of_any_name_whose_first_value_names_a_split_is_the_split(make: Make) -> None:
    splits = ["Train", "val", "train", "train", "test", "train"]
    rows = "".join(f"{path},{label},{s}\n" for (path, label), s in zip(ROWS, splits, strict=True))
    source = make(t_dot_csv="path,label,my set\n" + rows)
    found = pairs(read_source(source / "t.csv", source))
    assert {split: len(part) for split, part in found.items()} == {"train": 4, "val": 1, "test": 1}
    lines = (json.dumps({"path": p, "label": k, "of": s}) for (p, k), s in zip(ROWS, splits, strict=True))
    (source / "t.jsonl").write_text("\n".join(lines))
    assert pairs(read_source(source / "t.jsonl", source)) == found


def test_a_column_gives_splits_in_any_spelling_and_weights_reach_the_store(make: Make, tmp_path: Path) -> None:
    splits = ["train", "Training", "TRAIN", "train", "valid", "testing"]
    weights = ["0.1", "1", "2", "0", "3", "1"]
    lines = [f"{row[0]},{row[1]},{s},{w}\n" for row, s, w in zip(ROWS, splits, weights, strict=True)]
    source = make(t_dot_csv="path,label,split,weight\n" + "".join(lines))
    made = prepare(source / "t.csv", tmp_path / "store", side=8, jobs=1)
    assert made.pictures == {"test": 1, "train": 4, "val": 1}
    store = Store(tmp_path / "store")
    given = {row[0]: np.float32(w) for row, w in zip(ROWS, weights, strict=True)}
    for name, split in store.splits.items():
        if name == "test":
            assert split.weights is None
            continue
        assert split.weights is not None
        assert split.weights.dtype == np.float32
        assert split.weights.tolist() == [given[picture] for picture in split.names]
    part = store["train"].take([2, 0])
    assert part.weights is not None
    assert part.weights.tolist() == [given[store["train"].names[n]] for n in (2, 0)]
    assert verify(tmp_path / "store") == []
    (source / "t.csv").write_text(
        "path,label,split,weight\n" + "".join(lines).replace("0.1", "1").replace(",2\n", ",1\n")
    )
    again = prepare(source / "t.csv", tmp_path / "again", side=8, jobs=1)
    assert again.digest != made.digest


def test_a_weight_of_one_leaves_the_store_as_it_is_without(
    make: Make, tmp_path: Path, fingerprint: Callable[[Path], dict[str, str]]
) -> None:
    source = make(
        t_dot_csv=CSV,
        u_dot_csv=CSV.replace("label\n", "label,weight\n").replace("cat\n", "cat,1\n").replace("dog\n", "dog,1.0\n"),
    )
    for name in ("t", "u"):
        prepare(source / f"{name}.csv", tmp_path / name, side=8, jobs=1)
    assert fingerprint(tmp_path / "t") == fingerprint(tmp_path / "u")
    assert Store(tmp_path / "t")["train"].weights is None


def test_classes_are_in_the_order_of_names_or_of_numbers_if_all_are_numbers(make: Make) -> None:
    for labels, expected in (
        ("10 9 -1 100 9 10", ["-1", "9", "10", "100"]),
        ("10 9 b 100 9 10", ["10", "100", "9", "b"]),
        ("b B2 a c a b", ["B2", "a", "b", "c"]),
    ):
        rows = "".join(f"{path},{label}\n" for (path, _), label in zip(ROWS, labels.split(), strict=True))
        source = make(t_dot_csv="path,label\n" + rows)
        assert [known.name for known in read_source(source / "t.csv", source).classes] == expected


def test_names_in_another_unicode_form_find_their_files(make: Make) -> None:
    source = make("cafe\u0301.jpg", "b.jpg", t_dot_csv="path,label\ncaf\u00e9.jpg,x\nb.jpg,y\n")
    assert pairs(read_source(source / "t.csv", source)) == {"train": [("b.jpg", "y"), ("cafe\u0301.jpg", "x")]}


REFUSED = {
    "missing": (CSV + "images/9.jpg,cat\n", "row 8: the picture 'images/9.jpg' is not in"),
    "address": (CSV + "https://a.org/9.jpg,cat\n", "row 8: the picture 'https://a.org/9.jpg' is an address; fetch"),
    "folder": (CSV + "images,cat\n", "row 8: the picture 'images' is not in"),
    "absolute": (CSV + "/etc/passwd,cat\n", "row 8: the picture '/etc/passwd' is outside"),
    "above": (CSV + "../p.jpg,cat\n", "row 8: the picture '../p.jpg' is outside"),
    "above, hidden": (CSV + "images/../../p.jpg,cat\n", "row 8: the picture 'images/../../p.jpg' is outside"),
    "above, of Windows": (CSV + "..\\p.jpg,cat\n", "is outside"),
    "no path": (CSV + ",cat\n", "row 8: the path of the picture is empty"),
    "no label": (CSV + "images/0.jpg,\n", "row 8: the label is empty"),
    "a lost label": (CSV.replace("0.jpg,cat", "0.jpg,NaN"), "row 2: the label is 'NaN'"),
    "twice": (CSV + "./images/1.jpg,dog\n", "row 8 names the picture 'images/1.jpg' again, with the label 'dog'"),
    "twice otherwise": (CSV + "images/1.jpg,cat\n", "again, with the label 'cat'; row 3 has it with 'dog'"),
    "two columns": (CSV.replace("path,label", "label,class"), "has no column of pictures among 'label', 'class'"),
    "two of labels": (
        "path,label,class\nimages/0.jpg,a,b\n",
        "has 2 columns that may be the label: 'label', 'class'; keep one",
    ),
    "two of paths": ("path,file,label\na,b,c\n", "has 2 columns that may be the picture: 'path', 'file'"),
    "the same twice": ("path,label,label\na,b,c\n", "2 columns that may be the label: 'label', 'label'"),
    "no label column": ("path,text\nimages/0.jpg,a\n", "has no column of labels among 'path', 'text'"),
    "a flag": ("path,label,is_valid\nimages/0.jpg,a,True\n", "has the column 'is_valid'; write it as a column 'split'"),
    "a flag by another name": (
        "path,label,is_training_img\nimages/0.jpg,a,1\n",
        "has the column 'is_training_img'; write it as a column 'split' with train, val or test, or take it out",
    ),
    "a flag called test": ("path,label,Test\nimages/0.jpg,a,False\n", "has the column 'Test'; write it as"),
    "splits as numbers": ("path,label,partition\nimages/0.jpg,a,0\n", "has the column 'partition'; write it as"),
    "splits from the second row on": (
        "path,label,set\nimages/0.jpg,a,\nimages/1.jpg,b,train\n",
        "row 3 has the split 'train', but rows above have none",
    ),
    "splits from the second object on": (
        '{"path": "images/0.jpg", "label": 1, "set": null}\n{"path": "images/1.jpg", "label": 0, "set": "test"}\n',
        "line 2 has the split 'test', but rows above have none",
    ),
    "a label of none": ("path,label\nimages/0.jpg,0\nimages/1.jpg,-1\n", "row 3: the label is -1 where others are 0"),
    "twins in spaces": (CSV.replace("1.jpg,dog", "1.jpg,a  b").replace("3.jpg,dog", "3.jpg,a b"), "only in spaces"),
    "split unknown": ("path,label,split\nimages/0.jpg,a,holdout\n", "row 2: the split is 'holdout'; write train, val"),
    "split empty": ("path,label,split\nimages/0.jpg,a,\n", "row 2: the split is ''"),
    "a split by another name": (
        "path,label,Set\nimages/0.jpg,a,train\nimages/1.jpg,b,holdout\n",
        "row 3: the split is 'holdout'; write train, val or test, or take that column out",
    ),
    "two splits": ("path,label,x,y\nimages/0.jpg,a,train,test\n", "has 2 columns that may be the split"),
    "no train": ("path,label,split\nimages/0.jpg,a,val\nimages/1.jpg,b,val\n", "has pictures of val only"),
    "a label of val": (
        "path,label,split\nimages/0.jpg,cat,train\nimages/1.jpg,dog,val\nimages/2.jpg,cow,train\n",
        "row 3: the label 'dog' has no picture in train",
    ),
    "weight nan": ("path,label,weight\nimages/0.jpg,a,nan\n", "row 2: the weight is 'nan'; give a finite number"),
    "weight negative": ("path,label,weight\nimages/0.jpg,a,-1\n", "row 2: the weight is '-1'"),
    "weight too large": ("path,label,weight\nimages/0.jpg,a,1e39\n", "row 2: the weight is '1e39'"),
    "weight empty": ("path,label,weight\nimages/0.jpg,a,\n", "row 2: the weight is ''"),
    "all weights 0": ("path,label,weight\nimages/0.jpg,a,0\nimages/1.jpg,b,0\n", "every picture of train the weight 0"),
    "one class": (CSV.replace("dog", "cat"), "gives every picture the label 'cat'"),
    "no row": ("path,label\n", "names no picture; give one at least, with its class"),
    "empty": ("\n \n", "is empty"),
    "twins in case": (CSV + "images/5.jpeg,Cat\n", "row 8: the picture 'images/5.jpeg'"),
    "twin labels": (CSV.replace("1.jpg,dog", "1.jpg,Cat"), "differ only in case; write both in the same way"),
    "twin numbers": ("path,label\nimages/0.jpg,1\nimages/1.jpg,01\n", "'01' and '1', which are one number"),
    "too few fields": ("path,x,label\nimages/0.jpg,a\n", "row 2 has 2 fields, but the first row has 3"),
    "too many fields": ("path,label\nimages/0.jpg,a,b\n", "row 2 has 3 fields, but the first row has 2; quote"),
    "an open quote": ('path,label\nimages/0.jpg,"a\n', "row 2: unexpected end of data; check its quotes"),
    "not UTF-8": (b"path,label\nimages/0.jpg,caf\xe9\n", "line 2 is not UTF-8: byte 0xe9 after 'images/0.jpg,caf'"),
    "UTF-16": ("path,label\nimages/0.jpg,a\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "a zero byte": ("path,label\nimages/0.jpg,a\0\n", "line 2 has a zero byte"),
    "no known form": ("images/0.jpg cat\n", "has no column of pictures among 'images/0.jpg cat'"),
    "list without number": ("images/0.jpg 1\nimages/1.jpg cat\n", "line 2 is 'images/1.jpg cat'; it must be a path"),
    "list below 0": ("images/0.jpg 1\nimages/1.jpg -1\n", "line 2 is 'images/1.jpg -1'; it must be"),
    "json cut": ('{"path": "images/0.jpg", "label": 1}\n{"path": \n', "line 2 is not JSON"),
    "json deep": ('{"path": "images/0.jpg", "label": ' + "[" * 99999 + "\n", "line 1 is not JSON"),
    "json number": ('{"path": "images/0.jpg", "label": 1}\n7\n', "line 2 is 7; write an object"),
    "json path": ('{"path": 7, "label": 1}\n', "line 1: the picture is 7; give its path as text"),
    "json label": ('{"path": "images/0.jpg", "label": [1]}\n', "line 1: the label is a list; give a text"),
    "json null": ('{"path": "images/0.jpg", "label": null}\n', "line 1: the label is None"),
    "json truth": ('{"path": "images/0.jpg", "label": true}\n', "line 1: the label is True"),
    "json without": ('{"path": "images/0.jpg", "label": 1}\n{"path": "images/1.jpg"}\n', "line 2 has no column of"),
    "json map": ('{"images": [],\n "categories": []}\n', "line 1 is not JSON"),
    "json list cut": ('[{"path": "images/0.jpg"', "is not JSON"),
    "json zero": ('{"path": "images/0\\u0000.jpg", "label": 1}\n', "line 1: the path of the picture is"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_rightly_is_refused_by_row_and_value(what: str, make: Make) -> None:
    text, expected = REFUSED[what]
    source = make(table_dot_csv=text)
    assert expected in refusal(source / "table.csv")


def test_a_class_without_anything_like_a_picture_is_refused_before_any_is_decoded(make: Make) -> None:
    source = make("a.jpg", b_dot_jpg="words", t_dot_csv="path,label\na.jpg,x\nb.jpg,y\n")
    assert "class 'y' has no picture to train on ('b.jpg': not a picture: text)" in refusal(source / "t.csv")


def test_two_tables_for_the_same_pictures_are_refused(make: Make) -> None:
    source = make(a_dot_csv=CSV, b_dot_csv=CSV)
    assert "a.csv and b.csv both label the pictures; leave one out: --ignore b.csv" in refusal(source)
    assert pairs(read_source(source, source, ["b.csv"])) == EXPECTED
    (source / "b.csv").rename(source / "val.csv")
    assert "both label the pictures" in refusal(source)


def test_a_submission_of_a_contest_is_no_table_of_labels(make: Make) -> None:
    source = make(labels_dot_csv=CSV, sample_submission_dot_csv=CSV.replace("dog", "cat"))
    assert pairs(read_source(source, source)) == EXPECTED


def test_a_table_that_contradicts_the_class_folders_beside_it_is_refused(make: Make) -> None:
    names = [f"{folder}/{n}.jpg" for folder in ("00", "01") for n in range(2)]
    rows = "".join(f"{name},{label}\n" for name, label in zip(names, "abba", strict=True))
    source = make(*names, labels_dot_csv="path,label\n" + rows)
    assert "row 3 labels '00/1.jpg' as 'b', which differs from the class folders; give labels.csv" in refusal(source)
    assert pairs(read_source(source / "labels.csv", source))["train"] == list(zip(names, "abba", strict=True))
    assert read_source(source, source, ["labels.csv"]).kind == "folders"
    (source / "labels.csv").write_text(
        "path,label\n" + rows.replace("1.jpg,b", "1.jpg,a").replace("0.jpg,b", "0.jpg,a")
    )
    assert "differs" in refusal(source)
    renamed = "".join(f"{name},{label}\n" for name, label in zip(names, "bbaa", strict=True))
    (source / "labels.csv").write_text("path,label\n" + renamed)
    assert [known.name for known in read_source(source, source).classes] == ["00", "01"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "labels.csv",
            "path,label,split\ncat/0.jpg,0,train\ndog/0.jpg,1,test\n",
            "row 3 says that 'dog/0.jpg' is of test",
        ),
        ("test.csv", ",Filename,Label\n0,cat/0.jpg,0\n", "row 2 says that 'cat/0.jpg' is of test, but in the folders"),
        ("val.txt", "dog/1.jpg\n", "line 1 says that 'dog/1.jpg' is of val"),
        ("test.csv", "id,file\n1,dog/1.jpg\n", "line 2 says that 'dog/1.jpg' is of test"),
        ("train.csv", "path,label\ncat/0.jpg,0\n", ""),
        ("test.csv", "hello,world\n", ""),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_table_that_divides_the_class_folders_beside_it_is_refused(
    name: str, text: str, words: str, wrapped: bool, folders: Make, tmp_path: Path
) -> None:
    source = folders(**{name.replace(".", "_dot_"): text})
    if wrapped:
        (tmp_path / "outer").mkdir()
        source = source.rename(tmp_path / "outer" / "set").parent
    if words:
        said = refusal(source)
        assert words in said
        ignored = said.rsplit("--ignore ", 1)[1]
        assert read_source(source, tmp_path / "work", [ignored]).kind == "folders"
    else:
        assert read_source(source, tmp_path / "work").kind == "folders"


def test_a_column_whose_first_value_is_dev_is_the_split(make: Make) -> None:
    source = make(t_dot_csv="path,label,part\nimages/0.jpg,a,dev\nimages/1.jpg,a,train\nimages/2.jpg,b,train\n")
    assert {split: len(part) for split, part in pairs(read_source(source / "t.csv", source)).items()} == {
        "train": 2,
        "val": 1,
    }


def test_measures_are_no_classes(make: Make) -> None:
    names = [f"images/{n}.jpg" for n in range(30)]
    rows = "".join(f"{name},{n / 7:.3f}\n" for n, name in enumerate(names))
    source = make(*names, t_dot_csv="path,target\n" + rows)
    assert "has 30 different labels for 30 pictures to train on, such as '0.000'" in refusal(source / "t.csv")


def test_a_spreadsheet_is_refused_with_the_way_on(make: Make, tmp_path: Path) -> None:
    source = make()
    with zipfile.ZipFile(source / "labels.xlsx", "w") as sheet:
        sheet.writestr("xl/workbook.xml", "<x/>")
    assert "looks like a spreadsheet; save it as a CSV" in refusal(source / "labels.xlsx")
    assert "looks like a spreadsheet; save it as a CSV" in refusal(source)


def test_names_to_ignore_are_refused_for_a_table(make: Make) -> None:
    source = make(t_dot_csv=CSV)
    with pytest.raises(InputError, match="is not a folder or an archive; omit the option"):
        read_source(source / "t.csv", source, ["x"])


def test_a_table_that_says_what_class_folders_say_gives_the_same_store(
    tree: Callable[..., Path], tmp_path: Path
) -> None:
    for split, each in (("train", 3), ("val", 2)):
        source = tree(inside=split, each=each)
    names = [path.relative_to(source).as_posix() for path in source.rglob("*.jpg")]
    (tmp_path / "t.tsv").write_text("file\tclass\n" + "".join(f"{name}\t{name.split('/')[1]}\n" for name in names))
    of_folders = prepare(source, tmp_path / "folders", side=8, jobs=1)
    of_table = prepare(tmp_path / "t.tsv", tmp_path / "table", side=8, jobs=1, root=source)
    assert of_table.pictures == of_folders.pictures == {"train": 6, "val": 4}
    assert of_table.digest == of_folders.digest
