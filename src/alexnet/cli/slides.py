"""The command that writes a talk: slides."""

from pathlib import Path
from typing import Literal

from alexnet.cli.console import bar
from alexnet.cli.options import Threads, begin_threads


def slides(
    source: Path,
    out: Path,
    /,
    *,
    records: Path | None = None,
    lang: Literal["en", "zh"] = "en",
    pictures_at: str = "",
    threads: Threads = None,
) -> None:
    """Write the slides of a talk about the paper, with your run's pictures and the verdicts of records.

    OUT/slides.html is a page that needs nothing else: arrow keys turn the slides, n shows the notes, and the browser
    prints one slide a page. OUT/slides.md is the same for HackMD, with its pictures in OUT/pictures. The outline is
    that of the deck that the project was created from; its mistakes are corrected and marked. It needs the extra
    slides.

    Example: alexnet slides run talk --records results

    Example: alexnet slides results talk-zh --lang zh

    Parameters
    ----------
    source
        Folder of a run, for its curves, kernels and predictions; or of records, for the verdicts on the claims.
    out
        Folder to make.
    records
        Folder of records, beside a run.
    lang
        Language: en, or zh for traditional Chinese.
    pictures_at
        Address at which OUT will be published. HackMD needs one, because it shows no picture by a relative name.
    """
    from alexnet.reporting.slides.write import write_slides

    begin_threads(threads)
    with bar("draw", "pictures") as progress:
        paths = write_slides(source, out, records, lang, pictures_at, progress)
    for path in paths:
        print(path)
