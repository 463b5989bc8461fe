"""`alexnet course`: what it writes, and what it refuses."""

from pathlib import Path

import pytest
from tests.course.conftest import COURSE

from alexnet.cli.course import chosen_parts, course, course_folder
from alexnet.core.errors import InputError
from coursekit import handout

FIRST = "01_data_and_errors"


def test_the_notebooks_of_a_clone_are_found_and_chosen_by_their_digits() -> None:
    assert course_folder() == COURSE
    assert chosen_parts(COURSE, ("01",)) == [FIRST]
    assert chosen_parts(COURSE, ()) == sorted(path.stem for path in COURSE.glob("[0-9][0-9]_*.py"))
    with pytest.raises(InputError, match=r"--part 1; the parts are 00, 01"):
        chosen_parts(COURSE, ("1",))


def test_a_copy_is_whole_and_a_second_copy_replaces_nothing(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    course(out, to="copy")
    for path in [*COURSE.glob("*.py"), *COURSE.glob("coursekit/*.py"), *COURSE.glob("texts/*.md")]:
        assert (out / path.relative_to(COURSE)).read_bytes() == path.read_bytes()
    (out / f"{FIRST}.py").write_text("mine")
    with pytest.raises(InputError, match="exists, and may have your changes"):
        course(out, to="copy")
    assert (out / f"{FIRST}.py").read_text() == "mine"


def test_odd_arguments_are_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="add --to copy, html or ipynb"):
        course(tmp_path / "out")
    with pytest.raises(InputError, match="--to html needs a folder"):
        course(to="html")
    with pytest.raises(InputError, match="is not a folder"):
        course(tmp_path / "file", to="html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_formula_becomes_mathml_and_a_slider_its_label_and_value() -> None:
    import marimo as mo

    assert "<math" in handout.shown(mo.md("$x^2 < 1$"))
    assert handout.shown(mo.ui.slider(1, 9, value=3, label="n")) == '<span class="control">n: 3</span>'
    assert handout.shown(mo.ui.slider(steps=[5, 7], value=7, label="n")) == '<span class="control">n: 7</span>'
    menu = mo.ui.dropdown({"a": 1, "b": 2}, value="b", label="<m>")
    assert "b</span>" in handout.shown(menu)
