import tarfile
from pathlib import Path

import numpy as np
import pytest
from tests import packed

from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.base import open_as_stored
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store

WORDS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish, Carassius auratus", "n02012849": "crane"}
SHADES = dict(zip(WORDS, (40, 100, 160), strict=True))
VAL = ["n02012849", "n01440764", "n01443537", "n01440764"]


def kaggle(root: Path) -> Path:
    """Kaggle's tree with three classes; every picture has an EXIF orientation, which ILSVRC ignores."""
    base = root / "ILSVRC/Data/CLS-LOC"
    for wnid in reversed(WORDS):
        (base / "train" / wnid).mkdir(parents=True)
        for n in range(3):
            (base / f"train/{wnid}/{wnid}_{n}.JPEG").write_bytes(packed.jpeg(SHADES[wnid], 6))
    for folder in ("val", "test"):
        (base / folder).mkdir()
    rows = ["ImageId,PredictionString"]
    for n, wnid in enumerate(VAL, 1):
        name = f"ILSVRC2012_val_{n:08d}"
        (base / f"val/{name}.JPEG").write_bytes(packed.jpeg(SHADES[wnid], 6))
        rows.insert(1, f"{name},{wnid} 111 108 230 176 {wnid} 1 2 3 4 ")
    (base / "test/ILSVRC2012_test_00000001.JPEG").write_bytes(packed.jpeg(9))
    (root / "ILSVRC/Annotations/CLS-LOC").mkdir(parents=True)
    (root / "ILSVRC/Annotations/CLS-LOC/a.xml").write_text("<annotation/>")
    (root / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} {words}\n" for wnid, words in WORDS.items()))
    (root / "LOC_sample_submission.csv").write_text("ImageId,PredictionString\n")
    return root


def refusal(source: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_source(source, source.parent / "work")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_kaggles_tree_gives_the_labels_words_and_pixels_of_the_tars(tmp_path: Path) -> None:
    made = prepare(kaggle(tmp_path / "imagenet"), tmp_path / "store", side=16, jobs=1)
    assert (made.kind, made.format, made.pictures) == ("ilsvrc-2012", "jpeg", {"train": 9, "val": 4})
    assert made.left_out == {"test picture without a label": 1}
    assert made.converted == {}  # EXIF is ignored
    store = Store(tmp_path / "store")
    assert {known.wnid: known.words for known in store.classes} == WORDS
    assert [known.name for known in store.classes] == sorted(WORDS)
    for split in store.splits.values():
        shades = split.read(np.arange(len(split)))[:, :, -2:].mean((1, 2, 3))
        for label, shade in zip(split.labels, shades, strict=True):
            assert abs(shade - SHADES[store.classes[label].name]) < 4
    assert store["val"].names[0] == "val/ILSVRC2012_val_00000002.JPEG"
    assert store["train"].names[0] == "train/n01440764/n01440764_0.JPEG"


def test_any_folder_of_the_tree_may_be_the_source_and_a_tar_of_it(tmp_path: Path) -> None:
    root = kaggle(tmp_path / "imagenet")
    whole = read_source(root, tmp_path / "work")
    for inside in ("ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"):
        found = read_source(root / inside, tmp_path / "work")
        assert (found.kind, found.classes, found.splits) == (whole.kind, whole.classes, whole.splits)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(root, "imagenet")
    packed_ = read_source(tmp_path / "x.tar", tmp_path / "work")
    assert packed_.classes == whole.classes
    assert [(p.name, p.label) for p in packed_.splits["val"]] == [(p.name, p.label) for p in whole.splits["val"]]


def test_what_does_not_fit_together_is_refused_by_name(tmp_path: Path) -> None:
    root = kaggle(tmp_path / "imagenet")
    base, solution = root / "ILSVRC/Data/CLS-LOC", root / "LOC_val_solution.csv"
    rows = solution.read_text().splitlines()
    for text, words in (
        (rows[:-1], "val/ILSVRC2012_val_00000001.JPEG is not in LOC_val_solution.csv; leave it out"),
        ([*rows, "ILSVRC2012_val_00000009,n01440764 1 2 3 4"], "labels 'ILSVRC2012_val_00000009', but val/ lacks that"),
        ([*rows, rows[1]], "line 6 labels 'ILSVRC2012_val_00000004' again"),
        (rows[1:], "its first line is not ImageId,PredictionString"),
        ([rows[0], "ILSVRC2012_val_00000001,tench"], "line 2 is 'ILSVRC2012_val_00000001,tench'"),
        ([line.replace("n01443537", "n09999999") for line in rows], "'n09999999', which train/ lacks"),
    ):
        solution.write_text("\n".join(text) + "\n")
        assert words in refusal(root)
    solution.unlink()
    assert "holds 4 pictures in no class folder; put LOC_val_solution.csv beside it" in refusal(base)
    solution.write_text("\n".join(rows))
    (base / "train/n00000007").mkdir()
    assert "train/n00000007 is not one of the 3 classes of LOC_synset_mapping.txt" in refusal(root)
    (root / "LOC_synset_mapping.txt").unlink()
    assert "class 'n00000007' has no picture to train on" in refusal(root)


def test_torchvisions_folder_is_ilsvrc_if_it_has_all_classes_and_class_folders_else(tmp_path: Path) -> None:
    """meta.bin, a pickle that torchvision leaves beside the folders, is never opened."""
    members = {"imagenet/meta.bin": b"cos\nsystem\n(S'touch ran'\ntR.", "imagenet/ILSVRC2012_devkit_t12.tar.gz": b"x"}
    for n in range(1000):
        wnid = f"n{n:08d}"
        members[f"imagenet/train/{wnid}/{wnid}_1.JPEG"] = b"\xff\xd8\xff"
        members[f"imagenet/val/{wnid}/ILSVRC2012_val_{n + 1:08d}.JPEG"] = b"\xff\xd8\xff"
    (tmp_path / "x.tar").write_bytes(packed.tar_of(members))
    found = read_source(tmp_path / "x.tar", tmp_path)
    assert (found.kind, found.open, found.format) == ("ilsvrc-2012", open_as_stored, "jpeg")
    assert {split: len(pictures) for split, pictures in found.splits.items()} == {"train": 1000, "val": 1000}
    assert found.ignored == 2
    few = {name: data for name, data in members.items() if "n0000000" in name or name.count("/") == 1}
    (tmp_path / "y.tar").write_bytes(packed.tar_of(few))
    found = read_source(tmp_path / "y.tar", tmp_path)
    assert (found.kind, len(found.classes), found.format) == ("folders", 10, "raw")
