"""What tests look at in a store, pictures to prepare one of, and the command that does so in a process of its own."""

import hashlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 32
SHARD = 4 * SIDE * SIDE * 3  # bytes of a small one, of four pictures
SMALL = f"from alexnet.data.prepare import plan\nplan.SHARD_BYTES = {SHARD}\n"  # what makes them so
PATIENCE = 60.0  # seconds; nothing here takes so long unless it hangs


def draw(root: Path, each: int, size: int = 40, classes: Sequence[str] = ("cat", "dog")) -> Path:
    """Folders of noise, so many pictures in each."""
    noise = np.random.Generator(np.random.Philox(3))
    for name in classes:
        (root / name).mkdir(parents=True)
        for n in range(each):
            Image.fromarray(noise.integers(0, 256, (size, size + 8, 3), np.uint8)).save(root / name / f"{n}.png")
    return root


def fingerprint(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def finished(store: Path) -> dict[str, int]:
    """The inodes of the shards that are done, in the work folder or the store."""
    done = {path.stem for path in store.with_name(store.name + ".part").glob("records/*.json")}
    shards = [*store.with_name(store.name + ".part").glob("store/*/*.bin"), *store.glob("*/*.bin")]
    return {
        f"{path.parent.name}/{path.name}": path.stat().st_ino
        for path in shards
        if store.exists() or f"{path.parent.name}-{path.name}" in done
    }


def environment(own: dict[str, str]) -> dict[str, str]:
    """That of a process of one thread, which finds the same modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | own


def begin(
    arguments: Sequence[object],
    *,
    before: str = "",
    shell: str = "",
    shard: int = SHARD,
    own: dict[str, str] | None = None,
) -> "subprocess.Popen[str]":
    """The command line in a process of its own with small shards, after Python statements or a shell's."""
    code = f"{textwrap.dedent(before)}\n{SMALL.replace(str(SHARD), str(shard))}"
    code += "import sys\nfrom alexnet.__main__ import main\nmain()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if shell:
        command = ["unshare", "-m", "sh", "-ec", shell, "sh", *command]
    return subprocess.Popen(
        command,
        env=environment(own or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Exit status and the lines on standard error; hanging is a failure."""
    try:
        _, words = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("it hangs")
    assert "Traceback" not in words, words
    return process.returncode, words.splitlines()
