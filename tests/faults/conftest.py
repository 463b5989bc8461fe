"""What the fault tests share: how many faults to inject, and a count of what became of them for docs/reliability.md."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.faults.faulty import Faulty
from tests.faults.lives import Lives
from tests.prepared import SHARD, SIDE, begin, draw, end, fingerprint
from tests.trained import Whole

from alexnet.config.recipe import Recipe
from alexnet.data.prepare import plan
from alexnet.data.prepare.prepare import prepare

HERE = Path(__file__).parent


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Counts the faults that a test injected, how many of them ended as promised, and the bytes that were lost.

    ``count("SIGKILL in training", injected=50, survived=50, figure="0.3 s to resume")`` makes a line of the table that
    ends the tests' output, and asserts that each fault was survived and nothing lost.
    """

    def tell(fault: str, *, injected: int, survived: int, lost: int = 0, figure: str = "") -> None:
        line = {"fault": fault, "injected": injected, "survived": survived, "lost": lost, "figure": figure}
        request.node.user_properties.append(("fault", line))
        assert injected > 0
        assert (survived, lost) == (injected, 0), line

    return tell


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """Makes processes whose calls to the file system fail."""
    made = Faulty.built(tmp_path_factory.mktemp("faulty"))
    if made is None:
        pytest.skip("no C compiler, to build what makes system calls fail")
    return made


@pytest.fixture(scope="session")
def lives() -> Iterator[Lives]:
    """Begins processes of the command."""
    with Lives() as made:
        yield made


@pytest.fixture(scope="session")
def doomed(faulty: Faulty) -> Iterator[Lives]:
    """The same, whose calls may fail."""
    with Lives(faulty.library) as made:
        yield made


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six small pictures; one is none, one is gray."""
    root = tmp_path_factory.mktemp("preparing") / "source"
    draw(root, 6)
    (root / "cat/note.txt").write_text("no picture")
    Image.new("L", (40, 40), 9).save(root / "dog/gray.png")
    return root


@pytest.fixture(scope="session")
def undisturbed(source: Path) -> dict[str, str]:
    """The files of a store of it that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARD_BYTES", SHARD)
        prepare(source, source.parent / "undisturbed", side=SIDE, jobs=1)
    return fingerprint(source.parent / "undisturbed")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pictures in each, where this process prepares."""
    monkeypatch.setattr(plan, "SHARD_BYTES", SHARD)


@pytest.fixture(scope="session")
def longer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], float]:
    """A source that takes a second or more, its store's bytes, and the seconds."""
    root = tmp_path_factory.mktemp("longer")
    draw(root / "source", 40, 300)
    started = time.monotonic()
    assert end(begin(["prepare", root / "source", root / "store", "--side", str(SIDE), "--jobs", "2"])) == (0, [])
    return root / "source", fingerprint(root / "store"), time.monotonic() - started


@pytest.fixture
def mounts(tmp_path: Path) -> None:
    """Skips where no file system may be mounted."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="session")
def whole(store: Path, small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Runs that nothing happens to."""
    return Whole(tmp_path_factory.mktemp("whole"), small, store)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let soaks and the like run without the others' limit of ten minutes, under `make torture`."""
    for item in items:
        if HERE in item.path.parents and config.getoption("--torture"):
            item.add_marker(pytest.mark.timeout(4 * 3600), append=False)
