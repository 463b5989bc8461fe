"""What several tests share: a small store of coloured pictures, and a recipe that trains on it in seconds."""

import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # the processes of `ranks` import what they are to do

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from tests.ranks import Ranks

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.data.prepare.prepare import prepare

settings.register_profile("shared", deadline=None)  # how long one example takes says nothing on a busy machine
settings.load_profile("shared")

torch.cuda.is_available()  # the driver reads CUDA_VISIBLE_DEVICES once, here: what is set below is for child processes

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="inject every fault of docs/reliability.md; takes hours")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hide CUDA devices from all but the tests marked `gpu`, and from the processes that they start.

    The other tests' laws are of the CPU's arithmetic, and most name no device. A hook, for it comes before fixtures of
    any scope.
    """
    if item.get_closest_marker("gpu"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        return (yield)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The faults that tests/faults injected, and what became of them."""
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == "fault" and report.when == "call"
    ]
    if not lines:
        return
    terminalreporter.section("faults injected, survived, bytes lost")
    for fault in [*sorted({line["fault"] for line in lines}), "in all"]:
        own = [line for line in lines if fault in (line["fault"], "in all")]
        numbers = [sum(line[name] for line in own) for name in ("injected", "survived", "lost")]
        figures = "; ".join(dict.fromkeys(line["figure"] for line in own if line["figure"] and fault != "in all"))
        words = f"{fault:<60} {numbers[0]:>6} {numbers[1]:>6} {numbers[2]:>3}  {figures}"
        terminalreporter.write_line(words.rstrip())


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # pytest -n 2 has a process for each core


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 64-pixel pictures: 14 of each of three colours."""
    root = tmp_path_factory.mktemp("pictures") / "folders"
    noise = np.random.Generator(np.random.Philox(7))
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(14):
            pixels = np.clip(noise.normal(colour, 40, (64, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


@pytest.fixture(scope="session")
def store(pictures: Path) -> Path:
    """A store of 64-pixel pictures: 30 for training, 12 held out, three classes."""
    path = pictures.parent / "store"
    prepare(pictures, path, side=64, val_fraction=0.29, jobs=1)
    return path


@pytest.fixture(scope="session")
def two(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two of the three classes."""
    folder = tmp_path_factory.mktemp("two")
    for path in sorted(p for p in pictures.iterdir() if p.is_dir())[:2]:
        shutil.copytree(path, folder / "pictures" / path.name)
    prepare(folder / "pictures", folder / "store", side=64, val_fraction=0.29, jobs=1)
    return folder / "store"


@pytest.fixture(scope="session")
def small() -> Recipe:
    """AlexNet's shape at a width that trains in seconds: four steps an epoch, the last one smaller."""
    return RECIPES["tiny"].replace(
        net={"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 3},
        sgd={"batch": 8, "lr": 0.002},
        views={"pictures_per_crop": 2},
        epochs=3,
    )


@pytest.fixture(scope="session")
def torture(request: pytest.FixtureRequest) -> bool:
    """Whether to try all, as `make torture` does, or as much as `make test` has time for."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture(scope="session")
def run(store: Path, small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained to its end, on the CPU: a test marked `gpu` may be the first to ask for it."""
    from alexnet.training.train import train

    folder = tmp_path_factory.mktemp("runs") / "run"
    train(store, folder, small, device="cpu", precision="fp32", quiet=True)
    return folder


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Four processes, to act together."""
    made = Ranks()
    yield made
    made.pool.shutdown(cancel_futures=True)


def data_folder() -> Path:
    """Where the real pictures lie: ALEXNET_DATA, else ../shared/data beside the checkout."""
    return Path(os.environ.get("ALEXNET_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def data() -> Path:
    """The real pictures, or a reason to skip."""
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder}; set ALEXNET_DATA to their folder")
    return folder


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the tests that take longest first, so that no process of pytest-xdist ends long before the other."""
    for item in items:
        if item.get_closest_marker("torture") and not config.getoption("--torture"):
            item.add_marker(pytest.mark.skip(reason="takes long: make torture"))
    longest = "faults/test_processes", "tests/faults/", "test_benchmarks", "ops/triton/test_triton", "tests/bench/"
    items.sort(key=lambda item: tuple(name not in item.nodeid for name in longest))
