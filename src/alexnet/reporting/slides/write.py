"""Write a deck as a folder: Markdown for HackMD, a page that needs no network, and the pictures."""

import re
from collections.abc import Callable
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.core.text import escape_control
from alexnet.interop.exporting import place
from alexnet.reporting.slides.page import renderer, write_page
from alexnet.reporting.slides.pictures import Pictures, draw_pictures
from alexnet.reporting.slides.source import Source, open_source
from alexnet.reporting.slides.words import FOLDER, Language, write_words

Progress = Callable[[int, int], None]
ADDRESS = r"https?://[^\s\"'<>()\[\]\\?#\x00-\x20\x7f]+"  # of a folder, as Markdown and HTML can hold it


def write_slides(
    source: Path,
    out: Path,
    records: Path | None = None,
    language: Language = "en",
    pictures_at: str = "",
    progress: Progress = lambda done, of: None,
) -> list[Path]:
    """Write a deck to a new folder.

    Args:
        source: Folder of a run, or of records.
        out: Folder to make.
        records: Folder of records, beside a run.
        language: "en", or "zh" for traditional Chinese.
        pictures_at: Address of the published folder, for slides.md; by default its pictures have relative names.
        progress: Function called with the number of pictures drawn, and that of all.

    Returns:
        slides.md and slides.html.

    Raises:
        InputError: `source` is neither a run nor records, `out` exists or has no parent folder, or a package of the
            extra is missing.
        WorkFailed: The folder cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} exists; slides never replace a folder, which may hold your changes: give a new one")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out} cannot be made, because {out.absolute().parent} is not a folder; make it first")
    if pictures_at and not re.fullmatch(ADDRESS, pictures_at):
        raise InputError(
            f"--pictures-at {escape_control(pictures_at)} is not an address; "
            f"it begins with https:// or http://, and has no spaces, quotes, brackets, ? or #"
        )
    renderer()  # refuses before the work
    opened = open_source(source, records)
    place(deck(opened, draw_pictures(opened, progress), language, pictures_at), out)
    return [out / "slides.md", out / "slides.html"]


def deck(source: Source, pictures: Pictures, language: Language, pictures_at: str = "") -> dict[str, bytes]:
    """Make the files of a deck, by their names in its folder."""
    at = f"{pictures_at.rstrip('/')}/" if pictures_at else ""
    text, used = write_words(source, pictures, language, at)
    shown = {name: png for name in used if isinstance(png := pictures[name], bytes)}
    page = write_page(text, shown, language)
    files = {"slides.md": text.encode(errors="replace"), "slides.html": page.encode(errors="replace")}
    return files | {f"{FOLDER}/{name}.png": png for name, png in shown.items()}
