"""The three ways in which a command can fail: unusable input, failed work, a signal; and too little memory."""

import re


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


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory does not suffice; torch has no kind of its own for that on a CPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and re.search("out of memory|allocate memory", str(error)) is not None
    )
