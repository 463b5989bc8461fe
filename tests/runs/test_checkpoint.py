"""Checkpoints are complete or absent, and a damaged one is never used."""

import os
import resource
import shutil
import signal
import stat
from pathlib import Path

import pytest
import torch

from alexnet.core.errors import InputError, WorkFailed
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import Best, State
from alexnet.runs.run import load

WEIGHTS = {"fc8.weight": torch.arange(12.0).view(3, 4), "fc8.bias": torch.zeros(3)}


def saved(run: Path, step: int, keep: int = 2) -> Path:
    return checkpoint.save(run, WEIGHTS, WEIGHTS, State(step, (0.5,), 1.0), "abc", keep)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = saved(tmp_path, 7)
    assert checkpoint.read_state(path, "abc") == State(7, (0.5,), 1.0)
    for name in checkpoint.FILES:
        read = checkpoint.read_tensors(path, name)
        assert all(torch.equal(read[k], w) for k, w in WEIGHTS.items())


def test_channels_last_weights_are_stored_in_the_pinned_order(tmp_path: Path) -> None:
    kernel = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    path = checkpoint.save(tmp_path, {"conv1.weight": kernel}, {}, State(1, (), 0.0), "abc", 2)
    assert torch.equal(checkpoint.read_tensors(path, checkpoint.FILES[0])["conv1.weight"], kernel)


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        saved(tmp_path, step, keep=2)
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path)] == ["00000003", "00000004"]
    saved(tmp_path, 5, keep=0)
    assert len(checkpoint.list_checkpoints(tmp_path)) == 3


def test_the_same_step_saved_again_stands_beside_the_first_and_is_the_newer(tmp_path: Path) -> None:
    """The first one is not replaced in place: a kill between two renames would lose both."""
    first, second = saved(tmp_path, 3), saved(tmp_path, 3)
    assert checkpoint.list_checkpoints(tmp_path) == [first, second]
    assert checkpoint.read_state(second, "abc").step == 3
    assert checkpoint.list_checkpoints(tmp_path) == [first, second]
    third = saved(tmp_path, 4)
    assert checkpoint.list_checkpoints(tmp_path) == [second, third]


def test_what_a_killed_save_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".00000002.part").mkdir(parents=True)
    path = saved(tmp_path, 3)
    assert list((tmp_path / "checkpoints").iterdir()) == [path]


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    for name in checkpoint.FILES:
        whole = (path / name).read_bytes()
        for place in range(0, len(whole), 7):
            (path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(InputError, match=f"{name} is damaged"):
                checkpoint.read_tensors(path, name)
        (path / name).write_bytes(whole)


def test_a_state_that_was_edited_is_found_and_an_earlier_checkpoint_offered(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    path = saved(tmp_path, 4)
    file = path / "state.json"
    file.write_text(file.read_text().replace('"step": 4', '"step": 5'))
    with pytest.raises(InputError, match=r"state\.json is damaged; delete .*00000004 to continue from 00000003"):
        checkpoint.read_state(path, "abc")


@pytest.mark.parametrize("name", ["state.json", *checkpoint.FILES])
def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(tmp_path: Path, name: str) -> None:
    """Too many open files or missing permissions are examples: the advice must not be to delete the file."""
    saved(tmp_path, 3)
    path = saved(tmp_path, 4)
    (path / name).unlink()
    (path / name).symlink_to(path / name)  # even root cannot open this
    with pytest.raises(InputError, match=f"{name} cannot be read: .*; fix that, the file may be intact"):
        checkpoint.read_tensors(path, name if name in checkpoint.FILES else checkpoint.FILES[0])


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was saved by another run; restore the run's own, or delete it"):
        checkpoint.read_state(saved(tmp_path, 3), "xyz")


def test_a_full_disk_while_saving_leaves_the_earlier_checkpoint_and_no_rubbish(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit then fails with EFBIG
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(WorkFailed, match=r"cannot save step 4 in .*File too large; earlier checkpoints are intact"):
            saved(tmp_path, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000003"]
    assert checkpoint.read_state(tmp_path / "checkpoints" / "00000003", "abc").step == 3


def test_an_unfinished_checkpoint_is_not_seen(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    shutil.copytree(tmp_path / "checkpoints" / "00000003", tmp_path / "checkpoints" / ".00000004.part")
    assert [p.name for p in checkpoint.list_checkpoints(tmp_path)] == ["00000003"]


def test_files_have_the_rights_that_the_umask_gives(tmp_path: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    mode = stat.S_IMODE((saved(tmp_path, 1) / checkpoint.FILES[0]).stat().st_mode)
    assert mode == 0o666 & ~mask


def test_load_gives_the_trained_net_in_eval_mode(run: Path) -> None:
    net = load(run)
    assert not net.training
    stored = checkpoint.read_tensors(checkpoint.list_checkpoints(run)[-1], checkpoint.FILES[0])
    assert all(torch.equal(w, stored[n]) for n, w in net.state_dict().items())


def test_load_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a run: it has no recipe\.json"):
        load(tmp_path)


def test_a_folder_without_checkpoints_and_a_file_in_their_place_list_none(tmp_path: Path) -> None:
    assert checkpoint.list_checkpoints(tmp_path) == []
    (tmp_path / "checkpoints").write_text("a file")
    assert checkpoint.list_checkpoints(tmp_path) == []


def best_at(step: int) -> Best:
    return Best({name: t + step for name, t in WEIGHTS.items()}, State(step, (0.5,), 1.0))


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def save_at(run: Path, step: int, best: Best, keep: int = 2) -> Path:
    weights = {name: t + step for name, t in WEIGHTS.items()}
    return checkpoint.save(run, weights, WEIGHTS, State(step, (0.5,), 1.0), "abc", keep, best)


def test_the_best_weights_stay_whatever_keep_prunes_until_there_are_better_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        save_at(tmp_path, step, best_at(2) if step > 1 else best_at(1))
    assert names(tmp_path) == ["00000002-best", "00000004", "00000005"]
    path = tmp_path / "checkpoints" / "00000002-best"
    assert checkpoint.read_state(path, "abc").step == 2
    kept = checkpoint.read_tensors(path, checkpoint.FILES[0])
    assert all(torch.equal(kept[name], t + 2) for name, t in WEIGHTS.items())
    assert sorted(file.name for file in path.iterdir()) == ["state.json", "weights.safetensors"]
    save_at(tmp_path, 6, best_at(6))
    assert names(tmp_path) == ["00000002-best", "00000005", "00000006", "00000006-best"]  # 5 still names 2
    save_at(tmp_path, 7, best_at(6), keep=1)
    assert names(tmp_path) == ["00000006-best", "00000007"]


def test_best_weights_that_are_the_checkpoints_take_no_space_of_their_own(tmp_path: Path) -> None:
    path = save_at(tmp_path, 3, best_at(3))
    assert (tmp_path / "checkpoints/00000003-best/weights.safetensors").samefile(path / "weights.safetensors")


def test_best_weights_that_no_checkpoint_names_are_of_a_killed_save_and_are_written_anew(tmp_path: Path) -> None:
    """A run that is resumed on another machine comes to other bits at the same step."""
    shutil.copytree(save_at(tmp_path, 1, best_at(1)), tmp_path / "checkpoints" / "00000002-best")
    save_at(tmp_path, 2, best_at(2))
    kept = checkpoint.read_tensors(tmp_path / "checkpoints" / "00000002-best", checkpoint.FILES[0])
    assert all(torch.equal(kept[name], t + 2) for name, t in WEIGHTS.items())
    assert checkpoint.read_state(tmp_path / "checkpoints" / "00000002", "abc").best == "00000002-best"


def test_where_a_checkpoint_cannot_be_read_no_best_weights_are_removed(tmp_path: Path) -> None:
    save_at(tmp_path, 1, best_at(1))
    (tmp_path / "checkpoints" / "00000001" / "state.json").write_text("{")
    save_at(tmp_path, 2, best_at(2))
    assert "00000001-best" in names(tmp_path)


def test_a_folder_that_is_no_best_checkpoint_is_left_alone(tmp_path: Path) -> None:
    save_at(tmp_path, 1, best_at(1))
    (tmp_path / "checkpoints" / "my-best").mkdir()
    save_at(tmp_path, 2, best_at(2), keep=1)
    assert names(tmp_path) == ["00000002", "00000002-best", "my-best"]
