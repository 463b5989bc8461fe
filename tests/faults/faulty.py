"""Processes in which one chosen call that changes a file fails, or is their last: faulty.c, preloaded."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

KILLED = 0  # in the place of an errno


@dataclass(frozen=True)
class Faulty:
    """The compiled library."""

    library: Path

    @staticmethod
    def built(folder: Path) -> "Faulty | None":
        """Compiled into `folder`; None where there is no C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            return None
        library, source = folder / "faulty.so", Path(__file__).with_name("faulty.c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        return Faulty(library)

    def counting(self, under: Path, seen: Path) -> dict[str, str]:
        """An environment in which nothing fails, and each call that changes a file below `under` makes a line."""
        return self.environment(under, 0, KILLED) | {"FAULTY_SEEN": str(seen)}

    def environment(self, under: Path, at: int, error: int, stay: bool = False) -> dict[str, str]:
        """An environment in which call number `at` fails with the errno `error`, and with `stay` all that follow.

        KILLED in its place ends the process there. A write has then written half of its bytes.
        """
        own = {"LD_PRELOAD": str(self.library), "FAULTY_UNDER": str(under), "FAULTY_AT": str(at)}
        own |= {"FAULTY_ERRNO": str(error)} | ({"FAULTY_STAY": "1"} if stay else {})
        return os.environ | {"OMP_NUM_THREADS": "1"} | own


def calls(seen: Path) -> list[str]:
    """The calls that `counting` saw, in turn: "write /a/file"."""
    return [line.split(" ", 1)[1] for line in seen.read_text(errors="surrogateescape").splitlines()]
