"""ILSVRC's synsets from the development kit's meta.mat, which is read in a process of its own.

scipy's reader believes the sizes in the file: in there it may take so much memory and time, and no more.
"""

import importlib.util
import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from alexnet.data.store import Class
from alexnet.errors import UnusableError

# An imitation of ILSVRC2012's 1,860 synsets takes 142 MB and 0.3 s.
MEMORY = 1 << 30  # bytes of address space that reading may take
SECONDS = 60  # of CPU time
MOST = 1 << 24  # bytes of what is found, as JSON


def synsets(mat: bytes, path: Path, id_field: str) -> tuple[tuple[Class, ...], dict[str, int]]:
    """The classes in wnid order, and the number of training pictures of each; `path` is where the file comes from.

    Raises UnusableError for what is no such file, or without scipy.
    """
    if importlib.util.find_spec("scipy") is None:
        raise UnusableError(f"{path} needs scipy, which is not installed; pip install 'alexnet[ilsvrc]'")
    paths = {"PYTHONPATH": os.pathsep.join(map(str, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "alexnet.data.synsets", id_field],
        input=mat, capture_output=True, check=False, env=os.environ | paths,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"status {done.returncode}"
        why = said[-1] if said and done.returncode > 0 else f"reading it ended by {how}"
        raise UnusableError(f"{path}: meta.mat is not the development kit's ({why[:200]}); fetch it again")
    found = json.loads(done.stdout)
    classes = [Class(wnid, wnid=wnid, ilsvrc_id=number, words=words) for wnid, number, words, _ in found]
    return tuple(sorted(classes, key=lambda record: record.name)), {wnid: pictures for wnid, _, _, pictures in found}


def main(id_field: str) -> None:
    """The leaves of meta.mat on standard input, as JSON on standard output: wnid, ILSVRC id, words, pictures."""
    mat = sys.stdin.buffer.read()
    from scipy.io import loadmat

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        rows = loadmat(io.BytesIO(mat), squeeze_me=True)["synsets"]
        leaves = [
            (str(row["WNID"]), int(row[id_field]), str(row["words"]), int(row["num_train_images"]))
            for row in rows
            if int(row["num_children"]) == 0
        ]
        found = json.dumps(leaves)
        if len(found) > MOST:
            raise ValueError(f"{len(found)} bytes of synsets")
    except Exception as error:  # whatever a damaged or foreign .mat makes of itself
        sys.exit(repr(error))
    print(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
