"""What becomes of a store that was damaged, swapped or forged, or is very large: found and named, before it is used."""

import hashlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import textwrap
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from alexnet.cli import main
from alexnet.core.errors import InputError
from alexnet.data.prepare import plan
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store, content_digest, own_checksum, verify

SIDE = 32
Alter = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two stores of equal sizes, of several shards."""
    home = tmp_path_factory.mktemp("pair")
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARD_BYTES", 8 * SIDE * SIDE * 3)
        for n in (0, 1):
            prepare("builtin:60", home / str(n), side=SIDE, jobs=1)
            if n:  # the drawings are the same: other pixels, and labels, by a way of their own
                made.append(other(home / "1"))
            else:
                made.append(home / "0")
    return made[0], made[1]


def other(store: Path) -> Path:
    """A whole store of the same sizes with other pictures and labels."""
    meta = json.loads((store / "meta.json").read_bytes())
    for name, split in meta["splits"].items():
        index = load((store / name / "index.safetensors").read_bytes())
        crc32 = []
        for shard in split["shards"]:
            data = bytes(255 - byte for byte in (store / shard["file"]).read_bytes())
            (store / shard["file"]).write_bytes(data)
            shard["sha256"] = hashlib.sha256(data).hexdigest()
            crc32 += [zlib.crc32(data[i : i + SIDE * SIDE * 3]) for i in range(0, len(data), SIDE * SIDE * 3)]
        index |= {"crc32": np.array(crc32), "labels": 9 - index["labels"]}
        rewrite(store, split["index"], save(index))
    seal(store, meta)
    assert verify(store) == []
    return store


def rewrite(store: Path, part: dict[str, Any], data: bytes) -> None:
    (store / part["file"]).write_bytes(data)
    part["sha256"] = hashlib.sha256(data).hexdigest()


def seal(store: Path, meta: dict[str, Any]) -> None:
    """Write meta.json with the digest and the checksum that its content has."""
    meta["digest"] = content_digest(meta)
    if "checksum" in meta:
        meta["checksum"] = own_checksum(meta)
    (store / "meta.json").write_text(json.dumps(meta, indent=1))


@pytest.fixture
def store(pair: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(pair[0], tmp_path / "store")


def files(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file())


def use(store: Path) -> None:
    """Open the store and read every picture and name."""
    opened = Store(store)
    for split in opened.splits.values():
        split.read(np.arange(len(split)))
        assert len(split.names) == len(split)


def refused(store: Path) -> str:
    """The line that refuses the store, in use or, for what only tells of the making, by `verify`."""
    try:
        use(store)
    except InputError as error:
        with pytest.raises(SystemExit) as end:
            main.main(["verify", str(store)])
        assert end.value.code == 2
        return str(error)
    return " ".join(verify(store))


def test_any_flipped_bit_is_found_and_its_file_named(
    store: Path, torture: bool, count: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file has its share of them, and meta.json half."""
    chance = random.Random(6)
    several = files(store)
    bits = 4000 if torture else 200
    for n in range(bits):
        path = store / "meta.json" if n % 2 else several[n // 2 % len(several)]
        whole = path.read_bytes()
        if not whole:  # no picture was refused or converted
            continue
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        words = refused(store)
        newer = path.name == "meta.json" and "made by a newer alexnet" in words
        assert path.relative_to(store).as_posix() in words or newer, (path, words)
        path.write_bytes(whole)
    use(store)
    count("store: a flipped bit in any of its files", injected=bits, survived=bits)


def test_any_truncated_file_is_found_and_named(store: Path, torture: bool, count: Callable[..., None]) -> None:
    chance = random.Random(7)
    several = [path for path in files(store) if path.stat().st_size]
    cuts = 1000 if torture else 60
    for n in range(cuts):
        path = several[n % len(several)]
        whole = path.read_bytes()
        path.write_bytes(whole[: chance.randrange(len(whole))])
        assert path.relative_to(store).as_posix() in refused(store)
        path.write_bytes(whole)
    count("store: a file cut short", injected=cuts, survived=cuts)


def test_a_shard_that_shrinks_while_it_is_read_is_named(store: Path, count: Callable[..., None]) -> None:
    split = Store(store)["train"]
    split.read(np.arange(len(split)))
    for path in store.glob("train/*.bin"):
        os.truncate(path, 100)
    for _ in range(2):
        with pytest.raises(InputError, match=r"train/0000\d\.bin is missing or damaged"):
            split.read(np.arange(len(split)))
    count("store: shards cut short in use", injected=1, survived=1)


def test_files_swapped_between_stores_of_equal_sizes_or_within_one_are_found(
    store: Path, pair: tuple[Path, Path], count: Callable[..., None]
) -> None:
    swapped = 0
    for path in files(store):
        name = path.relative_to(store)
        theirs = (pair[1] / name).read_bytes()
        if theirs == (whole := path.read_bytes()):
            continue
        assert len(theirs) == len(whole)
        path.write_bytes(theirs)
        words = refused(store)
        if name.name == "meta.json":  # their word against all our files
            assert "train/index.safetensors" in words
        else:
            assert name.as_posix() in words
        path.write_bytes(whole)
        swapped += 1
    one, two = sorted(store.glob("train/*.bin"))[:2]
    one.rename(store / "aside")
    two.rename(one)
    (store / "aside").rename(two)
    assert one.stat().st_size == two.stat().st_size
    assert "train/00000.bin is missing or damaged at picture 0" in refused(store)
    assert verify(store) == ["train/00000.bin", "train/00001.bin"]
    assert swapped > 8
    count("store: a file swapped", injected=swapped + 1, survived=swapped + 1)


def test_a_store_of_a_newer_version_says_so(
    store: Path, count: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    meta = json.loads((store / "meta.json").read_bytes())
    meta.pop("splits")
    numbers = (2, 3, 10**30)
    for number in numbers:
        (store / "meta.json").write_text(json.dumps(meta | {"format": number, "pyramids": [1, 2, 3]}))
        with pytest.raises(SystemExit) as end:
            main.main(["verify", str(store)])
        assert end.value.code == 2
        words = f"format {str(number)[:20]}, made by a newer alexnet; this one reads format 1: upgrade alexnet"
        assert capsys.readouterr().err == f"alexnet: {store} is a store of {words}\n"
    count("store: from a newer version", injected=len(numbers), survived=len(numbers))


def test_a_store_made_before_meta_had_a_checksum_is_read(store: Path) -> None:
    meta = json.loads((store / "meta.json").read_bytes())
    del meta["checksum"]
    seal(store, meta)
    use(store)
    assert verify(store) == []


def _put(meta: dict[str, Any], place: str, value: object) -> object:
    """Change one value; what it was."""
    *path, last = (int(key) if key.isdecimal() else key for key in place.split("."))
    at: Any = meta
    for key in path:
        at = at[key]
    was, at[last] = at[last], value
    return was


VALUES: list[object] = [
    None, True, -1, 0, 1.5, 10**12, 10**400, "", "x", "\0", [], [[]], {}, {"file": 3}, ["train"], float("nan"),
]  # fmt: skip
PLACES = [
    "format", "kind", "side", "form", "classes", "classes.0", "classes.0.name", "splits", "splits.train",
    "splits.train.count", "splits.train.shards", "splits.train.shards.0", "splits.train.shards.0.file",
    "splits.train.shards.0.bytes", "splits.train.shards.0.sha256", "splits.train.shards.0.count",
    "splits.train.index", "splits.train.index.file", "splits.train.index.sha256", "splits.train.names",
    "splits.train.names.file", "statistics", "statistics.file", "statistics.sha256", "notes", "notes.file", "digest",
    "checksum",
]  # fmt: skip


def test_absurd_values_in_a_meta_that_vouches_for_itself_are_refused_in_a_line(
    store: Path, count: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its digest and checksum are right, as a forger would have them."""
    whole = (store / "meta.json").read_bytes()
    tried = 0
    for place in PLACES:
        for value in VALUES:
            meta = json.loads(whole)
            was = _put(meta, place, value)
            try:
                seal(store, meta)
            except (KeyError, TypeError, ValueError):
                (store / "meta.json").write_text(json.dumps(meta))
            if place in ("digest", "checksum"):
                (store / "meta.json").write_text(json.dumps(json.loads(whole) | {place: value}))
            with suppress(InputError):
                use(store)
                assert place in ("kind", "notes.file", "classes.0.name", "notes") or value == was
            with pytest.raises(SystemExit):
                main.main(["verify", str(store)])
            assert len(capsys.readouterr().err.splitlines()) <= 1
            tried += 1
    count("store: an absurd value in meta.json", injected=tried, survived=tried)


def test_a_store_names_no_file_outside_itself(store: Path, count: Callable[..., None]) -> None:
    """They exist, and have the content that they should have."""
    names = (
        "../outside.bin",
        str(store.parent / "outside.bin"),
        "train/../../outside.bin",
        "./../outside.bin",
        "..",
        ".",
    )
    places = ("splits.train.index", "splits.train.names", "splits.train.shards.0", "statistics", "notes")
    whole = (store / "meta.json").read_bytes()
    for place in places:
        for name in names:
            meta = json.loads(whole)
            was = _put(meta, f"{place}.file", name)
            shutil.copy(store / str(was), store.parent / "outside.bin")
            seal(store, meta)
            assert "meta.json is missing or damaged" in refused_at_once(store)
    count("store: a file name that leads outside", injected=len(names) * 5, survived=len(names) * 5)


HOSTILE = {
    "deep": b"[" * 200_000, "deep object": b'{"a":' * 200_000, "no JSON": b"\x80\x02}q\x00.", "a number": b"1" * 5000,
    "two objects": b"{}{}", "a list": b"[1]", "NaN": b"NaN", "UTF-16": '{"format": 1}'.encode("utf-16"), "nothing": b"",
}  # fmt: skip


def test_a_hostile_meta_is_refused_in_a_line(store: Path, count: Callable[..., None]) -> None:
    for data in HOSTILE.values():
        (store / "meta.json").write_bytes(data)
        assert "meta.json is missing or damaged" in refused_at_once(store)
    count("store: a hostile meta.json", injected=len(HOSTILE), survived=len(HOSTILE))


def refused_at_once(store: Path) -> str:
    with pytest.raises(InputError) as opened:
        Store(store)
    with pytest.raises(InputError):
        verify(store)
    return str(opened.value)


def test_what_is_no_file_is_not_waited_for(pair: tuple[Path, Path], tmp_path: Path, count: Callable[..., None]) -> None:
    tried = ("meta.json", "train/index.safetensors", "train/names.jsonl", "train/00000.bin")
    for n, file in enumerate(tried):
        for make in (
            os.mkfifo,
            os.mkdir,
            lambda path: os.symlink("/dev/zero", path),
            lambda path: os.symlink(path, path),
        ):
            store = shutil.copytree(pair[0], tmp_path / f"{n}")
            (store / file).unlink()
            make(store / file)
            with pytest.raises(InputError, match=r"meta\.json" if n == 0 else file):
                Store(store)
            shutil.rmtree(store)
    count("store: a pipe, folder, device, loop for a file", injected=4 * len(tried), survived=4 * len(tried))


def header(length: int, text: bytes) -> bytes:
    return struct.pack("<Q", length) + text


TENSORS = {
    "no header": b"",
    "a header of 2 ** 62": header(1 << 62, b"{}"),
    "no JSON": header(4, b"!!!!"),
    "deep": header(100_000, b"[" * 100_000),
    "beyond its end": header(70, b'{"labels":{"dtype":"I64","shape":[9],"data_offsets":[0,9999999999999]}}'),
    "other names": save({"a": np.zeros(3)}),
    "nothing": save({}),
    "floats": save({name: np.zeros(48) for name in ("labels", "crc32", "sizes")}),
    "matrices": save({name: np.zeros((48, 1), np.int64) for name in ("labels", "crc32", "sizes")}),
    "negative": save({name: np.full(48, -1) for name in ("labels", "crc32", "sizes")}),
    "huge": save({name: np.full(48, 1 << 62) for name in ("labels", "crc32", "sizes")}),
    "noughts": save({name: np.zeros(48, np.int64) for name in ("labels", "crc32", "sizes")}),
    "labels of no class": save(
        {"labels": np.full(48, 10), "crc32": np.zeros(48, np.int64), "sizes": np.full(48, SIDE * SIDE * 3)}
    ),
}


WEIGHTS: list[np.ndarray] = [
    np.ones(47, np.float32),
    np.ones((48, 1), np.float32),
    np.ones(48),
    *(np.full(48, value, np.float32) for value in (-1, np.nan, np.inf)),
]


def test_hostile_tensors_in_a_store_that_vouches_for_them_are_refused_in_a_line(
    store: Path, count: Callable[..., None]
) -> None:
    whole = (store / "meta.json").read_bytes()
    for data in TENSORS.values():
        for place in ("index", "statistics"):
            meta = json.loads(whole)
            part = meta["statistics"] if place == "statistics" else meta["splits"]["train"]["index"]
            before = (store / part["file"]).read_bytes()
            rewrite(store, part, data)
            seal(store, meta)
            with pytest.raises(InputError, match="is missing or damaged"):
                Store(store)
            (store / part["file"]).write_bytes(before)
    for wrong in WEIGHTS:
        meta = json.loads(whole)
        part = meta["splits"]["train"]["index"]
        before = (store / part["file"]).read_bytes()
        rewrite(store, part, save({**load(before), "weights": wrong}))
        seal(store, meta)
        with pytest.raises(InputError, match="is missing or damaged"):
            Store(store)
        (store / part["file"]).write_bytes(before)
    tried = 2 * len(TENSORS) + len(WEIGHTS)
    count("store: hostile safetensors", injected=tried, survived=tried)


def test_names_that_are_none_are_refused_when_they_are_asked_for(store: Path, count: Callable[..., None]) -> None:
    tried = (b"[" * 100_000, b"1\n" * 48, b'"a"\n' * 47, b"\xff", b"")
    for lines in tried:
        meta = json.loads((store / "meta.json").read_bytes())
        rewrite(store, meta["splits"]["train"]["names"], lines)
        seal(store, meta)
        with pytest.raises(InputError, match=r"names\.jsonl is missing or damaged"):
            use(store)
    count("store: hostile names", injected=len(tried), survived=len(tried))


def test_a_jpeg_store_whose_records_are_other_pictures_is_refused(tmp_path: Path, count: Callable[..., None]) -> None:
    """Records of another size, mode or format, and none, each with the checksum that it has."""
    from PIL import Image

    prepare("builtin:60", tmp_path / "store", side=SIDE, format="jpeg", jobs=1)
    store = tmp_path / "store"
    meta = json.loads((store / "meta.json").read_bytes())
    pictures = []
    for size, mode, form in (((16, 16), "RGB", "JPEG"), ((SIDE, SIDE), "RGB", "PNG")):
        out = io.BytesIO()
        Image.new(mode, size).save(out, form)
        pictures.append(out.getvalue())
    pictures += [b"no picture at all", pictures[0][:-20]]
    train = meta["splits"]["train"]
    for data in pictures:
        index = load((store / train["index"]["file"]).read_bytes())
        size = train["shards"][0]["bytes"]
        sizes = index["sizes"].copy()
        sizes[0], sizes[1] = len(data), sizes[0] + sizes[1] - len(data)
        whole = (store / train["shards"][0]["file"]).read_bytes()
        changed = json.loads(json.dumps(meta))
        rewrite(store, changed["splits"]["train"]["shards"][0], (data + whole)[:size])
        index |= {"sizes": sizes, "crc32": np.concatenate([[zlib.crc32(data)], index["crc32"][1:]])}
        before = (store / train["index"]["file"]).read_bytes()
        rewrite(store, changed["splits"]["train"]["index"], save(index))
        seal(store, changed)
        with pytest.raises(InputError, match=r"train/00000\.bin is missing or damaged at picture 0"):
            Store(store)["train"].read(np.arange(1))
        (store / train["shards"][0]["file"]).write_bytes(whole)
        (store / train["index"]["file"]).write_bytes(before)
    count("store: forged JPEG records", injected=len(pictures), survived=len(pictures))


def tiny(path: Path, number: int) -> None:
    """A tar of that many PNGs of 8 x 8 pixels in ten classes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    with path.open("wb") as file:
        for n in range(number):
            row = b"\0" + struct.pack(">I", n) * 6
            data = start + chunk(b"IDAT", zlib.compress(row * 8, 1)) + chunk(b"IEND", b"")
            info = tarfile.TarInfo(f"{n % 10}/{n:08d}.png")
            info.size = len(data)
            file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
        file.write(bytes(1024))


PEAK = """
import json, re, resource, sys, time
import numpy as np
def peak():  # getrusage's would be that of whoever started this, if that is more
    return int(re.search("VmHWM:[^0-9]*([0-9]+)", open("/proc/self/status").read())[1]) << 10
"""
MAKING = (
    PEAK
    + """
from alexnet.data.prepare.prepare import prepare
started = time.monotonic()
prepare(sys.argv[1], sys.argv[2], side=8, jobs=2)
others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
print(json.dumps([peak(), others, time.monotonic() - started]))
"""
)
READING = (
    PEAK
    + """
import alexnet.data.dataset  # and with it torch, which takes seconds and 150 MB
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins here
from alexnet.data.store import Store
before, started = peak(), time.monotonic()
split = Store(sys.argv[2])["train"]
opened = time.monotonic() - started
for first in range(0, len(split), 1000):
    split.read(np.arange(first, min(first + 1000, len(split))))
used, read = peak() - before, time.monotonic() - started - opened
assert len(split.names) == len(split)
print(json.dumps([used, peak() - before, opened, read]))
"""
)


def told(code: str, *given: Path) -> list[float]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, given)]
    figures: list[float] = json.loads(
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    )
    return figures


def test_a_store_of_very_many_pictures_takes_little_memory(
    tmp_path: Path, torture: bool, count: Callable[..., None]
) -> None:
    """A million under torture, and a tenth of that, to tell what each takes."""
    few, many = (100_000, 1_000_000) if torture else (1_000, 5_000)
    made, read = {}, {}
    for number in (few, many):
        tiny(tmp_path / "source.tar", number)
        made[number] = told(MAKING, tmp_path / "source.tar", tmp_path / str(number))
        read[number] = told(READING, tmp_path / "source.tar", tmp_path / str(number))
    assert verify(tmp_path / str(many)) == []
    each = (made[many][0] - made[few][0]) / (many - few)
    assert made[many][0] < 2e9
    if torture:
        assert each < 1500
    own, others, seconds = made[many]
    figure = f"peak {own / 1e6:.0f} MB ({each:.0f} B a picture), a worker {others / 1e6:.0f} MB, {seconds:.0f} s"
    count(f"prepare {many:,} pictures of 8 x 8", injected=1, survived=1, figure=figure)
    own, named, opened, seconds = read[many]
    figure = f"{own / 1e6:.0f} MB, with names {named / 1e6:.0f} MB; opened in {opened:.2f} s, read in {seconds:.1f} s"
    count(f"read {many:,} pictures of 8 x 8", injected=1, survived=1, figure=figure)
