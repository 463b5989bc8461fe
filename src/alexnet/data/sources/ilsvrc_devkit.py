"""The synsets of ILSVRC, read from the development kit's meta.mat in a separate process.

scipy's reader trusts the sizes in the file. In a separate process its memory and time can be limited.
"""

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.core.process_pool import python_command
from alexnet.data.store import Class

# Reading an imitation of ILSVRC2012's 1,860 synsets takes 142 MB and 0.3 s.
MEMORY = 1 << 30  # bytes of address space that reading may take
SECONDS = 60  # of CPU time that reading may take
MOST = 1 << 24  # bytes of the answer, as JSON
NO_SCIPY = 3  # the exit status if scipy cannot be imported


def synsets(mat: bytes, path: Path, id_field: str) -> tuple[tuple[Class, ...], dict[str, int]]:
    """Read the classes in wnid order, and a map from each wnid to its number of training pictures.

    Args:
        mat: the bytes of meta.mat.
        path: the archive that they come from, for messages.
        id_field: the name of the field with the ILSVRC id, such as "ILSVRC2012_ID".

    Raises:
        InputError: the bytes are not a development kit's meta.mat, or scipy cannot be imported.
    """
    needs = f"{path} needs scipy, which is not installed; pip install scipy"
    if importlib.util.find_spec("scipy") is None:
        raise InputError(needs)
    done = subprocess.run(
        python_command("alexnet.data.sources.ilsvrc_devkit", "answer", id_field),
        input=mat,
        capture_output=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # each thread takes address space, which is limited
    )
    why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
    if done.returncode == NO_SCIPY:
        raise InputError(needs.replace("is not installed", f"cannot be loaded ({why})"))
    if done.returncode < 0:
        why = f"{signal.Signals(-done.returncode).name} ended the process that read it"
    try:
        if done.returncode:
            raise ValueError(why)
        found = json.loads(done.stdout.splitlines()[-1])  # libraries may have printed lines before
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: meta.mat is not the development kit's ({error}); fetch it again") from None
    classes = [Class(wnid, wnid=wnid, ilsvrc_id=number, words=words) for wnid, number, words, _ in found]
    return tuple(sorted(classes, key=lambda record: record.name)), {wnid: pictures for wnid, _, _, pictures in found}


def answer(id_field: str) -> None:
    """Print the leaves of meta.mat on standard input, as JSON: wnid, ILSVRC id, words, pictures."""
    mat = sys.stdin.buffer.read()
    try:
        from scipy.io import loadmat
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NO_SCIPY)
    _limit_this_process()
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
    except Exception as error:  # a damaged .mat can raise anything
        sys.exit(repr(error))
    print(found)


def _limit_this_process() -> None:
    """Limit this process's memory and CPU time, except on Windows, which has no such limits."""
    with suppress(ImportError):
        import resource

        for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(what)
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, limit))
