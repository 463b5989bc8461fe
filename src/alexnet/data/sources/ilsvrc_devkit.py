"""The synsets of ILSVRC, read from the development kit's meta.mat in a separate process.

scipy's reader trusts the sizes in the file. In a separate process its memory and time can be limited.
"""

import importlib.util
import io
import json
import sys
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.sources.limited import NO_LIBRARY, answer_of, limit_this_process
from alexnet.data.store import Class

# Reading an imitation of ILSVRC2012's 1,860 synsets takes 142 MB and 0.3 s.
MEMORY = 1 << 30  # bytes of address space that reading may take
SECONDS = 60  # of CPU time that reading may take
MOST = 1 << 24  # bytes of the answer, as JSON


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
    status, answered, why = answer_of("alexnet.data.sources.ilsvrc_devkit", "answer", id_field, data=mat)
    if status == NO_LIBRARY:
        raise InputError(needs.replace("is not installed", f"cannot be loaded ({why})"))
    try:
        if status:
            raise ValueError(why)
        found = json.loads(answered)
    except ValueError as error:
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
        sys.exit(NO_LIBRARY)
    limit_this_process(MEMORY, SECONDS)
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
