"""Coverage-guided fuzzing with atheris: `python -m tests.faults.fuzz pictures|archives FOLDER -runs=100000`.

FOLDER keeps what reached new lines; it is begun with the pictures or archives of the other fault tests.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["alexnet.data", "PIL", "tarfile", "zipfile"]):
    from alexnet.data.images import decode, limits, resize
    from alexnet.data.sources import archives
from tests.faults import pictures, test_archives

from alexnet.core.errors import InputError

WORK = Path(tempfile.mkdtemp())


def picture(data: bytes) -> None:
    """Anything but a picture or UnreadablePicture is a finding."""
    with contextlib.suppress(limits.UnreadablePicture):
        image, reasons = decode.decode(data)
        assert image.mode == "RGB"
        assert len(set(reasons)) == len(reasons)
        assert resize.square(image, 32).shape == (32, 32, 3)


def archive(data: bytes) -> None:
    """Anything but a listing, InputError, and for a member UnreadablePicture is a finding, and so is a file."""
    source = WORK / "x"
    source.write_bytes(data)
    with contextlib.suppress(InputError):
        for place in archives.list_files(source, WORK).places.values():
            with contextlib.suppress(limits.UnreadablePicture):
                assert len(archives.read(place)) == place.size
    for left in WORK.iterdir():
        assert left.name == "x" or left.name.startswith("source-")
        left.unlink()


def main(what: str, folder: str, *options: str) -> None:
    seeds = pictures.seeds(None) if what == "pictures" else test_archives.seeds()
    for number, seed in enumerate(seeds):
        (Path(folder) / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], folder, *options], {"pictures": picture, "archives": archive}[what])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
