"""The command line: the verbs, and what becomes of their errors."""

import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter

from alexnet.cli import bench, choices, completion, data, doctor, infer, model, studies, train
from alexnet.cli.console import complain
from alexnet.core.errors import InputError, Stopped, WorkFailed
from alexnet.core.launch import launch, rank_that_speaks
from alexnet.version import __version__

WRONG_PATH = (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)  # whatever becomes of the disk

app = App(
    name="alexnet",
    help="The image-classification system of 2012 (Krizhevsky, Sutskever & Hinton), whole.",
    version=__version__,
    help_format="rich",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(json_list=False, json_dict=False),  # a file may be called [1]
)
VERBS = (
    train.demo,
    data.prepare,
    data.verify,
    train.train,
    infer.evaluate,
    infer.predict,
    studies.study,
    studies.figures,
    infer.features,
    infer.similar,
    studies.report,
    model.summary,
    model.recipe,
    bench.bench,
    bench.plan,
    doctor.doctor,
)
for verb in VERBS:
    app.command(verb)


@app.command(name="--install-completion")
def install_completion(*, shell: completion.Shell | None = None, output: Path | None = None) -> None:
    """Have your shell complete the verbs, their options and choices.

    Example: alexnet --install-completion --shell bash

    Parameters
    ----------
    shell
        The shell that this is started from unless given.
    output
        Write the script to this file and change nothing else; else it goes where the shell looks for it, and the
        shell's startup file loads it.
    """
    for line in completion.install(app, shell, output):
        print(line)


def open_streams() -> None:
    """Lead the standard streams that are closed nowhere: else the next file that is opened would take their place."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def check_place() -> None:
    """Raise InputError where the working folder was deleted: Intel's MKL would end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the working folder is gone; change to another") from None


def check_words(tokens: Sequence[str]) -> None:
    """Raise InputError for a word that is empty, as an unset variable of a shell leaves it: "" would be a path."""
    for before, word in zip(["alexnet", *tokens], tokens, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise InputError(f"an empty word follows {before}; give it a value" if not word else f"{word} is empty")
        if "\0" in word or not _encodes(word):
            raise InputError(f"{word!r} has a character that no name can have")


def _encodes(word: str) -> bool:
    try:
        return bool(os.fsencode(word))
    except UnicodeEncodeError:
        return False


def check_shared(tokens: Sequence[str]) -> None:
    """Raise InputError for a verb that several processes would do each for itself."""
    if tokens and tokens[0].isalpha() and tokens[0] in app and tokens[0] not in ("train", "evaluate", "predict"):
        raise InputError(f"alexnet {tokens[0]} runs in one process; start it without torchrun")


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 wrong usage or unusable input, 129, 130 or 143 stopped."""
    code, stuck = 0, False
    open_streams()
    leads = rank_that_speaks() == 0
    if not leads:  # of the processes that a launcher has started, the first alone speaks
        sys.stdout = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be UTF-8
    try:
        words = sys.argv[1:] if tokens is None else tokens
        check_place()
        check_words(words)
        choices.write_recipe_names(VERBS, words)
        if launch().world > 1:
            check_shared(words)
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
    except (CycloptsError, InputError, WorkFailed) as error:
        if not getattr(error, "elsewhere", False):
            complain(str(error))
        code = 1 if isinstance(error, WorkFailed) else 2
        stuck = getattr(error, "stuck", False)
    except Stopped as error:
        if leads:
            complain(str(error))
        code = 128 + error.signal
    except KeyboardInterrupt:
        complain("interrupted")
        code = 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("out of memory|allocate memory", str(error)):
            raise
        said = (str(error).splitlines() or ["the system gives no more"])[0][:120]
        complain(f"not enough memory ({said}); try a smaller --set sgd.batch, or net")
        code = 1
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        code = 2 if error.errno in WRONG_PATH else 1
    # Threads of torch's gloo abort some of the processes that end in the ordinary way, which waits for a stuck one.
    if "RANK" in os.environ or stuck:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
