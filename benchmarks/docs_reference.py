"""Write the reference of the documentation site from docstrings, recipes, claims and the command line."""

import dataclasses
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

import alexnet
from alexnet.cli import choices
from alexnet.cli.main import VERBS, app
from alexnet.config import recipe
from alexnet.config.overrides import to_plain
from alexnet.config.recipes import RECIPES
from alexnet.studies.claim import MEASURES, Claim
from alexnet.studies.claims import CLAIMS

# Classes that the public functions take and return, without being public names themselves.
RESULTS = {
    "training.options.TrainOptions": "what `train` takes as keywords",
    "data.prepare.prepare.Summary": "what `prepare` returns",
    "fitting.fit.Fit": "what `fit` returns",
    "inference.evaluation.Evaluation": "what `train` and `evaluate` return",
    "inference.evaluation.Errors": "the errors of an evaluation",
    "inference.measures.Measures": "the other measures of an evaluation",
    "inference.features.Features": "what `features` returns",
    "interop.importing.Imported": "what `import_weights` returns",
    "interop.exporting.Exported": "what `export` returns",
}
FIELDS = {each.name for each in dataclasses.fields(recipe.Recipe)}
NAMED = re.compile(r"^    (\w+) {2,}(.+)$")  # a name of the docstring of the package, and what it does


def pages(root: Path) -> dict[str, str]:
    """Write all pages of the reference, by their names below reference/.

    Args:
        root: The repository; its docs/paper.md has the verdicts.
    """
    groups = groups_of(alexnet.__doc__ or "")
    made = {f"{file_of(title)}.md": python_page(title, names) for title, names in groups.items()}
    made["options-and-results.md"] = results_page()
    made["index.md"] = index_page(groups)
    made["cli.md"] = command_line()
    made["recipe-fields.md"] = recipe_fields()
    made["claims.md"] = claims_page((root / "docs/paper.md").read_text(encoding="utf-8"))
    return made


def file_of(title: str) -> str:
    """Make a name of a file from a title."""
    return title.lower().replace(" ", "-")


def groups_of(docstring: str) -> dict[str, dict[str, str]]:
    """Read the groups of public names in the docstring of the package: by title, each name with what it does."""
    groups: dict[str, dict[str, str]] = {}
    title = ""
    for line in docstring.splitlines():
        if found := NAMED.match(line):
            groups.setdefault(title, {})[found[1]] = found[2]
        elif line and not line[0].isspace():
            title = line
    missing = set(alexnet.__all__) - {"__version__"} - {name for names in groups.values() for name in names}
    if missing:
        raise SystemExit(f"the docstring of alexnet leaves out {', '.join(sorted(missing))}")
    return groups


def python_page(title: str, names: dict[str, str]) -> str:
    """Write the page of a group of public names, for mkdocstrings to fill."""
    fields = "[The fields of a recipe](recipe-fields.md) have a page of their own.\n\n" if "Recipe" in names else ""
    return f"# {title}\n\n{fields}" + "".join(entry(name) for name in names)


def entry(name: str) -> str:
    """Write the place of a public name; the value of RECIPES is data, which its own page has."""
    if name == "RECIPES":
        words = ", ".join(f"`{each}`" for each in RECIPES)
        more = "[What each trains](../recipes.md)."
        return f"## RECIPES\n\nThe named recipes, a mapping from name to `Recipe`: {words}. {more}\n\n"
    return of_recipe() if name == "Recipe" else f"::: alexnet.{name}\n\n"


def of_recipe() -> str:
    """Write the place of Recipe without its fields, which have a page of their own; their defaults are calls here."""
    own = [
        name for name, value in vars(recipe.Recipe).items() if name[0] != "_" and value.__doc__ and name not in FIELDS
    ]
    hidden = "    options:\n      members: false\n      show_signature: false\n      show_docstring_parameters: false\n"
    parts = [f"::: alexnet.Recipe\n{hidden}"]
    parts += [f"::: alexnet.Recipe.{name}\n    options:\n      heading_level: 3\n" for name in own]
    return "\n".join(parts) + "\n"


def results_page() -> str:
    """Write the page of the classes that public functions take and return."""
    parts = ["# Options and results", "", "|class|what it is|", "|---|---|"]
    parts += [f"|[`{name.rpartition('.')[2]}`](#alexnet.{name})|{words}|" for name, words in RESULTS.items()]
    numpy = "    options:\n      docstring_style: numpy\n"  # which the command line reads, too
    parts += ["", *(f"::: alexnet.{name}\n{numpy if 'Options' in name else ''}" for name in RESULTS)]
    return "\n".join(parts)


def index_page(groups: dict[str, dict[str, str]]) -> str:
    """Write the first page of the reference: each public name with what it does."""
    lines = ["# Reference", ""]
    lines += [
        "The [command line](cli.md), the [fields of a recipe](recipe-fields.md), and the public names of Python:",
        "",
    ]
    lines += ["", "[Options and results](options-and-results.md) has the classes that these take and return.", ""]
    for title, names in groups.items():
        lines += [f"## [{title}]({file_of(title)}.md)", "", "|name|what it does|", "|---|---|"]
        lines += [f"|[`{name}`]({file_of(title)}.md#{anchor(name)})|{words}|" for name, words in names.items()]
        lines += [""]
    return "\n".join(lines)


def anchor(name: str) -> str:
    """Return the anchor of a public name on its page."""
    return "recipes" if name == "RECIPES" else f"alexnet.{name}"


def command_line() -> str:
    """Write the page of all commands from their help."""
    choices.write_recipe_names(VERBS, ["--install-completion"])  # of all verbs
    text = app.generate_docs(output_format="markdown")
    start = text.index("**Commands**")
    text = "# Command line\n\n" + text[start:]
    text = re.sub(r"^Example: (.+)$", r"```console\n$ \1\n```", text, flags=re.M)
    text = re.sub(r"\[`([\w-]+)`\]\(#[\w-]+\)", r"[`\1`](#alexnet-\1)", text)  # also of --install-completion
    text = re.sub(r"\bdocs/([\w-]+\.md)\b", r"[docs/\1](../\1)", text)
    return re.sub(r"^\* ", "- ", text, flags=re.M)


def recipe_fields() -> str:
    """Write a table of the fields of each part of a recipe, from the dataclasses."""
    lines = ["# Recipe fields", ""]
    lines += [
        "`--set NAME=VALUE` changes a field, as `Recipe.replace` does ([how](../recipes.md#change-a-recipe)).",
        "",
    ]
    lines += ["The defaults are those of recipe `paper`; `alexnet recipe NAME` prints a recipe's own values. "]
    lines += ["A number at the start of a note is a section of the paper.", ""]
    for kind, names in parts_of(recipe.Recipe, "").items():
        lines += [f"## {kind.__name__}{': ' + ' or '.join(f'`{name}`' for name in names) if names[0] else ''}", ""]
        lines += [line_of(kind.__doc__), "", "|field|default|note|", "|---|---|---|"]
        for each in dataclasses.fields(kind):
            full = ", ".join(f"`{f'{name}.{each.name}'.strip('.')}`" for name in names)
            lines.append(f"|{full}|{default_of(each)}|{in_cell(each.metadata['note'])}|")
        lines += [""]
    return "\n".join(lines)


def parts_of(kind: type, place: str) -> dict[type, list[str]]:
    """Find the dataclasses that a recipe is made of, each with the fields that may hold it."""
    found: dict[type, list[str]] = {kind: [place]}
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        for choice in dataclasses_of(hints[each.name]):
            for inner, names in parts_of(choice, f"{place}.{each.name}".strip(".")).items():
                found.setdefault(inner, []).extend(names)
    return found


def dataclasses_of(hint: Any) -> list[type]:
    """List the dataclasses that a field may hold."""
    several = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else [hint]
    return [each for each in several if isinstance(each, type) and dataclasses.is_dataclass(each)]


def default_of(field: "dataclasses.Field[Any]") -> str:
    """Write the default of a field as JSON, or the name of its kind."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is dataclasses.MISSING:
        return ""
    return f"`{type(value).__name__}`" if dataclasses.is_dataclass(value) else f"`{json.dumps(to_plain(value))}`"


def line_of(docstring: str | None) -> str:
    """Return the first line of a docstring."""
    return (docstring or "").partition("\n")[0]


def in_cell(text: str) -> str:
    """Write a text so that it stays within a cell of a table."""
    return re.sub(r"[*_<|]", r"\\\g<0>", text)


def claims_page(paper: str) -> str:
    """Write a section for each claim: the paper's words, both numbers of 2012, the arms and the verdict so far.

    Args:
        paper: Text of docs/paper.md; `make tables` writes the verdicts into it.
    """
    rows = {row[1].strip("` "): row for row in (line.split("|") for line in paper.splitlines()) if len(row) == 8}
    lines = ["# Each claim and its study", ""]
    lines += ["`alexnet study NAME STORE OUT` trains the arms of a claim and compares them ([how](../studies.md)). "]
    lines += ["[The paper, claim by claim](../paper.md) has the statements that need no training, too.", ""]
    for claim in CLAIMS.values():
        lines += [*section_of(claim, rows.get(claim.name)), ""]
    return "\n".join(lines)


def section_of(claim: Claim, row: list[str] | None) -> list[str]:
    """Write the section of a claim."""
    lines = [f"## {claim.name}", "", f"Section {claim.section}: {claim.words}", ""]
    lines += [f"- The paper: {claim.paper}. The log of 2012: {claim.log}."]
    lines += [f"- Arms: {', '.join(f'`{arm}`' for arm in claim.arms)}."]
    for each in claim.expects:
        lines += [f"- Expected to be larger for `{each.larger}` than for `{each.smaller}`: {MEASURES[each.measure]}."]
    if row:
        found = f"{row[3]}, {row[4]} seeds, {row[5]}: " if row[3].strip() != "-" else ""
        lines += [f"- Here: {found}**{row[6]}**."]
    lines += [f"- {note}" for note in claim.notes]
    return lines
