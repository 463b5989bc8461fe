"""`alexnet course`: what it writes, and what it refuses."""

import re
import signal
import socket
import subprocess
import sys
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
    course(tmp_path / "zh", to="copy", lang="zh")
    assert b'START: Language = "zh"' in (tmp_path / "zh/coursekit/page.py").read_bytes()
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


@pytest.mark.parametrize("missing", ["marimo", "latex2mathml", "nbformat"])
def test_a_missing_package_is_named_with_its_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"needs {missing}; pip install 'alexnet\[course\]'$"):
        course()


def test_a_port_in_use_is_refused_before_marimo_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="use another one, or"):
        course(port=taken.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.torture)])
def test_a_signal_ends_the_server_too_without_a_word(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "alexnet", "course", "--part", "02", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert address
        at = ("127.0.0.1", int(address[1]))
        socket.create_connection(at).close()
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 0}[number]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(at)
