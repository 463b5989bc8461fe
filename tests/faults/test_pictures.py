"""Hostile pictures: none crashes, hangs or takes over 500 MB; each is used, converted or refused with its reason."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image
from tests.faults import pictures
from tests.prepared import environment

from alexnet.data.images.limits import MOST_MEMORY
from alexnet.data.sources.archives import Slice, read
from alexnet.inference.pictures import read_picture

Count = Callable[..., None]
ROOT = Path(__file__).resolve().parents[2]
MOST = 500_000_000  # bytes that one picture may add to the process

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc to measure memory by")


@pytest.fixture
def nasty() -> Path:
    folder = Path(os.environ.get("ALEXNET_DATA") or ROOT.parent / "shared" / "data") / "nasty"
    if not folder.is_dir():
        pytest.skip("the awkward pictures are not here; set ALEXNET_DATA")
    return folder


def examined(*arguments: str) -> list[tuple[str, list[str] | str, int, float]]:
    """What a process of its own says of each picture; a crash or a hang ends it, and the test."""
    argv = [sys.executable, "-m", "tests.faults.pictures", *arguments]
    own = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(argv, cwd=ROOT, env=environment(own), capture_output=True, text=True, check=False)
    told = done.stdout.splitlines()
    assert done.returncode == 0, (told[-2:], "hung" if done.returncode == -signal.SIGPROF else done.stderr[-2000:])
    return [tuple(json.loads(line)) for line in told if not line.startswith("#")]


def figure(told: list[tuple[str, list[str] | str, int, float]]) -> str:
    """The worst, and how many were used."""
    used = sum(isinstance(said, list) for _, said, _, _ in told)
    memory, seconds = max(more for _, _, more, _ in told), max(seconds for *_, seconds in told)
    return f"{used} used; at most {memory / 1e6:.0f} MB more, {seconds:.1f} s of CPU"


def within(told: list[tuple[str, list[str] | str, int, float]]) -> int:
    """How many took less memory than promised; the time is held by the process itself."""
    assert [(name, more) for name, _, more, _ in told if more > MOST] == []
    return len(told)


def test_awkward_files_take_little_memory_and_time(nasty: Path, count: Count) -> None:
    """That each is used or refused as its index says is held in tests/data/images/test_decode.py."""
    told = examined("files", str(nasty / "files"))
    assert len(told) == 87
    count("picture: awkward files", injected=87, survived=within(told), figure=figure(told))


def test_bombs_are_used_or_refused_within_memory_and_time(tmp_path: Path, torture: bool, count: Count) -> None:
    for number, (name, made) in islice(enumerate(pictures.bombs(torture)), 0, None, 1 if torture else 2):
        (tmp_path / f"{number:02d} {name.replace('/', ' ')}").write_bytes(made())
    told = examined("files", str(tmp_path))
    for name, said, _, _ in told:
        if "60,000 x 60,000" in name or "20,000 scans" in name:
            assert said[:9] == "too large", (name, said)
    count("picture: bombs", injected=len(told), survived=within(told), figure=figure(told))


def test_the_largest_picture_of_each_kind_takes_less_than_500_MB_and_a_larger_one_is_refused(
    tmp_path: Path, torture: bool, count: Count
) -> None:
    """In `make test` a few of the kinds."""
    kinds = list(pictures.LARGEST) if torture else ["JPEG, turned", "WebP, alpha"]
    told = []
    for kind in kinds:
        each, made = pictures.LARGEST[kind]
        for share in (0.97, 1.06):
            path = tmp_path / f"{kind} {share}"
            path.write_bytes(made(int(share * MOST_MEMORY / each)))
        lines = examined("files", str(tmp_path))
        for path in tmp_path.iterdir():
            path.unlink()
        assert [isinstance(said, list) for _, said, _, _ in lines] == [True, False], lines
        assert "would take" in lines[1][1], lines
        told += lines
    count(
        "picture: the largest of each kind, and a larger",
        injected=len(told),
        survived=within(told),
        figure=figure(told),
    )


def test_fuzzed_pictures_are_used_or_refused(torture: bool, count: Count) -> None:
    """Every damage follows from its number: `python -m tests.faults.pictures fuzzed N N+1 FOLDER` repeats one."""
    folder = Path(os.environ.get("ALEXNET_DATA") or ROOT.parent / "shared" / "data") / "nasty/files"
    total, batch = (10_000, 1000) if torture else (500, 500)
    told = []
    for first in range(0, total, batch):
        told += examined("fuzzed", str(first), str(first + batch), str(folder) if folder.is_dir() else "")
    assert len(told) == total
    assert 0.02 < sum(isinstance(said, list) for _, said, _, _ in told) / total < 0.98
    count("picture: fuzzed", injected=total, survived=within(told), figure=figure(told))


def test_what_is_no_plain_file_is_refused_without_reading(tmp_path: Path, count: Count) -> None:
    """A pipe or a device may never end; a file of a terabyte need not be read to be refused."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "holes.jpg").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    paths = [Path("/dev/zero"), *sorted(tmp_path.iterdir())]
    said = {path.name: str(read_picture(path, 32)) for path in paths}
    assert said["holes.jpg"].startswith("too large: 1099511627776 bytes")
    assert "No such file" in said["gone.jpg"]
    assert {said[name] for name in ("zero", "pipe.jpg", "folder.jpg")} == {"not a plain file"}
    count("picture: pipe, device, folder, a terabyte", injected=5, survived=5)


def test_a_stream_that_ends_early_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    with pytest.raises(ValueError, match="shorter than when it was listed"):
        read(Slice(str(tmp_path / "x"), 0, 4))


SHORT = """
import resource, sys
from pathlib import Path
from alexnet.inference.pictures import read_picture
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20),) * 2)
both = [read_picture(Path(name), 32) for name in sys.argv[1:]]
print([found if isinstance(found, str) else found.shape for found in both])
"""


def test_a_picture_that_the_memory_is_too_short_for_is_an_error_in_its_place(tmp_path: Path, count: Count) -> None:
    for name, side in (("large", 9000), ("small", 90)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    command = [sys.executable, "-c", SHORT, *(str(tmp_path / name) for name in ("large.png", "small.png"))]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['not enough memory to read it', (32, 32, 3)]\n", "")
    count("picture: the memory is too short for it", injected=1, survived=1)
