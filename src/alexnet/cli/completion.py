"""Shell completion: write the script for a shell and load it from the startup file."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from alexnet.core.errors import InputError

Shell = Literal["bash", "zsh", "fish", "powershell"]


def install(app: App, shell: Shell | None = None, output: Path | None = None) -> list[str]:
    """Write a shell's completion script and make the shell load it.

    Args:
        app: Command line to complete.
        shell: Shell to set up; None for the one that started this process.
        output: File for the script. If None, the script goes where the shell looks for it, and ~/.bashrc, ~/.zshrc or
            PowerShell's profile gets a line that loads it, unless the line is there already.

    Returns:
        Lines for the user: what was done, and what is left to do.

    Raises:
        InputError: `shell` is None and the shell cannot be detected.
        OSError: A file cannot be written.
    """
    from cyclopts.completion import ShellDetectionError, add_to_rc_file, detect_shell

    try:
        shell = shell or detect_shell()
    except ShellDetectionError:
        raise InputError("cannot detect your shell; give --shell bash, zsh, fish or powershell") from None
    path = app.install_completion(shell=shell, output=output, add_to_startup=False)
    lines = [f"wrote {path}"]
    if output is not None:
        return [*lines, f"load this file in {shell} to complete alexnet"]
    if shell != "fish" and add_to_rc_file(path, app.name[0], shell):  # fish loads every script in its folder
        lines.append(f"added a line that loads it to the startup file of {shell}")
    return [*lines, f"start a new {shell} to use it; run this again after you update alexnet"]
