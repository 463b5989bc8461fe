"""A function in a separate process with limits on memory and CPU time, for libraries that trust the sizes in a file."""

import os
import signal
import subprocess
from contextlib import suppress

from alexnet.core.process_pool import python_command

NO_LIBRARY = 3  # the exit status if the library cannot be imported
MESSAGE = 300  # characters of a library's message to show


def answer_of(module: str, function: str, *own: object, data: bytes = b"") -> tuple[int, str, str]:
    """Call `function` of `module` in a process of its own, which ends with this one.

    The function reads `data` on standard input, prints its answer as the last line, and exits with another status than
    0 and a message on standard error if it fails.

    Args:
        module: full name of the module.
        function: name of a function at its top level.
        own: arguments, which must be JSON values or paths.
        data: bytes for its standard input.

    Returns:
        The exit status, the last line of its output, and why it failed, in one line.
    """
    done = subprocess.run(
        python_command(module, function, *own),
        input=data,
        capture_output=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # each thread takes address space, which is limited
    )
    why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:MESSAGE]
    if done.returncode < 0:
        why = f"{signal.Signals(-done.returncode).name} ended the process that read it"
    lines = done.stdout.splitlines() or [b""]  # libraries may have printed lines before
    return done.returncode, lines[-1].decode(errors="replace"), why


def limit_this_process(memory: int, seconds: int) -> None:
    """Limit this process's address space (bytes) and CPU time, except on Windows, which has no such limits."""
    with suppress(ImportError):
        import resource

        for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(what)
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, limit))
