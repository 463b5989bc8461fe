"""The page that says what was injected names the tests that inject it."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"


def test_every_file_of_fault_tests_stands_in_the_pages_and_every_file_there_exists() -> None:
    pages = [(DOCS / name).read_text(encoding="utf-8") for name in ("reliability.md", "parallel.md")]
    named = {name for page in pages for name in re.findall(r"\btest_\w+\.py", page)}
    assert {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name} <= named
    assert named <= {path.name for path in HERE.parent.rglob("test_*.py")}
