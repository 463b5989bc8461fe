"""The checkpoint that a user asks for: the last, the best, or one of a step."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.trained import resign
from torch import Tensor

import alexnet
from alexnet.core.errors import InputError
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import Best, State
from alexnet.runs.run import Run

OLD = Path(__file__).parents[1] / "of_0_1_0" / "alexnet"


def weights_of(folder: Path, name: str) -> dict[str, Tensor]:
    return checkpoint.read_tensors(folder / "checkpoints" / name, checkpoint.FILES[0])


@pytest.fixture
def three(run: Path, tmp_path: Path) -> Path:
    """A run with the checkpoints of steps 4, 8 and 12, of which 8 was the best: 12 has other weights."""
    folder = Path(shutil.copytree(run, tmp_path / "three", ignore=shutil.ignore_patterns("checkpoints")))
    owner, like = Run(folder).identity, weights_of(run, checkpoint.newest(run)[0])
    best = None
    for step, errors in ((4, (0.5,)), (8, (0.5, 0.25)), (12, (0.5, 0.25, 0.25))):
        weights = {name: torch.full_like(t, step) for name, t in like.items()}
        if errors.index(min(errors)) == len(errors) - 1:
            best = Best(weights, State(step, errors, 1.0))
        checkpoint.save(folder, weights, {}, State(step, errors, 1.0), owner, 0, best)
    return folder


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "00000012"),
        ("last", "00000012"),
        ("best", "00000008-best"),
        (8, "00000008"),
        ("8", "00000008"),
        ("00000004", "00000004"),
        ("00000004-best", "00000004-best"),
    ],
)
def test_last_best_a_step_and_a_name_are_found(three: Path, asked: str | int | None, name: str) -> None:
    assert Run(three).resolve(asked) == name
    assert Run(three).chosen(asked)[0] == name
    net = alexnet.load(three, asked)
    step = checkpoint.step_and_attempt(Path(name))[0]
    assert all((t == step).all() for t in net.state_dict().values())


def test_the_best_whose_folder_is_gone_is_refused_with_what_would_do(three: Path) -> None:
    shutil.rmtree(three / "checkpoints" / "00000008-best")
    with pytest.raises(InputError, match=r"00000008-best is gone: .*use --checkpoint last"):
        alexnet.load(three, "best")


def test_the_newer_of_two_saves_of_a_step_is_that_of_the_step(three: Path) -> None:
    owner, weights = Run(three).identity, weights_of(three, "00000012")
    checkpoint.save(three, weights, {}, State(12, (0.5, 0.25, 0.25), 1.0), owner, 0)
    assert Run(three).resolve(12) == "00000012-1"
    assert Run(three).resolve("00000012") == "00000012"


@pytest.mark.parametrize("asked", ["99", 99, "../00000004", "BEST", "", "9" * 5000, "٨", -4])
def test_what_a_run_has_not_is_refused_with_what_it_has(three: Path, asked: str | int) -> None:
    with pytest.raises(InputError, match=r"run .* has last, best, 00000004, 00000008, 00000012$") as refused:
        Run(three).resolve(asked)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("asked", [True, 8.0, [8]])
def test_what_is_no_checkpoint_is_refused(three: Path, asked: object) -> None:
    with pytest.raises(InputError, match=r"checkpoint (bool|float|list); give best, last or a step"):
        Run(three).resolve(asked)  # type: ignore[arg-type]


def test_a_run_of_an_earlier_version_opens_and_says_that_it_kept_no_best() -> None:
    assert alexnet.load(OLD, "last").classes
    with pytest.raises(InputError, match=r"--checkpoint best: not kept by this run, .* has last, 00000003$"):
        alexnet.load(OLD, "best")


def test_a_run_without_a_validated_epoch_has_no_best(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))
    weights = weights_of(run, checkpoint.newest(run)[0])
    checkpoint.save(folder, weights, {}, State(1, (), 0.0), Run(folder).identity, 2)
    with pytest.raises(InputError, match="has no validated epoch yet; use --checkpoint last"):
        Run(folder).resolve("best")


@pytest.mark.parametrize("best", ["../../other", "00000008", 8, "x-best", ["00000008-best"]])
def test_a_state_that_names_no_best_folder_is_damaged(three: Path, best: object) -> None:
    resign(three / "checkpoints" / "00000012" / "state.json", best=best)
    with pytest.raises(InputError, match=r"state\.json is damaged"):
        Run(three).resolve("best")


@pytest.mark.parametrize("file", ["weights.safetensors", "state.json"])
def test_a_best_checkpoint_with_a_flipped_bit_is_found_and_the_last_offered(three: Path, file: str) -> None:
    path = three / "checkpoints" / "00000008-best" / file
    data = path.read_bytes()
    path.unlink()  # it may be linked with the checkpoint's
    path.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    with pytest.raises(InputError, match=rf"00000008-best/{file} is damaged; use --checkpoint last, or delete"):
        alexnet.load(three, "best")
    assert alexnet.load(three)
    shutil.rmtree(path.parent)
    with pytest.raises(InputError, match=r"00000008-best is gone"):
        alexnet.load(three, "best")
