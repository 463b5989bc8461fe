"""The three ways in which a command can fail: unusable input, failed work, a signal."""


class InputError(ValueError):
    """A bad argument or file. Its one line names the thing, its value and what to do (exit status 2)."""

    elsewhere = False  # whether another process prints the line


class WorkFailed(RuntimeError):
    """Work that failed, or part of it. Its one line says what failed and what to try (exit status 1)."""

    elsewhere = False
    stuck = False  # whether a thread of this process hangs for ever


class Stopped(RuntimeError):
    """A stop by signal, after everything was saved (exit status 128 + the signal's number)."""

    def __init__(self, words: str, signal: int) -> None:
        super().__init__(words)
        self.signal = signal
