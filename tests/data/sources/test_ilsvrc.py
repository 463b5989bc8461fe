import gzip
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store

# The ILSVRC ids have another order than the wnids on purpose; n0009 is an inner node.
SYNSETS = [
    (2, "n00000001", "tench, Tinca tinca", 0, 3),
    (3, "n00000002", "crane", 0, 2),
    (1, "n00000003", "king's crown", 0, 4),
    (4, "n00000009", "thing", 3, 0),
]
SHADES = {"n00000001": 40, "n00000002": 120, "n00000003": 200}
VAL_IDS = [1, 3, 2, 2, 1, 3]
WNID_OF_ID = {row[0]: row[1] for row in SYNSETS}


def _jpeg(shade: int, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours = np.full((30, 40, 3), shade, np.uint8)
    colours[:, :20] += 40
    out = io.BytesIO()
    Image.fromarray(colours).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def _tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _meta(year: str) -> bytes:
    savemat = pytest.importorskip("scipy.io").savemat
    kinds = [(f"ILSVRC{year}_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O"), ("num_train_images", "O")]
    out = io.BytesIO()
    savemat(out, {"synsets": np.array(SYNSETS, dtype=kinds).reshape(-1, 1)})
    return out.getvalue()


def _train(counts: dict[str, int]) -> bytes:
    return _tar(
        {
            f"{wnid}.tar": _tar({f"{wnid}_{n}.JPEG": _jpeg(SHADES[wnid], 6) for n in range(count)})
            for wnid, count in counts.items()
        }
    )


def _truth(ids: list[int]) -> bytes:
    return "".join(f"{number}\n" for number in ids).encode()


def _flat(year: str, split: str, ids: list[int], folder: str = "") -> bytes:
    names = [f"{folder}ILSVRC{year}_{split}_{n + 1:08d}.JPEG" for n in range(len(ids))]
    pictures = [_jpeg(SHADES[WNID_OF_ID[number]]) for number in ids]
    return _tar(dict(reversed(list(zip(names, pictures, strict=True)))))


def _lay_out(folder: Path, year: str, counts: dict[str, int] | None = None) -> Path:
    folder.mkdir()
    train = _train(counts or {"n00000001": 3, "n00000002": 2, "n00000003": 4})
    name = "ILSVRC2012_devkit_t12" if year == "2012" else "devkit-1.0"
    truth = f"{name}/data/ILSVRC{year}_validation_ground_truth.txt"
    devkit = _tar({f"{name}/data/meta.mat": _meta(year), truth: _truth(VAL_IDS)}, "w:gz")
    if year == "2012":
        (folder / "ILSVRC2012_img_train.tar").write_bytes(train)
        (folder / "ILSVRC2012_img_val.tar").write_bytes(_flat(year, "val", VAL_IDS))
        (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit)
    else:
        (folder / "ILSVRC2010_images_train.tar").write_bytes(train)
        (folder / "ILSVRC2010_images_val.tar").write_bytes(_flat(year, "val", VAL_IDS, "val/"))
        (folder / "ILSVRC2010_images_test.tar").write_bytes(_flat(year, "test", VAL_IDS[:4], "test/"))
        (folder / "ILSVRC2010_test_ground_truth.txt").write_bytes(_truth(VAL_IDS[:4]))
        (folder / "ILSVRC2010_devkit-1.0.tar.gz").write_bytes(devkit)
    return folder


@pytest.mark.parametrize("year", ["2010", "2012"])
def test_every_label_is_the_class_of_its_picture(year: str, tmp_path: Path) -> None:
    prepare(_lay_out(tmp_path / "source", year), tmp_path / "store", side=16, jobs=1)
    store = Store(tmp_path / "store")
    assert store.kind == f"ilsvrc-{year}"
    assert {name: len(split) for name, split in store.splits.items()} == (
        {"train": 9, "val": 6} | ({"test": 4} if year == "2010" else {})
    )
    for split in store.splits.values():
        shades = split.read(np.arange(len(split)))[:, :, -2:].mean((1, 2, 3))
        for label, shade in zip(split.labels, shades, strict=True):
            wnid = store.classes[label].wnid
            assert wnid is not None
            assert abs(shade - SHADES[wnid]) < 3


def test_classes_keep_both_orders_and_their_words(tmp_path: Path) -> None:
    prepare(_lay_out(tmp_path / "source", "2012"), tmp_path / "store", side=16, jobs=1)
    classes = Store(tmp_path / "store").classes
    assert [(c.wnid, c.ilsvrc_id, c.words) for c in classes] == [(w, i, words) for i, w, words, _, _ in SYNSETS[:3]]


def test_orientation_stays_as_in_2012_and_the_form_is_jpeg(tmp_path: Path) -> None:
    summary = prepare(_lay_out(tmp_path / "source", "2012"), tmp_path / "store", side=16, jobs=1)
    assert (summary.format, summary.converted) == ("jpeg", {})
    picture = Store(tmp_path / "store")["train"].read(np.array([0]))[0]
    assert picture[:, :4].mean() > picture[:, -4:].mean() + 20


def _odd(shade: int, kind: str) -> bytes:
    """The picture of _jpeg in one of the formats that ILSVRC has under the name of a JPEG."""
    image, out = Image.open(io.BytesIO(_jpeg(shade, 6))), io.BytesIO()
    if kind == "PNG":
        image.convert("RGB").save(out, "PNG")
    elif kind in ("CMYK", "L"):
        image.convert(kind).save(out, "JPEG", quality=95)
    elif kind == "RGBA":
        image.convert("RGBA").save(out, "PNG")
    else:  # EXIF with a table offset far beyond its end
        exif = b"Exif\0\0MM\0*\xff\xff\xff\x00" + bytes(20)
        image.save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def test_the_known_oddities_are_prepared_rightly_and_listed(tmp_path: Path) -> None:
    """n02105855_2933.JPEG is a PNG, 22 more are CMYK, some gray, and hundreds have damaged EXIF."""
    source = _lay_out(tmp_path / "source", "2012")
    odd = {"n00000001": ["PNG", "CMYK", "broken EXIF"], "n00000002": ["L", "RGBA"], "n00000003": ["", "", "", ""]}
    train = {
        f"{wnid}.tar": _tar(
            {f"{wnid}_{n}.JPEG": _odd(SHADES[wnid], kind) if kind else b"cut" for n, kind in enumerate(kinds)}
            if wnid != "n00000003"
            else {f"{wnid}_{n}.JPEG": _jpeg(SHADES[wnid])[: 9999 if n else 200] for n in range(4)}
        )
        for wnid, kinds in odd.items()
    }
    (source / "ILSVRC2012_img_train.tar").write_bytes(_tar(train))
    summary = prepare(source, tmp_path / "store", side=16, jobs=1)
    store = Store(tmp_path / "store")
    assert summary.pictures == {"train": 8, "val": 6}
    pictures = store["train"].read(np.arange(8))
    for label, picture in zip(store["train"].labels, pictures, strict=True):
        shade = SHADES[store.classes[label].name]
        assert abs(float(picture[:, -2:].mean()) - shade) < 8
        assert picture[:, :4].mean() > picture[:, -4:].mean() + 20  # neither turned nor inverted
    notes = [json.loads(line) for line in (tmp_path / "store/prepare.jsonl").read_text().splitlines()]
    told = {note["name"]: (note["outcome"], note["reasons"]) for note in notes}
    assert told.pop("train/n00000003/n00000003_0.JPEG")[0] == "refused"
    assert told == {
        "train/n00000001/n00000001_1.JPEG": ("converted", ["CMYK"]),
        "train/n00000002/n00000002_0.JPEG": ("converted", ["grayscale"]),
        "train/n00000002/n00000002_1.JPEG": ("converted", ["alpha"]),
    }


@pytest.mark.parametrize("made", ["grows", "huge", "cut", "a link"])
def test_a_hostile_development_kit_is_refused_by_name(made: str, tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012")
    kit = source / "ILSVRC2012_devkit_t12.tar.gz"
    if made == "grows":
        kit.write_bytes(gzip.compress(bytes((1 << 26) + 512), 1))
    elif made == "huge":
        with kit.open("r+b") as file:
            file.truncate(1 << 33)
    elif made == "cut":
        kit.write_bytes(kit.read_bytes()[:-30])
    else:
        info = tarfile.TarInfo("kit/data/meta.mat")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        kit.write_bytes(gzip.compress(info.tobuf()))
    with pytest.raises(InputError, match="ILSVRC2012_devkit_t12"):
        prepare(source, tmp_path / "store", jobs=1)
    assert not (tmp_path / "store").exists()


def test_missing_training_picture_is_refused_with_both_numbers(tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012", {"n00000001": 3, "n00000002": 2, "n00000003": 3})
    with pytest.raises(InputError, match=r"n00000003\.tar holds 3, but the development kit says 4"):
        prepare(source, tmp_path / "store", jobs=1)


def test_missing_class_is_refused(tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012", {"n00000001": 3, "n00000002": 2})
    with pytest.raises(InputError, match="holds 2, but the development kit says 3"):
        prepare(source, tmp_path / "store", jobs=1)


def test_missing_validation_picture_is_refused(tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012")
    (source / "ILSVRC2012_img_val.tar").write_bytes(_flat("2012", "val", VAL_IDS[:5]))
    with pytest.raises(InputError, match="holds 5, but the development kit says 6"):
        prepare(source, tmp_path / "store", jobs=1)


def test_missing_devkit_is_refused_by_name(tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012")
    (source / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(InputError, match="ILSVRC2012_devkit_t12"):
        prepare(source, tmp_path / "store", jobs=1)


def test_training_tar_alone_is_refused_with_what_would_do(tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012")
    with pytest.raises(InputError, match="give the folder"):
        prepare(source / "ILSVRC2012_img_train.tar", tmp_path / "store", jobs=1)


def test_a_folder_around_the_archives_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    _lay_out(tmp_path / "source/inner", "2012")
    assert read_source(tmp_path / "source", tmp_path / "work").kind == "ilsvrc-2012"


def test_hostile_member_of_an_inner_tar_is_refused_by_name(tmp_path: Path) -> None:
    source = _lay_out(tmp_path / "source", "2012")
    inner = _tar({"../../out.JPEG": b"x"})
    (source / "ILSVRC2012_img_train.tar").write_bytes(_tar({"n00000001.tar": inner}))
    with pytest.raises(InputError, match=r"\.\./\.\./out\.JPEG"):
        prepare(source, tmp_path / "store", jobs=1)


def test_without_scipy_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _lay_out(tmp_path / "source", "2012")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(InputError, match=r"pip install scipy"):
        prepare(source, tmp_path / "store", jobs=1)
