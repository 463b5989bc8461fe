"""Parts that all figures share: colours, empty figures, short names, and files with the same bytes each time."""

import io
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alexnet.core.files import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Importing Matplotlib takes as long as drawing a figure, so it is imported only where a figure is made.

INK, SOFT, PALE, TRUE, FALSE = "#1b1f24", "#5a636e", "#e3e6ea", "#b4261a", "#a9bdd6"
TOWERS = ("#dbe6f3", "#f6e3c5")  # of light and dark on a grey print: both pale, told apart by their place
# Told apart without colour. "does not hold" is what alexnet 0.1.0 called "opposite".
MARKS = {
    "holds": "●",
    "opposite": "✕",
    "absent": "⊘",
    "not shown": "○",
    "not decided": "–",
    "not run": "–",
    "does not hold": "✕",
}
# Fonts with Chinese, Japanese and Korean letters, which Matplotlib's own font lacks; the first installed one is taken.
WIDE = (
    "Noto Sans CJK TC", "Noto Sans CJK JP", "Noto Sans TC", "PingFang TC", "Heiti TC", "Microsoft JhengHei",
    "Source Han Sans TW", "Noto Serif CJK TC", "WenQuanYi Zen Hei", "Arial Unicode MS",
)  # fmt: skip
FIRST_WIDE = "\u2e80"  # the first letter of those scripts
LARGE, TEXT, SMALL = 15, 13, 11  # points; a figure is about 12 inches wide, like a slide


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, sizes in inches, without a window or global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def title(figure: "Figure", words: str) -> None:
    """Write a heading at the top left."""
    figure.suptitle(words, x=0.012, ha="left", fontsize=LARGE, weight="bold", color=INK, parse_math=False)


def footnote(figure: "Figure", words: str, across: int = 118) -> None:
    """Write sentences under a figure, wrapped into lines."""
    lines = "\n".join(textwrap.fill(line, across) for line in words.splitlines())
    figure.supxlabel(lines, x=0.012, ha="left", fontsize=TEXT, color=INK, parse_math=False, linespacing=1.35)


def short(name: str, longest: int) -> str:
    """Shorten a class name: the first of several names, cut to `longest` characters."""
    first = name.split(",")[0]
    return first if len(first) <= longest else first[: longest - 1] + "…"


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write `path`.png and `path`.svg, and return both paths; the same figure gives the same bytes."""
    png, svg = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    write(png, [rendered(figure, "png")])
    write(svg, [rendered(figure, "svg")])
    return [png, svg]


def rendered(figure: "Figure", format: Literal["png", "svg"], dots: int = 150) -> bytes:
    """Render the figure to the bytes of a file without a date, at `dots` per inch."""
    import matplotlib

    out = io.BytesIO()
    choose_fonts(figure)
    metadata = {"Software": None} if format == "png" else {"Date": None}
    # The identifiers in an SVG are random without a salt.
    with matplotlib.rc_context({"svg.hashsalt": "alexnet"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class name in a script that no font has shows as boxes
        figure.savefig(out, format=format, dpi=dots, metadata=metadata)
    return out.getvalue()


def choose_fonts(figure: "Figure") -> None:
    """Let words in Chinese, Japanese or Korean, such as names of classes, use a font of the machine that has them."""
    from matplotlib.text import Text

    wide = [
        each
        for each in figure.findobj(Text)
        if isinstance(each, Text) and max(each.get_text(), default="") >= FIRST_WIDE
    ]
    if wide:
        from matplotlib.font_manager import fontManager

        installed = {font.name for font in fontManager.ttflist}
        if found := next((name for name in WIDE if name in installed), None):
            for each in wide:
                each.set_fontfamily([*each.get_fontfamily(), found])


def caption_below(axes: "Axes", words: str, **style: Any) -> None:
    """Write a caption under a picture."""
    axes.text(0.5, -0.03, words, transform=axes.transAxes, ha="center", va="top", color=INK, parse_math=False, **style)
