"""Many lives of the command `alexnet`, each a process that may be killed: forked from one that has imported torch.

A life begins in milliseconds, so that hundreds of faults can be injected; it is otherwise the command that users start.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PATIENCE = 120.0  # seconds; a life that lasts longer hangs


@dataclass(frozen=True)
class Ended:
    """How a life ended: its exit status (negative: the signal that killed it), and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that the user is told, if there is one and nothing but it; else all of it, to be seen."""
        said = [words for words in self.err.splitlines() if words.startswith("alexnet: ")]
        return said[0].removeprefix("alexnet: ") if len(said) == 1 and "Traceback" not in self.err else self.err


def state(pid: int) -> str:
    """Of a process, as in /proc: "T" is stopped, "Z" has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Life:
    """One process."""

    def __init__(self, parent: "Lives", pid: int, out: Path) -> None:
        self.parent, self.pid, self.out = parent, pid, out

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def until(self, holds: Callable[[], bool]) -> bool:
        """Wait for something to come about, or for the end; says which."""
        while not holds():
            if self.over():
                return holds()
            time.sleep(0.002)
        return True

    def over(self) -> bool:
        """Whether it has ended, and waits to be asked how."""
        return state(self.pid) == "Z"

    def end(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end; one that hangs is killed, and fails."""
        last = time.monotonic() + patience
        while not self.over():
            if time.monotonic() > last:
                self.kill()
                raise AssertionError(f"it hangs:\n{self.out.with_suffix('.err').read_text()}")
            time.sleep(0.002)
        status = self.parent.ask(["wait", self.pid])
        words = (self.out.with_suffix(s).read_text(errors="backslashreplace") for s in (".out", ".err"))
        return Ended(status, *words)


class Lives:
    """What begins them, until it is left; `preload` is a library that each of them is to have."""

    def __init__(self, preload: Path | None = None) -> None:
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        own |= {"LD_PRELOAD": str(preload)} if preload else {}
        command = [sys.executable, "-W", "ignore", __file__]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | own
        )
        self.folder = tempfile.TemporaryDirectory()
        self.begun = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.folder.cleanup()

    def begin(
        self,
        arguments: Sequence[object],
        environment: Mapping[str, str] | None = None,
        before: str = "",
        waits: bool = False,
    ) -> Life:
        """``alexnet ARGUMENTS...`` with these variables besides its own, after some statements of Python.

        One that waits is stopped before its first word, and goes on with SIGCONT.
        """
        self.begun += 1
        out = Path(self.folder.name) / str(self.begun)
        for stream in (".out", ".err"):  # it may be ended before it opens them
            out.with_suffix(stream).touch()
        pid = self.ask(["begin", [str(a) for a in arguments], dict(environment or {}), before, waits, str(out)])
        return Life(self, pid, out)

    def __call__(self, *arguments: object, environment: Mapping[str, str] | None = None, before: str = "") -> Ended:
        """One life to its end."""
        return self.begin(arguments, environment, before).end()

    def race(self, commands: Sequence[Sequence[object]], before: str = "") -> list[Life]:
        """Lives that begin at one instant."""
        lives = [self.begin(arguments, before=before, waits=True) for arguments in commands]
        for life in lives:
            while state(life.pid) not in "TZ":
                time.sleep(0.0005)
        for life in lives:
            life.kill(signal.SIGCONT)
        return lives

    def ask(self, what: list[object]) -> int:
        """The answer of the process that forks."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return int(json.loads(self.process.stdout.readline()))


def serve() -> None:
    """Fork a life for each line that asks for one."""
    import torch

    import alexnet.cli.train
    import alexnet.data.prepare.prepare
    import alexnet.training.train  # noqa: F401
    from alexnet.cli import main

    torch.set_num_threads(1)
    early = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    for line in sys.stdin:
        verb, *given = json.loads(line)
        if verb == "wait":
            _, status = os.waitpid(given[0], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            arguments, environment, before, waits, out = given
            signal.pthread_sigmask(signal.SIG_BLOCK, early)  # until a life can take them
            answer = os.fork()
            if answer:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, early)
            else:
                os.environ.update(environment)
                for number, end in enumerate((os.devnull, f"{out}.out", f"{out}.err")):
                    os.dup2(os.open(end, os.O_RDONLY if not number else os.O_CREAT | os.O_WRONLY), number)
                signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where pytest is a background job,
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and this under nohup
                exec(before, {})
                if waits:
                    os.kill(os.getpid(), signal.SIGSTOP)
                try:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, early)
                    main.main(arguments)
                except KeyboardInterrupt:  # as in __main__
                    sys.stderr.write("alexnet: interrupted\n")
                    os._exit(130)
                except SystemExit as ended:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(int(ended.code or 0))
                except BaseException:
                    traceback.print_exc()
                os._exit(70)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
