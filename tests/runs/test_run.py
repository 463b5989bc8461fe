"""The `Run` object: it reads each file of its folder once."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.core import files
from alexnet.core.errors import InputError
from alexnet.figures.catalogue import draw
from alexnet.runs.checkpoint import list_checkpoints
from alexnet.runs.run import Run, load


def test_a_run_has_its_recipe_log_checkpoints_classes_and_net(run: Path) -> None:
    found = alexnet.Run(str(run))
    assert found.recipe.digest == json.loads((run / "recipe.json").read_text())["digest"]
    assert {line["kind"] for line in found.log} >= {"step", "epoch", "final"}
    assert found.checkpoints == list_checkpoints(run)
    assert len(found.classes) == found.recipe.net.classes
    net = found.net()
    assert (net.classes, net.training) == (found.classes, False)
    pictures = torch.zeros(2, net.transform.side, net.transform.side, 3, dtype=torch.uint8)
    assert net(net.transform.center_crop(pictures)).shape == (2, len(found.classes))
    assert f"recipe {found.name} {found.recipe.digest}" in repr(found)


def test_each_file_is_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    kept = files.read_bytes

    def counted(path: Path, most: int = files.LARGEST) -> bytes:
        opened.append(path.name)
        return kept(path, most)

    monkeypatch.setattr("alexnet.runs.run.read_bytes", counted)
    found = Run(run)
    for _ in range(2):
        assert all((found.recipe, found.classes, found.environment, found.transform))
    assert sorted(opened) == ["classes.json", "environment.json", "pictures.safetensors", "recipe.json"]


def test_the_log_and_the_checkpoints_are_looked_at_anew(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    found = Run(copy)
    lines, saved = len(found.log), len(found.checkpoints)
    with (copy / "log.jsonl").open("a") as log:
        log.write('{"kind": "note", "step": 1}\n')
    shutil.rmtree(list_checkpoints(copy)[-1])
    assert (len(found.log), len(found.checkpoints)) == (lines + 1, saved - 1)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for act in (Run, load):
        with pytest.raises(InputError, match=r"is not a run: it has no recipe\.json"):
            act(tmp_path)


def test_what_is_named_in_place_of_a_run_is_told(run: Path, store: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "fit/run")
    (tmp_path / "a file").write_text("words")
    exported = alexnet.export(run, tmp_path / "hub", "hub").path
    cases = {
        tmp_path / "no": "no does not exist; name the folder of a run",
        tmp_path / "a file": "a file is a file, and not the folder of a run; alexnet import",
        tmp_path / "fit": f"fit is not a run, but {tmp_path / 'fit/run'} is one",
        store: "is a store, and not a run",
        exported: f"alexnet import {exported} RUN makes a run of it",
    }
    for folder, words in cases.items():
        with pytest.raises(InputError, match=re.escape(words)):
            Run(folder)
    with pytest.raises(InputError, match="is a store, and not a run"):
        draw(store, tmp_path / "figures")
    with pytest.raises(InputError, match="a file is a file; name a folder"):
        draw(run, tmp_path / "a file")
