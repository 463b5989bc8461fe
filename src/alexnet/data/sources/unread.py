"""Kinds of data that are not read as they are, known by their names, and how to go on with each."""

import re
from collections.abc import Iterable

BY_PYTHON = "read it in Python, and give alexnet.prepare() the pairs (picture, label)"
SPREADSHEET = r".*\.(xlsx|xlsm|xls|ods)"
# A pattern of a file's name, in lower case; what the file is; what to do.
KINDS = (
    (r"data\.mdb", "an LMDB database", BY_PYTHON),
    (r".*\.tfrecords?(-\d+-of-\d+)?", "TensorFlow's records", BY_PYTHON),
    (r".*\.rec", "MXNet's records", BY_PYTHON),
    (r".*\.beton", "FFCV's records", BY_PYTHON),
    (r".*\.np[yz]", "NumPy's arrays", BY_PYTHON),
    (r".*\.(h5|hdf5)", "HDF5", BY_PYTHON),
    (r".*\.mat", "MATLAB's arrays", BY_PYTHON),
    (r".*-idx\d-ubyte", "MNIST's files", BY_PYTHON),
    (r".*\.(pt|pth|pkl|pickle)", "pickles", BY_PYTHON),
    (r".*\.arrow", "Arrow tables", "save them with to_parquet(), or " + BY_PYTHON),
    (r".*\.parquet", "Parquet tables", "give a folder that has only them, or one of them"),
    (SPREADSHEET, "a spreadsheet", "save it as a CSV with the columns path and label"),
    (r".*\.cls", "the files of a WebDataset shard", "give the .tar files instead"),
    (r".*\.(zip|tar|gz|tgz|7z|rar)", "archives", "unpack them, or give one of them"),
)


def is_spreadsheet(name: str) -> bool:
    """Return whether a file is a spreadsheet by its name."""
    return bool(re.fullmatch(SPREADSHEET, name.lower(), re.DOTALL))


def way_on(names: Iterable[str]) -> str:
    """Say what files are by their names, and how to go on; "" if they are of no known kind."""
    last = sorted({name.rpartition("/")[2] for name in names})
    if {"train", "test", "meta"} <= set(last):
        return "this looks like CIFAR-100; give the folder that has these three files"
    for pattern, what, advice in KINDS:
        if found := next((name for name in last if re.fullmatch(pattern, name.lower(), re.DOTALL)), None):
            return f"{found!r} looks like {what}; {advice}"
    return ""
