"""Folders laid out by chance from the names that people use: read rightly, or refused in one line; never misread."""

import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.prepare.plan import plan_shards
from alexnet.data.sources.class_folders import NOTES, PICTURES, SPLITS
from alexnet.data.sources.clutter import CLUTTER
from alexnet.data.sources.recognise import read_source

Count = Callable[..., None]
HELD = {name for name, split in SPLITS.items() if split != "train"}
SYSTEMS = ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", ".thumbnails", "Thumbs.db"]
CLASSES = ["cat", "Dog", "emu", "cafe\u0301", "n01440764", "bus"]
ODD = ["Cat", "café", "extra", "pets", "train", "Training", "misc", *sorted(NOTES)[:4], *sorted(PICTURES)[:4]]


def tree(root: Path, picture: Path, chance: random.Random) -> None:
    """A layout: usually splits of classes, with something else about half of the time; or anything in anything."""

    def fill(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for n in range(chance.randrange(1, 4)):
            file = folder / f"{n}{chance.choice(['.jpg', '.JPG', ''])}"
            if not file.exists():
                os.link(picture, file)

    def spelt(split: str) -> str:
        name = chance.choice([name for name, of in SPLITS.items() if of == split])
        return chance.choice([name, name, name.capitalize(), name.upper()])

    inside = root / chance.choice(["", "", "wrapped", "a/b"])
    classes = chance.sample(CLASSES, 3)
    for split in chance.choice([[], ["train"], ["train", "val"], ["train", "val", "test"], ["train", "test"], ["val"]]):
        name = spelt(split)
        for kind in classes if split == "train" else classes[: chance.randrange(0, 4)]:
            fill(inside / name / kind)
        (inside / name).mkdir(parents=True, exist_ok=True)
    if not inside.is_dir() or not any(inside.iterdir()):
        for kind in classes:
            fill(inside / kind)
    for _ in range(chance.randrange(3)):  # what else there may be
        folders = [inside, *sorted(path for path in inside.rglob("*") if path.is_dir())]
        name = chance.choice([spelt("val"), spelt("test"), chance.choice(SYSTEMS), chance.choice(ODD)])
        place = chance.choice(folders) / name
        if chance.random() < 0.2:
            (place.parent / "notes.txt").write_text("words")
        elif chance.random() < 0.2:
            place.mkdir(exist_ok=True)
        elif not place.is_file():
            fill(place)


def misread(source: Path) -> list[str]:
    """What is wrong with how a folder was taken; empty where it is right, or was refused as promised."""
    try:
        found = read_source(source, source)
    except InputError as error:
        words = str(error)
        there = {path.name for path in source.rglob("*")} | {str(source), "the source"}
        quoted = any(name in words or ascii(name).strip("'") in words for name in there)
        return [] if quoted and len(words.splitlines()) == 1 else [f"refused without a name: {words}"]
    work = plan_shards(found, side=32, format=None, val_fraction=None, seed=0)
    wrong = []
    folders = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_dir()}
    visible = {f for f in folders if not any(p.startswith(".") or p.lower() in CLUTTER for p in f.split("/"))}
    held_there = any(part.lower() in HELD for f in visible for part in f.split("/"))
    given = {split for shard in work.shards for split in [shard.split]} - {"train"}
    for shard in work.shards:
        for picture in shard.pictures:
            *above, _ = picture.name.split("/")
            first = [part.lower() for part in above[:3]]
            if any(part.startswith(".") or part.lower() in CLUTTER for part in above):
                wrong.append(f"{picture.name} is a system's")
            if shard.split == "train" and any(part in HELD for part in first):
                wrong.append(f"{picture.name} is trained on")
            if shard.split != "train" and held_there and SPLITS.get(first[0]) != shard.split:
                wrong.append(f"{picture.name} is held out, and {given} are there")
    names = [known.name for known in found.classes]
    wrong += [f"class {name}" for name in names if name.lower() in SPLITS and name.lower() != "train"]
    if len({unicodedata.normalize("NFC", name).casefold() for name in names}) < len(names):
        wrong.append(f"twins among {names}")
    return wrong


def test_folders_of_any_layout_are_read_rightly_or_refused(tmp_path: Path, torture: bool, count: Count) -> None:
    """Each layout follows from its number."""
    picture = tmp_path / "picture"
    Image.new("RGB", (8, 8), 99).save(picture, "JPEG")
    total, taken = 3000 if torture else 300, 0
    for number in range(total):
        source = tmp_path / "source"
        tree(source, picture, random.Random(number))
        assert misread(source) == [], number
        try:
            read_source(source, source)
            taken += 1
        except InputError:
            pass
        shutil.rmtree(source)
    assert 0.1 < taken / total < 0.9
    count("layout: folders in any order", injected=total, survived=total, figure=f"{taken} taken")
