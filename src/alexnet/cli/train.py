"""Commands that make runs: demo, train."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import show_json
from alexnet.cli.evaluation import show_evaluation
from alexnet.cli.options import (
    Json,
    Layers,
    Settings,
    Threads,
    Whole,
    begin_threads,
    chosen,
    on_command_line,
    strategy_of,
)
from alexnet.core.errors import InputError
from alexnet.core.files import parse_json, read_bytes
from alexnet.core.text import percent, split_names
from alexnet.training.options import TrainOptions


def demo(out: Path = Path("demo"), /, *, threads: Threads = None, json_: Json = False) -> None:
    """Try everything on drawn pictures: prepare, train, evaluate, report.

    It takes about two minutes on two cores. If you stop it, run it again to continue. Then open report.html.

    Example: alexnet demo

    Parameters
    ----------
    out
        Folder for the store, the run, its figures and report.html.
    """
    begin_threads(threads, speak=not json_)
    from alexnet.cli.demo import demo

    answer = demo(out, quiet=json_, leave=True)
    if json_:
        show_json(answer)
    else:
        print(
            f"ten-view top-1 error {percent(answer['top1'])} (chance {percent(0.9)}) in {answer['seconds']:.0f} s; "
            f"open {answer['report']}"
        )


if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe

    Options = TrainOptions
else:
    Options = on_command_line(TrainOptions, from_run=("--from-run", "--from"))
USUAL = Options()


def threads_of(run: Path) -> int | None:
    """Read the number of threads that a run began with; None if its environment does not tell, which `train` checks."""
    with suppress(OSError, ValueError, AttributeError):
        found = parse_json(read_bytes(run / "environment.json")).get("threads")
        return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
    return None


def train(
    store: Path,
    run: Path,
    /,
    *,
    recipe: str | None = None,
    set_: Settings = (),
    epochs: Whole | None = None,
    seed: Whole | None = None,
    freeze: Layers = (),
    class_weights: Literal["none", "balanced"] | None = None,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    towers_apart: Annotated[bool, Parameter(negative=())] = False,
    hybrid: Annotated[bool, Parameter(negative=())] = False,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Train a net on a store by a recipe, and measure its error.

    Ctrl-C or SIGTERM saves and stops; --resume continues at the same step. Start it with torchrun to share the work
    among processes or GPUs; the result is the same except for rounding (docs/parallel.md).

    Example: alexnet train store run --recipe source --epochs 30 --set sgd.batch=64

    Example: torchrun --nproc-per-node 2 -m alexnet train store run --towers-apart

    Parameters
    ----------
    store
        Folder that `alexnet prepare` made.
    run
        Folder to make.
    recipe
        Recipe: {recipes}, or a JSON file. By default source; with --resume, the recipe of that run; with --from, that
        too, with the number of epochs and the views changed to suit this store (docs/faq.md).
    epochs
        Number of epochs; the learning-rate schedule is scaled to fit. By default the recipe's.
    seed
        Seed of everything random. By default the recipe's.
    freeze
        Layers to keep as they start (sgd.layer_lr of 0). For another factor: --set sgd.layer_lr.conv1=0.1.
    class_weights
        Short for --set sgd.class_weights: balanced multiplies the loss of each picture by a factor that is inverse to
        the number of training pictures of its class. By default the recipe's.
    towers_apart
        Short for --strategy towers. Four processes make two replicas of two towers.
    hybrid
        Short for --strategy hybrid.
    """
    from alexnet.runs.folder import is_run

    first = options.from_run
    begun = run if options.resume and is_run(run) else None
    # A resumed run keeps its threads, and so its bits, whatever other programs do now.
    begin_threads(threads, not json_, threads_of(begun) if begun else None)
    from alexnet.data.store import Store
    from alexnet.runs.run import Run
    from alexnet.training.finetune import tuned
    from alexnet.training.train import train

    if first and not begun and not is_run(first):
        raise InputError(f"--from {first} is not a run; name a folder that alexnet train made")
    value, name = None, recipe or ("" if first else "source")
    if recipe or set_ or epochs is not None or seed is not None or freeze or class_weights:
        base: str | Recipe = recipe or (str(begun / "recipe.json") if begun else "source")
        if first and not begun and not recipe:
            name, base = tuned(Run(first), Store(store))
        value = chosen(base, set_, epochs=epochs, seed=seed)
        value = value.replace(sgd={"layer_lr": dict.fromkeys(split_names(freeze), 0.0)})
        value = value.replace(sgd={"class_weights": class_weights}) if class_weights else value
    how = options.replace({"strategy": strategy_of(options.strategy, towers_apart, hybrid)})
    show_evaluation(train(store, run, value, how, name=name, quiet=json_, leave=True), json_)
