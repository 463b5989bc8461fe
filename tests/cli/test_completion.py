"""Shell completion: what is written, where, and what is said of it; the user's own home is not touched."""

from pathlib import Path

import pytest

from alexnet.bench.suite import BENCHES
from alexnet.cli.main import VERBS, main
from alexnet.figures.catalogue import FIGURES


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ZSH", "ZSH_CUSTOM", "ZSH_VERSION", "BASH_VERSION", "FISH_VERSION", "SHELL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def command(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(w) for w in words])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_script_completes_every_verb_figure_and_bench(
    shell: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script"
    assert command("--install-completion", "--shell", shell, "--output", script) == 0
    assert f"wrote {script}" in capsys.readouterr().out
    words = script.read_text()
    assert all(verb.__name__.rstrip("_") in words for verb in VERBS)
    assert all(name in words for name in (*FIGURES, *BENCHES))
    assert "{recipes}" not in words
    assert not list(home.iterdir())


@pytest.mark.parametrize(("shell", "startup"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_the_startup_file_gets_one_line_however_often_it_is_installed(
    shell: str, startup: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / startup).write_text("mine=1\n")
    assert command("--install-completion", "--shell", shell) == 0
    said = capsys.readouterr().out
    assert f"added a line that loads it to the startup file of {shell}" in said
    script = Path(said.splitlines()[0].removeprefix("wrote "))
    assert script.is_relative_to(home)
    first = (home / startup).read_text()
    assert "mine=1" in first
    assert str(script if shell == "bash" else script.parent) in first
    assert command("--install-completion", "--shell", shell) == 0
    assert "added" not in capsys.readouterr().out
    assert (home / startup).read_text() == first


def test_a_shell_that_cannot_be_told_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert command("--install-completion") == 2
    said = capsys.readouterr()
    assert said.err == ("alexnet: cannot detect your shell; give --shell bash, zsh, fish or powershell\n")
    assert not list(home.iterdir())
