"""The ways a command can end other than well: unusable input, failed work, a signal."""


class InputError(ValueError):
    """Something the user gave cannot be used; one line says what, its value and what would do (exit status 2)."""

    elsewhere = False  # whether another process says it


class WorkFailed(RuntimeError):
    """The work, or part of it, failed; one line says what and what to try (exit status 1)."""

    elsewhere = False
    stuck = False  # whether a thread of this process will never end


class Stopped(RuntimeError):
    """A signal asked for an end, and everything is saved (exit status 128 + the signal's number)."""

    def __init__(self, words: str, signal: int) -> None:
        super().__init__(words)
        self.signal = signal
