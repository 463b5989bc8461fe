"""Processes that stay, some of which act together as a launcher's would; a test's process is not one of them."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

MOST = 4
LOADED = ["torch", "alexnet.training.train", "alexnet.inference.predict"]  # once, for all of the processes
PATIENCE = 120.0  # seconds: on a busy machine one may still import torch when the others wait for it


class Ranks:
    """Called with n and a function: what it returns in each of n processes, rank 0's first."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        self.pool = ProcessPoolExecutor(MOST, context)

    def __call__(self, n: int, act: Callable[..., Any], *given: Any, **named: Any) -> list[Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        futures = [self.pool.submit(act_as, rank, n, port, act, given, named) for rank in range(n)]
        return [future.result(timeout=300) for future in futures]


def act_as(rank: int, world: int, port: int, act: Callable[..., Any], given: Any, named: Any) -> Any:
    import torch

    torch.set_num_threads(1)
    facts = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in facts.items()} | {"MASTER_ADDR": "127.0.0.1"})
    try:
        return act(*given, **named)
    finally:
        for name in (*facts, "MASTER_ADDR"):
            del os.environ[name]


def trained(*given: Any, stop_at: int = 0, **named: Any) -> str:
    """Train, with every step in the log; at a given step the last process gets a SIGTERM. What it said at the end."""
    from alexnet.core.errors import Stopped
    from alexnet.runs import log as runlog
    from alexnet.training.train import train

    last = os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1)
    kept, line = runlog.RunLog.step, runlog.LINE_SECONDS

    def step(log: runlog.RunLog, at: int, **seen: Any) -> None:
        kept(log, at, **seen)
        if at == stop_at and last:
            os.kill(os.getpid(), signal.SIGTERM)

    runlog.RunLog.step, runlog.LINE_SECONDS = step, -1  # type: ignore[method-assign, assignment]
    try:
        train(*given, quiet=True, **named)
    except Stopped as stop:
        return str(stop)
    finally:
        runlog.RunLog.step, runlog.LINE_SECONDS = kept, line  # type: ignore[method-assign]
    return "done"


def poisoned(store: Path, folder: Path, recipe: Any, strategy: str, step: int, value: float) -> tuple[str, bool, int]:
    """Train, one number of the last process's conv3 being lost after a step: what failed, who says it, and when."""
    import torch

    from alexnet.core.device import choose_compute
    from alexnet.core.errors import WorkFailed
    from alexnet.distributed.mesh import open_mesh
    from alexnet.training.options import TrainOptions
    from alexnet.training.setup import Request, begin
    from alexnet.training.train import loop

    compute, last = choose_compute("cpu", "fp32"), os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1)
    options = TrainOptions(workers=1, cache="none").replace({"strategy": strategy})
    request = Request(store, folder, recipe, options)
    with (
        open_mesh(compute.device, 2 if strategy == "towers" else 1, PATIENCE) as mesh,
        begin(mesh, request, compute) as training,
        training.log(quiet=True) as log,
    ):

        def poison(*_: object) -> None:
            if training.step == step and last:
                with torch.no_grad():
                    training.net.state_dict()["conv3.weight"][0, 0, 0, 0] = value

        try:
            loop(training, log, poison)
        except WorkFailed as error:
            return str(error), not error.elsewhere, training.step
    raise AssertionError("it went on to the end")


def counted(store: Path, folder: Path, recipe: Any, strategy: str, steps: int) -> dict[str, int]:
    """The bytes that this process sends in some steps, by what for."""
    from alexnet.core.device import choose_compute
    from alexnet.distributed.mesh import open_mesh
    from alexnet.training.options import TrainOptions
    from alexnet.training.setup import Request, begin

    compute = choose_compute("cpu", "fp32")
    options = TrainOptions(workers=1, cache="none").replace({"strategy": strategy})
    request = Request(store, folder, recipe, options)
    with (
        open_mesh(compute.device, 2 if strategy == "towers" else 1, PATIENCE) as mesh,
        begin(mesh, request, compute) as training,
    ):
        batches = training.batches()
        mesh.replicas.sent.clear()
        mesh.towers.sent.clear()
        for _ in range(steps):
            training.advance(next(batches), 0.0)
        batches.close()
        return dict(mesh.sent())


def worked(act: Callable[..., Any], *given: Any, towers: int = 1) -> Any:
    """What a function makes of the mesh."""
    import torch

    from alexnet.distributed.mesh import open_mesh

    with open_mesh(torch.device("cpu"), towers, PATIENCE) as mesh:
        return act(mesh, *given)


def evaluated(store: Path, run: Path) -> dict[str, Any]:
    from alexnet.inference.evaluate import evaluate

    return evaluate(store, run, precision="fp32").plain()


def evaluated_again(store: Path, run: Path, times: int) -> list[dict[str, Any]]:
    return [evaluated(store, run) for _ in range(times)]


def evaluated_apart(store: Path, runs: list[Path]) -> str:
    """What evaluating says where each process has a run of its own under what is meant to be one name."""
    from alexnet.core.errors import InputError
    from alexnet.distributed import mesh

    os.chdir(runs[int(os.environ["RANK"])].parent)
    kept, mesh.SHARED_DISK = mesh.SHARED_DISK, 4.0
    try:
        evaluated(store.resolve(), Path("run"))
    except InputError as error:
        return str(error)
    finally:
        mesh.SHARED_DISK = kept
    return "done"


def predicted(run: Path, pictures: Path) -> list[dict[str, Any]]:
    from alexnet.inference.predict import predict

    return predict(run, pictures, precision="fp32", views=1)
