"""Class folders as people have them: read correctly, or refused with the name of the folder and what to do."""

import re
import shlex
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from alexnet.core.errors import InputError
from alexnet.data.prepare.plan import plan_shards
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.class_folders import NOTES, PICTURES, SPLITS
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store

Tree = Callable[..., Path]


def counts(source: Path, *ignore: str) -> dict[str, dict[str, int]]:
    """Count the pictures that would be prepared, by split and class."""
    work = plan_shards(read_source(source, source, ignore), side=32, format=None, val_fraction=None, seed=0)
    found: dict[str, dict[str, int]] = {}
    for shard in work.shards:
        for picture in shard.pictures:
            names = found.setdefault(shard.split, {})
            names[work.classes[picture.label].name] = names.get(work.classes[picture.label].name, 0) + 1
    return found


def refusal(source: Path, *ignore: str) -> str:
    with pytest.raises(InputError) as caught:
        read_source(source, source, ignore)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def spellings(split: str) -> Iterable[str]:
    for name in (name for name, of in SPLITS.items() if of == split):
        yield from (name, name.capitalize(), name.upper())


@pytest.mark.parametrize("name", [*spellings("val"), *spellings("test")])
def test_a_held_out_folder_of_any_spelling_is_a_split_and_nothing_of_train_is_held_out(name: str, tree: Tree) -> None:
    tree(inside="train", each=6)
    source = tree(inside=name, each=2)
    held = SPLITS[name.lower()]
    assert counts(source) == {held: {"cat": 2, "dog": 2}, "train": {"cat": 6, "dog": 6}}


@pytest.mark.parametrize("name", [*spellings("train")])
def test_a_training_folder_of_any_spelling_is_the_training_split(name: str, tree: Tree) -> None:
    tree(inside=name, each=6)
    source = tree(inside="Validation", each=2)
    assert counts(source) == {"val": {"cat": 2, "dog": 2}, "train": {"cat": 6, "dog": 6}}


def test_with_a_test_folder_a_part_of_train_is_held_out_only_where_that_is_asked_for(
    tree: Tree, tmp_path: Path
) -> None:
    tree(inside="train", each=6)
    source = tree(inside="test", each=2)
    assert prepare(source, tmp_path / "a", side=32, jobs=1).pictures == {"test": 4, "train": 12}
    asked = prepare(source, tmp_path / "b", side=32, jobs=1, val_fraction=0.5).pictures
    assert asked == {"test": 4, "train": 6, "val": 6}


def test_without_a_held_out_folder_a_tenth_of_each_class_is_held_out(tree: Tree) -> None:
    assert counts(tree(inside="training", each=20)) == {"train": {"cat": 18, "dog": 18}, "val": {"cat": 2, "dog": 2}}


@pytest.mark.parametrize(("one", "other"), [("val", "validation"), ("Val", "val"), ("test", "testing")])
def test_two_folders_of_one_split_are_refused(one: str, other: str, tree: Tree) -> None:
    for inside in ("train", one, other):
        source = tree(inside=inside)
    line = refusal(source)
    assert repr(one) in line
    assert repr(other) in line
    assert set(counts(source, other)) == {"train", SPLITS[one.lower()]}


@pytest.mark.parametrize("name", ["extra", "Unlabeled", "cat"])
def test_a_folder_beside_the_splits_that_is_no_split_is_refused_by_name(name: str, tree: Tree) -> None:
    for inside in ("train", "val"):
        tree(inside=inside)
    source = tree(inside=name)
    assert f"{name!r} is beside train/" in refusal(source)
    assert f"--ignore {name}" in refusal(source)
    if name != "cat":  # --ignore cat would leave the class out too
        assert set(counts(source, name)) == {"train", "val"}


@pytest.mark.parametrize("split", ["val", "valid", "test"])
@pytest.mark.parametrize("what", ["flat", "empty", "empty classes", "classes of text"])
def test_a_held_out_folder_without_class_folders_or_pictures_is_refused_by_name(
    split: str, what: str, tree: Tree
) -> None:
    source = tree(inside="train", each=10)
    folder = source / split
    folder.mkdir()
    if what == "flat":
        for n in range(3):
            shutil.copy(source / f"train/cat/{n}.jpg", folder / f"{n}.jpg")
    elif what != "empty":
        for kind in ("cat", "dog"):
            (folder / kind).mkdir()
            if what == "classes of text":
                (folder / kind / "list.txt").write_text("1.jpg\n2.jpg\n")
    line = refusal(source)
    assert split in line or f"{SPLITS[split]} split" in line
    assert "--ignore" in line
    assert counts(source, split) == {"train": {"cat": 9, "dog": 9}, "val": {"cat": 1, "dog": 1}}


def test_flat_split_folders_are_not_two_classes(tree: Tree) -> None:
    """Kaggle's dogs and cats: train/cat.0.jpg, test/1.jpg."""
    source = tree("source", classes="train test")
    assert "train/ has no class folder" in refusal(source)
    assert "train/CLASS/" in refusal(source)


@pytest.mark.parametrize("name", ["val", "Validation", "test", "eval"])
def test_a_held_out_folder_alone_or_beside_classes_never_becomes_training_pictures(name: str, tree: Tree) -> None:
    source = tree(inside=name)
    assert f"found {name}/ but no train/" in refusal(source)
    assert counts(source / name)["train"] == {"cat": 4, "dog": 4}
    source = tree("mixed", classes="cat dog", each=10)
    shutil.copytree(source / "cat", source / name)
    assert f"--ignore {name}" in refusal(source)
    assert counts(source, name)["train"] == {"cat": 9, "dog": 9}


def test_a_class_that_shows_trains_is_a_class_and_masks_of_train_are_none(tree: Tree) -> None:
    assert set(counts(tree(classes="bus car train"))["train"]) == {"bus", "car", "train"}
    for other in ("train_masks", "masks", "images", "validate test"):
        source = tree(other, classes=f"train {other}")
        line = refusal(source)
        assert "train" in line, line


@pytest.mark.parametrize(("pictures", "notes"), [("images", "masks"), ("JPEGImages", "Annotations"), ("img", "gt")])
@pytest.mark.parametrize("inside", ["", "train", "a/b"])
def test_pictures_and_the_notes_on_them_are_no_two_classes(inside: str, pictures: str, notes: str, tree: Tree) -> None:
    assert pictures.lower() in PICTURES
    assert notes.lower() in NOTES
    source = tree(inside=inside, classes=f"{pictures} {notes}")
    line = refusal(source)
    path = f"{inside}/".removeprefix("/")
    assert f"give {path}{pictures}/ as the source" in line
    assert f"--ignore {path}{notes}" in line


def test_pictures_beside_their_notes_are_read_without_them(tree: Tree) -> None:
    """Pets: images/CLASS/*.jpg beside annotations/*.xml."""
    source = tree(inside="images", each=10)
    (source / "annotations").mkdir()
    (source / "annotations/0.xml").write_text("<annotation/>")
    assert "--ignore annotations" in refusal(source)
    assert counts(source, "annotations")["train"] == {"cat": 9, "dog": 9}


def test_splits_inside_the_classes_are_refused(tree: Tree) -> None:
    for kind in ("cat", "dog"):
        for split in ("train", "val"):
            source = tree(inside=kind, classes=split)
    assert "cat/val/ looks like a split inside cat/" in refusal(source)
    for inside in ("val", "train", "train/dev"):
        source = tree("inner", inside=inside)
    assert "train/dev/ looks like a split inside train/" in refusal(source)


def test_splits_that_lie_deeper_are_named(tree: Tree) -> None:
    """Kaggle's ILSVRC: Annotations/, Data/CLS-LOC/train/, ImageSets/."""
    for inside in ("ILSVRC/Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/val"):
        source = tree(inside=inside)
    (source / "ILSVRC/Annotations/CLS-LOC").mkdir(parents=True)
    (source / "ILSVRC/Annotations/CLS-LOC/a.xml").write_text("<annotation/>")
    (source / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n")
    assert "give ILSVRC/Data/CLS-LOC/, which holds train/, as the source" in refusal(source)
    assert set(counts(source, "Annotations")) == {"train", "val"}  # the remaining folder is unwrapped


@pytest.mark.parametrize("beside", ["README.txt", "LICENSE", "labels.csv", ".DS_Store"])
def test_a_wrapping_folder_is_unwrapped_though_files_lie_beside_it(beside: str, tree: Tree) -> None:
    tree(inside="pets/train", each=4)
    source = tree(inside="pets/val", each=2)
    (source / beside).write_text("words")
    found = read_source(source, source)
    assert counts(source) == {"train": {"cat": 4, "dog": 4}, "val": {"cat": 2, "dog": 2}}
    assert (found.ignored, found.left_out) == ((0, {"hidden": 1}) if beside.startswith(".") else (1, {}))


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".git", "__pycache__"]
)
@pytest.mark.parametrize("inside", ["", "train", "train/cat"])
def test_folders_that_systems_make_are_left_out_and_counted(name: str, inside: str, tree: Tree) -> None:
    for split in ("train", "val"):
        source = tree(inside=split)
    plain = counts(source)
    folder = source / inside / name / "deeper"
    folder.mkdir(parents=True)
    shutil.copy(source / "train/cat/0.jpg", folder / "0.jpg")
    (source / inside / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    assert counts(source) == plain
    reason = "hidden" if name.startswith(".") else name
    assert read_source(source, source).left_out == {reason: 1, "Thumbs.db": 1}


def test_a_zip_from_macos_is_read_like_its_folder(tree: Tree, tmp_path: Path) -> None:
    source = tree(each=10)
    for form, folders in (("old", ["__MACOSX/", "__MACOSX/cat/"]), ("new", [])):
        with zipfile.ZipFile(tmp_path / f"{form}.zip", "w") as archive:
            for folder in folders:
                archive.writestr(folder, b"")
            for path in sorted(source.rglob("*.jpg")):
                archive.write(path, path.relative_to(source))
                archive.writestr(f"__MACOSX/{path.parent.name}/._{path.name}", b"\0\5\x16\7")
            archive.writestr("cat/.DS_Store", b"\0\0\0\1Bud1")
        assert counts(tmp_path / f"{form}.zip") == counts(source)
        assert read_source(tmp_path / f"{form}.zip", tmp_path).left_out == {"__MACOSX": 1, "hidden": 1}


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [(COMPOSED, DECOMPOSED, ("caf\\xe9", "cafe\\u0301")), ("Cat", "cat", ("'Cat'", "'cat'")),
     ("STRASSE", "straße", ("'STRASSE'", "'straße'"))],
)  # fmt: skip
@pytest.mark.parametrize("inside", ["", "train", "val"])
def test_class_names_that_look_alike_are_refused_so_that_they_can_be_told_apart(
    one: str, other: str, shown: tuple[str, str], inside: str, tree: Tree
) -> None:
    tree(inside="train" if inside else "", classes=f"{one} emu")
    source = tree(inside=inside, classes=f"{other} emu")
    line = refusal(source)
    assert all(name in line for name in shown)


def test_a_class_of_a_held_out_folder_that_train_lacks_is_refused_and_one_of_train_alone_is_taken(tree: Tree) -> None:
    tree(inside="train", classes="cat dog emu")
    source = tree(inside="val", classes="cat dog")
    assert set(counts(source)["train"]) == {"cat", "dog", "emu"}
    source = tree(inside="val", classes="yak")
    assert "val/ has the class 'yak', which train/ lacks" in refusal(source)
    assert set(counts(source, "val/yak")["val"]) == {"cat", "dog"}


@pytest.mark.parametrize("content", [None, b"a list", b"", b"<!doctype html><html>"])
def test_a_class_without_a_picture_is_refused_by_name_before_any_is_decoded(content: bytes | None, tree: Tree) -> None:
    source = tree(each=10)
    (source / "emu").mkdir()
    if content is not None:
        (source / "emu/1.jpg").write_bytes(content)
    line = refusal(source)
    assert "class 'emu' has no picture to train on" in line
    assert content is None or "'emu/1.jpg'" in line
    assert set(counts(source, "emu")["train"]) == {"cat", "dog"}


def test_ignored_names_are_names_patterns_or_paths_and_must_be_there(tree: Tree) -> None:
    source = tree(classes=f"cat dog {DECOMPOSED}", each=10)
    assert set(counts(source, COMPOSED)["train"]) == {"cat", "dog"}  # in either Unicode form
    for n in range(10):
        (source / f"cat/{n}.jpg").rename(source / f"cat/old {n}.jpg")
    assert counts(source, "old 1*.jpg", "dog/")["train"] == {"cat": 8, DECOMPOSED: 9}
    assert "--ignore bird matches no file or folder of the source" in refusal(source, "bird")
    assert "--ignore dog/old *" in refusal(source, "dog/old *")
    assert read_source(source, source, ["dog"]).left_out == {"dog": 1}
    assert read_source(source, source, ["do*", "dog", "dog/0.jpg"]).left_out == {"do*": 1}  # one within another


@pytest.mark.parametrize("name", ["[old]", "x[1]", "what?", "-old", "a\nb", "it's", "a b", "caf\udce9", "$HOME"])
def test_the_option_that_a_refusal_names_leaves_out_that_folder_alone(name: str, tree: Tree) -> None:
    """It is quoted for a shell: brackets and question marks mean themselves."""
    tree(inside="train", classes="cat o x1 whats")
    source = tree(inside="val", classes="cat o")
    (source / "val" / name).mkdir()
    shutil.copy(source / "val/cat/0.jpg", source / "val" / name / "0.jpg")
    (option,) = re.findall(r"leave it out: (.+)", refusal(source))
    words = shlex.split(option)
    assert words[0] == "--ignore"
    assert counts(source, words[1]) == {"train": {"cat": 5, "o": 5, "x1": 5, "whats": 5}, "val": {"cat": 5, "o": 5}}


def test_what_a_refusal_would_leave_out_is_named_by_its_path(tree: Tree) -> None:
    """A folder of the same name elsewhere is kept: here the test split."""
    tree("wrap", inside="w/train", classes="cat dog test")
    source = tree("wrap", inside="w/test", each=2)
    assert "leave it out: --ignore w/train/test" in refusal(source)
    assert counts(source, "w/train/test") == {"train": {"cat": 5, "dog": 5}, "test": {"cat": 2, "dog": 2}}


@pytest.mark.parametrize(
    ("train", "test"),
    [("training_set", "test_set"), ("seg_train", "seg_test"), ("fruits-360_train", "fruits-360_val"), ("trn", "tst"),
     ("train2017", "val2017"), ("Training Images", "TestImages"), ("trainset", "testset")],
)  # fmt: skip
def test_folders_that_are_called_like_splits_are_never_two_classes(train: str, test: str, tree: Tree) -> None:
    tree(inside=train)
    source = tree(inside=test)
    line = refusal(source)
    assert repr(train) in line
    assert repr(test) in line
    assert "rename them" in line


def test_a_split_within_a_folder_of_its_name_is_that_split(tree: Tree) -> None:
    tree(inside="train/train", each=4)
    source = tree(inside="test/Test", each=2)
    assert counts(source) == {"train": {"cat": 4, "dog": 4}, "test": {"cat": 2, "dog": 2}}


@pytest.mark.parametrize("name", ["val", "test", "extra", "train/emu"])
def test_a_link_to_nothing_where_a_split_or_a_class_is_looked_for_is_refused(name: str, tree: Tree) -> None:
    source = tree(inside="train", each=10)
    (source / name).symlink_to("/not/mounted")
    assert f"{name} is a broken link" in refusal(source)
    assert set(counts(source, name)) == {"train", "val"}


@pytest.mark.parametrize("name", ["val.zip", "test.tar.gz", "Validation.tar"])
def test_a_packed_split_beside_the_folders_is_refused(name: str, tree: Tree) -> None:
    source = tree(inside="train", each=10)
    (source / name).write_bytes(b"PK")
    assert f"{name} is beside the folders" in refusal(source)


def test_a_copy_of_the_classes_among_them_is_not_a_class(tree: Tree) -> None:
    tree()
    source = tree(inside="all")
    assert "all/ looks like a copy: it has 'cat' and other folders" in refusal(source)
    assert set(counts(source, "all")["train"]) == {"cat", "dog"}


@pytest.mark.parametrize("writer", ["macOS", "Windows"])
def test_names_in_a_zip_are_read_as_their_writer_meant_them(writer: str, tree: Tree, tmp_path: Path) -> None:
    """They may be unmarked UTF-8, or contain backslashes."""
    source = tree(inside="pets", classes=f"dog {COMPOSED}", each=10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(source.rglob("*.jpg")):
            name = path.relative_to(source).as_posix()
            info = zipfile.ZipInfo(name if writer == "macOS" else name.replace("/", "\\"))
            info.create_system = 3 if writer == "macOS" else 0
            archive.writestr(info, path.read_bytes())
    data = (tmp_path / "a.zip").read_bytes()
    if writer == "macOS":
        marked = data.count(b"PK\1\2\x14\x03\x14\x00\x00\x08")
        assert marked == 10
        data = data.replace(b"PK\1\2\x14\x03\x14\x00\x00\x08", b"PK\1\2\x14\x03\x14\x00\x00\x00")
        data = data.replace(b"PK\3\4\x14\x00\x00\x08", b"PK\3\4\x14\x00\x00\x00")
        (tmp_path / "a.zip").write_bytes(data)
    assert counts(tmp_path / "a.zip")["train"] == {"dog": 9, COMPOSED: 9}


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (
            ["data.mdb", "lock.mdb"],
            "'data.mdb' looks like an LMDB database; read it in Python, and give alexnet.prepare()",
        ),
        (["train.tfrecord-00000-of-00002"], "looks like TensorFlow's records; read it in Python"),
        (["x_train.npy", "y_train.npy"], "looks like NumPy's arrays; read it in Python"),
        (["part1.zip", "part2.zip"], "looks like archives; unpack them, or give one of them"),
        (["all/of/0.jpg", "labels.csv"], "source/labels.csv as the source, if it is a table of all pictures"),
        (["0.jpg", "1.jpg"], "labels come from the names of two or more class folders"),
    ],
)
def test_layouts_without_class_folders_are_refused_by_their_name(
    files: list[str], named: str, tree: Tree, tmp_path: Path
) -> None:
    picture = tree("pictures") / "cat/0.jpg"
    for name in files:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jpg"):
            shutil.copy(picture, path)
        else:
            path.write_bytes(b"PAR1 or whatever")
    assert named in refusal(tmp_path / "source")


def test_links_are_followed_to_folders_and_to_pictures(tree: Tree, tmp_path: Path) -> None:
    real = tree("real", each=10)
    source = tmp_path / "source"
    (source / "dog").mkdir(parents=True)
    (source / "cat").symlink_to(real / "cat")
    for n in range(10):
        (source / f"dog/{n}.jpg").symlink_to(real / f"dog/{n}.jpg")
    assert counts(source) == counts(real)


def test_the_summary_counts_each_class_and_what_was_left_out(tree: Tree, tmp_path: Path) -> None:
    tree(inside="train", each=6)
    source = tree(inside="dev", each=2)
    (source / "desktop.ini").write_text("[.ShellClassInfo]")
    (source / "train/dog/5.jpg").write_bytes(b"GIF89a")  # refused when decoded, so not counted
    summary = prepare(source, tmp_path / "store", side=32, jobs=1)
    assert summary.per_class == {"cat": {"train": 6, "val": 2}, "dog": {"train": 5, "val": 2}}
    assert summary.left_out == {"desktop.ini": 1}
    (tmp_path / "source/extra").mkdir()
    assert prepare(source, tmp_path / "again", side=32, jobs=1, ignore="extra").digest == summary.digest
    assert {name: len(split) for name, split in Store(tmp_path / "store").splits.items()} == {"train": 11, "val": 4}


@pytest.mark.parametrize("names", [("images_001", "images_002"), ("set_part_1", "set_part_2"), ("Batch1", "Batch12")])
def test_numbered_parts_of_one_set_are_no_classes(names: tuple[str, str], tree: Tree) -> None:
    source = tree(classes=" ".join(names))
    assert "look like parts of one set, not like classes; put the pictures of both into one folder" in refusal(source)


@pytest.mark.parametrize("names", [("class_1", "class_2"), ("c0", "c1"), ("1", "2"), ("part_1", "whole_1")])
def test_numbered_folders_of_other_names_are_classes(names: tuple[str, str], tree: Tree) -> None:
    assert sorted(counts(tree(classes=" ".join(names)))["train"]) == sorted(names)
