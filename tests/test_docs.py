"""What README and docs/ name is there: files, the names in them, and tests. docs/log.md tells of the past."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "SECURITY.md", "benchmarks/README.md"]
PAGES += [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "log.md"]
NAMED = re.compile(r"`([\w/]+\.(?:py|cpp|sh))`(?: \(`(\w+)`\))?")  # `models/layers.py` (`initialise`)


@cache
def files_of_tests() -> dict[str, str]:
    """The text of the files of tests, by their names; two packages may have a file of one name."""
    texts: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        texts[path.name] = texts.get(path.name, "") + path.read_text()
    return texts


def text_of(file: str) -> str:
    """The text of a file as the docs call it: from the package, the top, or by a name alone; empty if there is none."""
    for folder in (ROOT / "src/alexnet", ROOT, ROOT / "benchmarks"):
        if (folder / file).is_file():
            return (folder / file).read_text()
    return files_of_tests().get(file, "")


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_names_is_there_and_defines_what_stands_beside_it(page: str) -> None:
    for file, name in NAMED.findall((ROOT / page).read_text()):
        text = text_of(file)
        assert text, f"{page} names {file}"
        assert not name or re.search(rf"(def |class |^ *){name}\b *[(:=]", text, re.M), f"{page}: {name} in {file}"


@pytest.mark.parametrize("page", PAGES)
def test_each_test_that_a_page_names_is_there(page: str) -> None:
    for name in re.findall(r"`(test_\w+_\w+)`", (ROOT / page).read_text()):  # `test_set` is a split's name
        assert any(f"def {name}(" in text for text in files_of_tests().values()), f"{page} names {name}"


def test_each_room_of_the_readmes_tree_is_there_and_none_is_left_out() -> None:
    tree = (ROOT / "README.md").read_text().split("src/alexnet/\n")[1].split("tests/ ")[0]
    rooms = {path.parent.name for path in (ROOT / "src/alexnet").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/", tree, re.M)) == rooms
