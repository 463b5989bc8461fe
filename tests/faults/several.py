"""Several commands in one process of its own: argv[1] is a JSON list of them, answered by what became of each.

With "powerless" as argv[2] a process of root gives up what lets root write where nobody may.
"""

import contextlib
import ctypes
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def several(
    commands: Iterable[Iterable[object]],
    cwd: Path,
    env: Mapping[str, object] | None = None,
    *,
    powerless: bool = False,
    **options: Any,
) -> list[tuple[int, str, str]]:
    """The exit status of each command, and what it wrote to standard output and standard error."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, __file__, words, "powerless" if powerless else ""],
        cwd=cwd,
        capture_output=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {n: str(v) for n, v in (env or {}).items()},
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return [(code, out, err) for code, out, err in json.loads(done.stdout.splitlines()[-1])]


def powerless() -> None:
    """Without any capability, root is a user like others."""
    if os.geteuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0


def ended(words: Sequence[str]) -> tuple[int, str, str]:
    from alexnet.cli.main import main

    code, encoding = 0, sys.stdout.encoding
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main(words)
        except SystemExit as end:
            code = int(end.code or 0)
    for stream in streams:
        stream.seek(0)
    out, err = (stream.read() for stream in streams)
    return code, out, err


if __name__ == "__main__":
    if sys.argv[2]:
        powerless()
    print("\n" + json.dumps([ended(words) for words in json.loads(sys.argv[1])]))
