"""A page of the course: one notebook in one language. It shows texts, questions with folded answers, and pictures."""

import base64
import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import marimo as mo

from coursekit import texts
from coursekit.texts import LANGUAGES, QUESTION, Language

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES: dict[str, Language] = {"English": "en", "正體中文": "zh"}
ANSWER = {"en": "Answer", "zh": "解答"}
FOLDED = re.compile(r"^/// details \| (.+?)\n(.*?)\n///$", re.M | re.S)
START: Language = "en"  # `alexnet course OUT --to copy --lang zh` writes "zh" here
DOTS = 110  # an inch; a figure of 12 inches is as wide as a page


class Text:
    """Markdown that marimo shows, and Jupyter too once the notebook is exported to it."""

    def __init__(self, source: str) -> None:
        self.source = source

    def _display_(self) -> mo.Html:
        return mo.md(self.source)

    def _repr_markdown_(self) -> str:
        """Return the text for Jupyter, which folds with HTML."""
        return FOLDED.sub(r"<details><summary>\1</summary>\n\n\2\n\n</details>", self.source)


class Picture:
    """A figure as PNG with a caption, which is its text for people who do not see it too."""

    def __init__(self, figure: "Figure", caption: str) -> None:
        from alexnet.figures.style import rendered

        self.png = rendered(figure, "png", DOTS)
        self.caption = caption

    def _repr_html_(self) -> str:
        words = html.escape(re.sub(r"<[^>]+>|[$*`]", "", self.caption), quote=True)
        data = base64.b64encode(self.png).decode()
        shown = mo.md(self.caption).text if self.caption else ""
        image = f'<img src="data:image/png;base64,{data}" alt="{words}" style="max-width: 100%; height: auto">'
        return f'<figure style="margin: 0.5rem 0">{image}<figcaption>{shown}</figcaption></figure>'

    def _mime_(self) -> tuple[str, str]:
        return "text/html", self._repr_html_()


class Page:
    """A notebook's texts in one language.

    Args:
        name: Name of the notebook without its suffix.
        language: "en" or "zh".

    Attributes:
        used: The numbers that each shown section was filled with, by its name.
    """

    def __init__(self, name: str, language: Language) -> None:
        self.name, self.language = name, language
        self.sections = texts.sections(name, language)
        self.used: dict[str, dict[str, object]] = {}

    def words(self, section: str, numbers: Mapping[str, object] | None = None) -> str:
        """Return the text of a section with its numbers, as Markdown.

        Raises:
            KeyError: There is no such section, or a number that it names is not given.
        """
        self.used[section] = dict(numbers or {})
        return texts.fill(self.sections[section], self.used[section], self.language)

    def say(self, section: str, **numbers: object) -> Text:
        """Show a section."""
        return Text(self.words(section, numbers))

    def picture(self, figure: "Figure", section: str, **numbers: object) -> Picture:
        """Show a figure with a section as its caption."""
        return Picture(figure, self.words(section, numbers))

    def questions(self, **numbers: object) -> Text:
        """Show the heading `questions`, then each section `question-N` with `answer-N` folded beneath it."""
        parts = [self.words("questions")]
        for place in (found[1] for section in self.sections if (found := QUESTION.fullmatch(section))):
            answer = self.words(f"answer-{place}", numbers)
            parts.append(f"**{place}.** {self.words(f'question-{place}', numbers)}")
            parts.append(f"/// details | {ANSWER[self.language]}\n{answer}\n///")
        return Text("\n\n".join(parts))

    def finish(self) -> Text:
        """Show the section `try`, and the notebook that comes next."""
        return Text(self.words("try"))


def language_switch() -> Any:
    """Make the switch of the language.

    It starts with the language of the notebook's address (?lang=zh) or command line (-- --lang zh), else with START.
    """
    asked = mo.query_params().get("lang") or mo.cli_args().get("lang") or START
    chosen = asked if asked in LANGUAGES else START
    start = next(name for name, language in NAMES.items() if language == chosen)
    return mo.ui.dropdown(cast(dict[str, Any], NAMES), value=start, allow_select_none=False, label="Language / 語言")
