"""Build the documentation site: python benchmarks/docs_site.py OUT.

The pages of docs/, README.md and some others are copied into a folder of their own, with a reference written from the
package, and Zensical builds them strictly. A link of a page that works on GitHub works on the site, or is refused.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from docs_links import faults
from markdown_it import MarkdownIt

from alexnet.core.errors import InputError

ROOT = Path(__file__).parents[1]
# Pages outside docs/, and where the site has them. Those that are not there are left out.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "course/README.md": "course.md",
    "docs/guides/README.md": "guides/index.md",
    "results/README.md": "records.md",
}
WIDE = {"docs/paper.md"}  # pages whose tables need the room of the list of headings
LINK = re.compile(
    r"(?<!\\)(\[(?:[^\[\]]|\[[^\]]*\])*\])\(((?!https?:|mailto:)[^)\s]+)\)|(<img [^>]*?src=\")([^\"]+)(\")"
)
CODE = re.compile(r"^( *)(```|~~~).*?^\1\2[^\n]*$|(?<!`)(`+)(?!`).+?(?<!`)\3(?!`)", re.M | re.S)


def pages_of(root: Path) -> dict[str, str]:
    """Find the pages that the site has: from the path in the repository to the path on the site."""
    found = {f"docs/{path.name}": path.name for path in sorted((root / "docs").glob("*.md"))}
    found |= {f"docs/guides/{path.name}": f"guides/{path.name}" for path in sorted((root / "docs/guides").glob("*.md"))}
    return found | {page: name for page, name in OUTSIDE.items() if (root / page).is_file()}


def stage(root: Path, out: Path) -> None:
    """Copy the pages, the pictures and the configuration into a folder to build in.

    Args:
        root: The repository.
        out: Folder to make.

    Raises:
        InputError: A link of a page leads to no file.
    """
    pages = pages_of(root)
    for page, name in pages.items():
        text = ("---\nhide: [toc]\n---\n\n" if page in WIDE else "") + four_spaces(relinked(root, page, pages))
        (out / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "docs" / name).write_text(text, encoding="utf-8")
    for path in (root / "docs").glob("*.css"):
        shutil.copy(path, out / "docs")
    if (root / "docs/images").is_dir():
        shutil.copytree(root / "docs/images", out / "docs/images")
    shutil.copy(root / "docs/zensical.toml", out)


def relinked(root: Path, page: str, pages: dict[str, str]) -> str:
    """Read a page, with its relative links as the site needs them; a file that the site lacks becomes a name."""

    def target(link: str) -> str | None:
        path, _, anchor = link.partition("#")
        if not path:
            return link
        full = os.path.normpath(os.path.join(os.path.dirname(page), path))
        if not (root / full).exists():
            raise InputError(f"{page} links to {link}, and there is no file {full}")
        here = os.path.dirname(pages[page])
        there = pages.get(full, full.removeprefix("docs/") if full.startswith("docs/images/") else None)
        return None if there is None else os.path.relpath(there, here or ".") + (f"#{anchor}" if anchor else "")

    def replaced(found: re.Match[str]) -> str:
        label, link, before, picture, after = found.groups()
        if picture:
            return f"{before}{target(picture)}{after}"
        to = target(link)
        if to is not None:
            return f"{label}({to})"
        name = os.path.normpath(os.path.join(os.path.dirname(page), link))
        return (
            f"`{name}`"
            if label.strip("[]`").rstrip("/") in (name, os.path.basename(name))
            else f"{label[1:-1]} (`{name}`)"
        )

    text = (root / page).read_text(encoding="utf-8")
    return "".join(part if code else LINK.sub(replaced, part) for part, code in by_code(text))


def by_code(text: str) -> Iterator[tuple[str, bool]]:
    """Divide a page into what stands outside of code and what is code."""
    start = 0
    for found in CODE.finditer(text):
        yield text[start : found.start()], False
        yield found[0], True
        start = found.end()
    yield text[start:], False


def four_spaces(text: str) -> str:
    """Indent what belongs to an item of a list by four spaces, as Python-Markdown wants; CommonMark wants fewer."""
    items = [
        (token.map[0], token.map[1])
        for token in MarkdownIt("commonmark").enable("table").parse(text)
        if token.type == "list_item_open" and token.map
    ]
    lines = text.split("\n")
    width = {start: len(found[0]) for start, _ in items if (found := re.match(r" *([-*+]|\d+[.)]) +", lines[start]))}
    made: list[str] = []
    for number, line in enumerate(lines):
        around = [start for start, end in items if start < number < end]
        cut = min(width.get(max(around), 0), len(line) - len(line.lstrip(" "))) if around else 0
        if (
            not around
            and number in width
            and made
            and made[-1].strip()
            and number - 1 not in width
            and not ends_item(items, number)
        ):
            made.append("")  # CommonMark lets a list interrupt a paragraph
        made.append(" " * 4 * len(around) + line[cut:] if line.strip() else "")
    return "\n".join(made)


def ends_item(items: Sequence[tuple[int, int]], number: int) -> bool:
    """Say whether an item of a list ends right before a line."""
    return any(end == number for _, end in items)


def outside_nav(out: Path) -> list[str]:
    """List the pages to build that the navigation leaves out."""
    nav = tomllib.loads((out / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    docs = out / "docs"
    return sorted({str(path.relative_to(docs)) for path in docs.rglob("*.md")} - set(named(nav)))


def named(nav: Any) -> Iterator[str]:
    """List the pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for inner in nav.values():
            yield from named(inner)
    else:
        for inner in nav:
            yield from named(inner)


def build(out: Path) -> Path:
    """Build the staged pages strictly.

    Args:
        out: Folder that `stage` made.

    Returns:
        The folder with the built pages.

    Raises:
        InputError: A page is outside the navigation, Zensical warns, or a link of a built page leads nowhere.
    """
    if left := outside_nav(out):
        raise InputError(f"docs/zensical.toml: nav leaves out {', '.join(left)}")
    words = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(words, cwd=out, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True)
    if done.returncode:
        said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
        where = re.findall(r"^(?:Warning|Error): (.+)\n.*?\[ (\S+):\d+ \]", said, re.M)
        raise InputError("\n".join(f"{place}: {what}" for what, place in where) or f"zensical failed:\n{said}")
    if wrong := list(faults(out / "site")):
        raise InputError("\n".join(wrong))
    return out / "site"


def main(words: Sequence[str] | None = None) -> int:
    """Build the site; exit status 1 if a page is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the site; it is replaced if it holds a site")
    given = parser.parse_args(words)
    if given.out.exists() and not (given.out / "objects.inv").is_file() and any(given.out.iterdir()):
        print(f"{given.out} holds something else; name another folder", file=sys.stderr)
        return 2
    if importlib.util.find_spec("zensical") is None:
        print("the site needs Zensical: pip install 'alexnet[docs]'", file=sys.stderr)
        return 1
    import docs_reference  # after the parsing of words: it imports the package

    with tempfile.TemporaryDirectory() as folder:
        try:
            stage(ROOT, Path(folder))
            for name, text in docs_reference.pages(ROOT).items():
                (Path(folder) / "docs/reference").mkdir(exist_ok=True)
                (Path(folder) / "docs/reference" / name).write_text(text, encoding="utf-8")
            site = build(Path(folder))
        except InputError as error:
            print(error, file=sys.stderr)
            return 1
        shutil.rmtree(given.out, ignore_errors=True)
        shutil.copytree(site, given.out)
    print(f"{given.out}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
