"""The command line: its commands, and how their errors become one line and an exit status."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnknownOptionError

from alexnet.cli import (
    bench,
    choices,
    completion,
    convert,
    course,
    data,
    doctor,
    fit,
    habits,
    infer,
    lab,
    model,
    slides,
    studies,
    train,
)
from alexnet.cli.console import complain
from alexnet.core.errors import InputError, Stopped, WorkFailed, is_out_of_memory
from alexnet.core.launch import launch, rank_that_speaks
from alexnet.version import __version__

WRONG_PATH = (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)  # the path is at fault, not the disk

app = App(
    name="alexnet",
    help="Prepare pictures, train AlexNet (Krizhevsky, Sutskever & Hinton, 2012) on them, and test the paper's claims.",
    version=__version__,
    help_format="rich",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(json_list=False, json_dict=False),  # a file may be named [1]
)
VERBS = (
    train.demo,
    fit.fit,
    data.prepare,
    data.verify,
    train.train,
    infer.evaluate,
    infer.predict,
    studies.study,
    studies.figures,
    infer.features,
    infer.similar,
    convert.import_,
    convert.export,
    studies.report,
    lab.serve,
    slides.slides,
    course.course,
    model.summary,
    model.recipe,
    bench.bench,
    bench.plan,
    doctor.doctor,
)
for verb in VERBS:
    verb.__doc__ = choices.join_lines(verb.__doc__ or "")
    app.command(verb, name=verb.__name__.rstrip("_"))


@app.command(name="--install-completion")
def install_completion(*, shell: completion.Shell | None = None, output: Path | None = None) -> None:
    """Set up your shell to complete commands, options and choices.

    Example: alexnet --install-completion --shell bash

    Parameters
    ----------
    shell
        Shell to set up. By default the one that you run this in.
    output
        File to write the script to, with no other change. By default the script goes where the shell looks for it, and
        the shell's startup file loads it.
    """
    for line in completion.install(app, shell, output):
        print(line)


def open_streams() -> None:
    """Point closed standard streams at the null device; the next opened file would take their place otherwise."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def check_place() -> None:
    """Raise InputError if the working folder was deleted, since Intel's MKL would end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the working folder is gone; change to another") from None


def check_words(tokens: Sequence[str]) -> None:
    """Raise InputError for an empty word, such as an unset shell variable leaves: "" would be taken as a path."""
    for before, word in zip(["alexnet", *tokens], tokens, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise InputError(
                f"{word} has no value; give one" if word else f"an empty word follows {before}; give a value"
            )
        if "\0" in word or not _encodes(word):
            raise InputError(f"{word!r} has a character that no file name can have; remove it")


def _encodes(word: str) -> bool:
    try:
        return bool(os.fsencode(word))
    except UnicodeEncodeError:
        return False


def check_shared(tokens: Sequence[str]) -> None:
    """Raise InputError under torchrun for a command whose work cannot be shared among processes."""
    if tokens and tokens[0].isalpha() and tokens[0] in app and tokens[0] not in ("train", "evaluate", "predict"):
        raise InputError(f"alexnet {tokens[0]} runs in one process; start it without torchrun")


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command and exit: status 0 done, 1 failed, 2 wrong usage or unusable input, 129, 130 or 143 stopped."""
    code, stuck, words = 0, False, list[str]()
    open_streams()
    leads = rank_that_speaks() == 0
    if not leads:  # only the first process of a launcher prints
        sys.stdout = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be UTF-8
    try:
        # The parser takes "-" for an option.
        words = ["/dev/stdin" if word == "-" else word for word in (sys.argv[1:] if tokens is None else tokens)]
        check_place()
        check_words(words)
        choices.write_recipe_names(VERBS, words)
        if launch().world > 1:
            check_shared(words)
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
    except (CycloptsError, InputError, WorkFailed) as error:
        if not getattr(error, "elsewhere", False):
            complain((isinstance(error, UnknownOptionError) and habits.advice(error, words)) or str(error))
        code = 1 if isinstance(error, WorkFailed) else 2
        stuck = getattr(error, "stuck", False)
    except Stopped as error:
        if leads:
            complain(str(error))
        code = 128 + error.signal
    except KeyboardInterrupt:
        complain("interrupted")
        code = 130
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = (str(error).splitlines() or ["the system has none left"])[0][:120]
        complain(f"not enough memory ({said}); try a smaller batch (--set sgd.batch=...) or net")
        code = 1
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        code = 2 if error.errno in WRONG_PATH else 1
    # On an ordinary exit, threads of torch's gloo abort some processes, and a stuck thread is waited for.
    if "RANK" in os.environ or stuck:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
