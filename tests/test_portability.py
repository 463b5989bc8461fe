"""The package on a system that lacks what only Unix has."""

import os
import subprocess
import sys
from pathlib import Path

# Hide it before anything is imported; then prepare, open, train, load and predict.
ELSEWHERE = """
import asyncio, os, signal, sys  # asyncio itself needs os.sysconf here; some releases of torch import it
for name in ("fcntl", "resource"):
    sys.modules[name] = None
for name in ("preadv", "pread", "pwrite", "sched_getaffinity", "sysconf", "posix_fallocate"):
    delattr(os, name)
del signal.SIGHUP
import alexnet
from PIL import Image
from alexnet.data.sources.drawings import draw

store, run, picture = sys.argv[1:]
made = alexnet.prepare("builtin:20", store, side=64)
split = alexnet.Store(store)["val"]
assert (made.pictures, len(split), split[0][0].shape) == ({"train": 16, "val": 4}, 4, (64, 64, 3))
changes = {"channels": (8, 8, 8, 8, 8), "hidden": 16}
recipe = alexnet.RECIPES["tiny"].replace(net=changes, sgd={"batch": 8}, epochs=1)
for resume in (False, True):  # the lock of the first is not left behind
    alexnet.train(store, run, recipe, device="cpu", quiet=True, resume=resume)
net = alexnet.load(run)
Image.fromarray(draw(0)).save(picture)
(predicted,) = alexnet.predict(run, picture)
print("predicted", predicted)
"""


def test_it_works_without_what_only_unix_has(tmp_path: Path) -> None:
    places = [str(tmp_path / name) for name in ("store", "run", "picture.png")]
    command = [sys.executable, "-c", ELSEWHERE, *places]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert done.stdout.startswith("predicted ")
