"""Write the course to a folder: a copy to edit, pages of HTML that need no network, or notebooks of Jupyter."""

import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import marimo as mo

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import write
from coursekit.glossary import Language
from coursekit.page import Picture, Text
from coursekit.texts import names as names_of_texts
from coursekit.texts import title

HELPERS = ("coursekit/*.py", "texts/*.md", "glossary.csv")
START = b'START: Language = "%s"'  # the line of page.py
STYLE = """body { font: 17px/1.6 system-ui, "Noto Sans CJK TC", sans-serif; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem; color: #1b1f24; background: #fff }
figure { margin: 1.5rem 0 } figure img { max-width: 100%; height: auto } figcaption { color: #5a636e; font-size: .92em }
table { border-collapse: collapse; display: block; overflow-x: auto } td, th { border-bottom: 1px solid #d0d5db;
  padding: .25rem .7rem; text-align: left } td { font-variant-numeric: tabular-nums }
pre { background: #f3f4f6; padding: .7rem; overflow-x: auto } code { font-size: .92em }
abbr { text-decoration: underline dotted #8a94a0 } math[display=block] { overflow-x: auto; padding: .4rem 0 }
.control { background: #f3f4f6; padding: .2rem .7rem; display: inline-block; border-radius: .3rem; margin-right: .6rem }
summary { cursor: pointer; font-weight: 600 } .paragraph { display: block; margin: .9em 0 } li .paragraph { margin: 0 }
@media print { figure { break-inside: avoid } body { margin: 0 auto; font-size: 11pt } }
"""
FORMULA = re.compile(r'<marimo-tex class="arithmatex">\|\|([(\[])(.*?)\|\|[)\]]</marimo-tex>', re.S)
CONTROL = re.compile(r"<marimo-ui-element.*?</marimo-ui-element>", re.S)


def write_course(
    folder: Path,
    out: Path,
    to: str,
    names: Sequence[str],
    language: Language,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Write notebooks to a folder.

    Args:
        folder: Folder of the notebooks.
        out: Folder to write; it is made if it is missing.
        to: "copy", "html" or "ipynb".
        names: Names of the notebooks, without suffix.
        language: Language of pages and outputs, and that a copy starts with.
        progress: Function to call with the number of notebooks done and in all.

    Raises:
        InputError: `out` is no folder, or has a file of a name that would be written.
        WorkFailed: A notebook cannot be run.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder; name another")
    suffix = {"copy": "py"}.get(to, to)
    helpers = [] if to == "html" else helpers_of(folder)
    targets = [out / f"{name}.{suffix}" for name in names] + [out / path.relative_to(folder) for path in helpers]
    if there := [path for path in targets if path.exists()]:
        raise InputError(f"{there[0]} exists, and may have your changes; name another folder")
    for path in helpers:
        (out / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / path.relative_to(folder))
    if helpers and language != "en":
        page = out / "coursekit/page.py"
        write(page, [page.read_bytes().replace(START % b"en", START % language.encode())])
    out.mkdir(parents=True, exist_ok=True)
    for done, name in enumerate(names):
        progress(done, len(names))
        if to == "copy":
            shutil.copyfile(folder / f"{name}.py", out / f"{name}.py")
        elif to == "html":
            outputs, _ = outputs_of(folder, name, language)
            heading = title(name, language) if name in names_of_texts() else name[3:]
            write(out / f"{name}.html", [page_of(heading, outputs, language).encode()])
        else:
            _write_ipynb(folder, name, out / f"{name}.ipynb", language)
    progress(len(names), len(names))


def notebook(folder: Path, name: str) -> ModuleType:
    """Import a notebook, whose name is not that of a module."""
    spec = importlib.util.spec_from_file_location(f"course_{name}", folder / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs_of(folder: Path, name: str, language: Language, short: bool = False) -> tuple[list[Any], dict[str, Any]]:
    """Run a notebook, and return what its cells show, and its variables.

    Args:
        folder: Folder of the notebooks.
        name: Name of the notebook, without suffix.
        language: Language to show.
        short: Whether to run the short form, for tests.

    Raises:
        WorkFailed: A cell raised an error.
    """
    replaced: dict[str, Any] = {"switch": SimpleNamespace(value=language)} | ({"short": True} if short else {})
    try:
        outputs, variables = notebook(folder, name).app.run(defs=replaced)
    except InputError:
        raise
    except Exception as error:
        raise WorkFailed(f"{name}.py cannot be run: {type(error).__name__}: {error}") from error
    return [output for output in outputs if output is not None], dict(variables)


def page_of(heading: str, outputs: Sequence[Any], language: Language) -> str:
    """Write the outputs of a notebook as one page of HTML, without scripts and without files of other hosts."""
    body = "\n".join(f"<section>{shown(output)}</section>" for output in outputs)
    code = {"en": "en", "zh": "zh-Hant-TW"}[language]
    return (
        f'<!doctype html>\n<html lang="{code}"><head><meta charset="utf-8"><title>{html.escape(heading)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style></head>\n'
        f"<body><main>{body}</main></body></html>\n"
    )


def shown(output: object) -> str:
    """Write an output of a cell as HTML: formulas as MathML, and a slider as its label and value."""
    if isinstance(output, Picture):
        text = output._repr_html_()
    elif isinstance(output, Text):
        text = mo.md(output.source).text
    elif isinstance(output, mo.Html):
        text = output.text
    else:
        text = mo.as_html(output).text
    return CONTROL.sub(lambda found: _control(found[0]), FORMULA.sub(lambda found: _formula(*found.groups()), text))


def _formula(bracket: str, latex: str) -> str:
    from latex2mathml.converter import convert

    return convert(html.unescape(latex), display="block" if bracket == "[" else "inline")


def _control(element: str) -> str:
    """Show a slider or a menu as its label and first value."""
    said = {key: json.loads(html.unescape(value)) for key, value in re.findall(r" data-([\w-]+)='([^']*)'", element)}
    label = re.sub(r"<[^>]+>", "", said.get("label") or "")
    value = said.get("initial-value", "")
    if said.get("steps"):  # a slider over given steps holds the place of its value
        value = said["steps"][value]
    value = ", ".join(map(str, value)) if isinstance(value, list) else value
    return f'<span class="control">{html.escape(str(label))}: {html.escape(str(value))}</span>'


def _write_ipynb(folder: Path, name: str, out: Path, language: Language) -> None:
    """Let marimo run a copy of a notebook, since it writes its session beside it, and keep the .ipynb."""
    with tempfile.TemporaryDirectory(prefix="alexnet-course-") as scratch:
        for path in [folder / f"{name}.py", *helpers_of(folder)]:
            copy = Path(scratch) / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        made = Path(scratch) / f"{name}.ipynb"
        command = [sys.executable, "-m", "marimo", "-q", "export", "ipynb", f"{name}.py", "-o", str(made)]
        command += ["--include-outputs", "--no-sandbox", "--", "--lang", language]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode or not made.exists():
            why = " ".join((done.stderr or done.stdout).split())[-300:]
            raise WorkFailed(f"marimo cannot export {name}.py: {why}")
        write(out, [made.read_bytes()])


def helpers_of(folder: Path) -> list[Path]:
    """List the files that the notebooks of a folder share."""
    return [path for pattern in HELPERS for path in sorted(folder.glob(pattern))]
