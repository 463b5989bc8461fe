"""The course, as its notebooks find it: course/ is on the path, and the user's cache is a folder of the tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

COURSE = Path(__file__).parents[2] / "course"
sys.path.append(str(COURSE))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache, shared by the processes of pytest-xdist, so that one of them trains the short run."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "course-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared))
        yield shared
