"""What tests of features share."""

from pathlib import Path

import pytest


@pytest.fixture
def damaged(pictures: Path, tmp_path: Path) -> list[Path]:
    """Write five files; the second and the fourth are not pictures."""
    files = [pictures / "blue/00.png", tmp_path / "a.png", pictures / "red/00.png", tmp_path / "b.png"]
    for path in (files[1], files[3]):
        path.write_bytes(b"no picture")
    return [*files, pictures / "green/03.png"]
