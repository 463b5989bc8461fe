"""Shell completion: the script that cyclopts writes for a shell, and the startup file that loads it."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from alexnet.core.errors import InputError

Shell = Literal["bash", "zsh", "fish", "powershell"]


def install(app: App, shell: Shell | None = None, output: Path | None = None) -> list[str]:
    """Write the completion script of a shell, and have the shell load it.

    Args:
        app: The command line that is completed.
        shell: The shell; the one that started this process if None.
        output: Where the script goes. If None it goes where the shell looks for it, and a line that loads it is added
            to ~/.bashrc or ~/.zshrc, or to PowerShell's profile, unless it is there already.

    Returns:
        What was done, and what is left to do, in lines.

    Raises:
        InputError: `shell` is None and the shell is not known.
        OSError: A file cannot be written.
    """
    from cyclopts.completion import ShellDetectionError, add_to_rc_file, detect_shell

    try:
        shell = shell or detect_shell()
    except ShellDetectionError:
        raise InputError("which shell this is cannot be told; give --shell bash, zsh, fish or powershell") from None
    path = app.install_completion(shell=shell, output=output, add_to_startup=False)
    lines = [f"wrote {path}"]
    if output is not None:
        return [*lines, f"{shell} completes alexnet once it has read this file"]
    if shell != "fish" and add_to_rc_file(path, app.name[0], shell):  # fish reads its folder by itself
        lines.append(f"added a line to the startup file of {shell} that loads it")
    return [*lines, f"start a new {shell} to use it; after an update of alexnet run this again"]
