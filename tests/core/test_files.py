import errno
import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from alexnet.core.errors import InputError
from alexnet.core.files import lock_file

DIES = """
import os, sys
from pathlib import Path
import filelock
from alexnet.core.files import lock_file
filelock.has_fcntl = sys.argv[2] == "native"
held = lock_file(Path(sys.argv[1]), "held")
os._exit(0)
"""


@pytest.fixture(params=["native", "soft"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use the system's locks, or the substitute where it has none."""
    monkeypatch.setattr(filelock, "has_fcntl", request.param == "native")
    return str(request.param)


def test_one_holds_a_file_until_the_context_is_left(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "made/.lock"
    for _ in range(2):
        with lock_file(path, "held by another"):
            for _ in range(2):
                with pytest.raises(InputError, match=r"^held by another$"):
                    lock_file(path, "held by another")
    assert path.exists() == (kind == "native")


def test_a_lock_is_held_before_its_context_is_entered(kind: str, tmp_path: Path) -> None:
    held = lock_file(tmp_path / ".lock", "held")
    with pytest.raises(InputError, match="held"):
        lock_file(tmp_path / ".lock", "held")
    with held:
        pass
    with lock_file(tmp_path / ".lock", "held"):
        pass


def test_the_lock_of_a_process_that_died_holds_nobody_up(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    subprocess.run([sys.executable, "-c", DIES, str(path), kind], check=True)
    assert path.exists()
    with lock_file(path, "held"):
        pass


def test_a_holder_may_remove_the_file_and_its_folder(kind: str, tmp_path: Path) -> None:
    """`prepare` does so at its end; the next process creates them again."""
    path = tmp_path / "work/.lock"
    for _ in range(2):
        with lock_file(path, "held"):
            path.unlink()
            path.parent.rmdir()
    assert not path.parent.exists()


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock, "lock_descriptor", fail)
    with pytest.raises(InputError, match=rf"^{tmp_path} is on a file system without locks \(No locks available\)"):
        lock_file(tmp_path / ".lock", "held")
