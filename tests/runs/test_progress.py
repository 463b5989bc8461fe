import json
import shutil
from pathlib import Path

from tests.trained import put

from alexnet.runs.progress import progress
from alexnet.runs.run import Run


def test_a_checkpoint_is_named_with_its_epoch_and_whether_training_ended(run: Path, tmp_path: Path) -> None:
    """Of 30 pictures, eight a step, an epoch has four steps; the run has three epochs."""
    assert progress(Run(run), "00000012").words() == "checkpoint 00000012, epoch 3 of 3"
    assert progress(Run(run), "00000004").words() == "checkpoint 00000004, epoch 1 of 3"
    stopped = shutil.copytree(run, tmp_path / "stopped")
    (stopped / "log.jsonl").write_text("")
    found = progress(Run(stopped), "00000005")
    assert found.words() == "checkpoint 00000005, epoch 1.2 of 3, training not finished"
    assert (found.step, found.epoch, found.finished) == (5, 1.25, False)
    assert progress(Run(stopped), "00000012-1").finished


def test_a_log_that_cannot_be_read_does_not_stop_the_use_of_the_net(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "log.jsonl").unlink()
    (copy / "log.jsonl").mkdir()
    assert progress(Run(copy), "00000012").finished
    assert not progress(Run(copy), "00000005").finished


def test_a_run_that_does_not_know_its_pictures_names_no_epoch(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    environment = json.loads((copy / "environment.json").read_text())
    for images in ({}, {"train": "many"}, {"train": 0}, 7, None):
        put(copy, "environment.json", json.dumps(environment | {"images": images}).encode())
        assert progress(Run(copy), "00000012").words() == "checkpoint 00000012"
    (copy / "environment.json").unlink()
    assert progress(Run(copy), "00000012").epoch is None
