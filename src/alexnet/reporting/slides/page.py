"""One HTML page of a deck that needs nothing else: pictures, formulas, style and script are inside."""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from alexnet.core.errors import InputError
from alexnet.reporting.slides.marks import add_marks
from alexnet.reporting.slides.words import CODES, FOLDER, Language

LONG = 10  # items of a list that need small print
SHORT, MIDDLE = 420, 800  # letters of a slide with the largest and with large print
SAYS: Mapping[Language, Mapping[str, str]] = {
    "en": {"before": "previous slide", "after": "next slide", "notes": "notes (n)", "slides": "slides"},
    "zh": {"before": "上一張", "after": "下一張", "notes": "備註 (n)", "slides": "投影片"},
}
CORRECTED = ("<strong>Correct", "<strong>更正", "<strong>查證", "<strong>Checked")


def write_page(text: str, pictures: Mapping[str, bytes], language: Language) -> str:
    """Write the page of a deck.

    Args:
        text: The deck's Markdown, whose pictures have names in `pictures`.
        pictures: PNG files by their names.
        language: "en" or "zh".

    Raises:
        InputError: A package of the extra `slides` is missing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    (title,) = re.findall(r"^title: (.*)$", head, re.M)
    render = renderer()
    slides = [slide(render, part, pictures) for part in re.split(r"^-{3,4}$", body, flags=re.M)]
    source = files("alexnet.reporting.slides") / "page"
    script = (source / "slides.js").read_text()
    made = Environment(
        loader=PackageLoader("alexnet.reporting.slides", "page"), autoescape=True, undefined=StrictUndefined
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return made.get_template("slides.html.jinja").render(
        title=title.strip('"'),
        slides=slides,
        code=CODES[language],
        style=_safe((source / "slides.css").read_text()),
        script=_safe(script),
        digest=digest,
        says=SAYS[language],
    )


def renderer() -> Any:
    """Make the function that turns Markdown into HTML, with formulas as MathML; no HTML of the text passes."""
    try:
        from latex2mathml.converter import convert
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin
    except ImportError as error:
        raise InputError(f"slides need {error.name}; install them with pip install 'alexnet[slides]'") from None

    def formula(latex: str, options: Mapping[str, Any]) -> str:
        return str(convert(latex, display="block" if options["display_mode"] else "inline"))

    made = MarkdownIt("commonmark", {"html": False}).enable("table").use(dollarmath_plugin, renderer=formula)
    made.use(add_marks)
    return made.render


def slide(render: Any, text: str, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """Turn the Markdown of one slide into HTML: its body, its notes, and the classes of its layout."""
    shown, _, notes = text.partition("\nNote:")
    body = render(shown)
    for name in CORRECTED:
        body = body.replace(f"<blockquote>\n<p>{name}", f'<blockquote class="correction">\n<p>{name}')
    layout = "opening" if "<h1>" in body or not re.search("<(p|ul|ol|table|math)", body) else size(body)
    body = re.sub(r"<p>(<img [^>]*>)</p>", r'<p class="picture">\1</p>', body)
    body = re.sub(rf'src="[^"]*{FOLDER}/([\w-]+)\.png"', lambda of: f'src="{inside(pictures[of[1]])}"', body)
    return {"body": _safe(body), "notes": _safe(render(notes)), "layout": layout}


def inside(png: bytes) -> str:
    """Return a picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def size(body: str) -> str:
    """Choose the size of a slide's print: a slide of few words without a picture or a table has the largest."""
    if body.count("<li>") > LONG:
        return "small"
    if "<img" in body or "<table" in body:
        return ""
    words = re.sub("<[^>]+>", "", body)
    length = len(words) + sum(each > "\u2e80" for each in words)  # a Chinese character is as wide as two letters
    return "largest" if length < SHORT else "large" if length < MIDDLE else ""


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)
