"""Nets that were exported, read by `alexnet.load`: whole, or refused in a line that says what does not fit."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.exported import published

import alexnet
from alexnet.core.errors import InputError
from alexnet.interop.exporting import export
from alexnet.runs.published import CONFIG, STATISTICS, WEIGHTS, check_tensors, open_published
from alexnet.runs.run import Run

DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's net as one file."""
    return export(run, tmp_path_factory.mktemp("published") / "net.safetensors", "safetensors").path


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's net as a folder for the hub."""
    return export(run, tmp_path_factory.mktemp("published") / "folder", "hub").path


def parts_of(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    return safetensors.torch.load(data), header["__metadata__"]


Change = Callable[[dict[str, torch.Tensor], dict[str, str]], Any]
MISFITS: dict[str, Change] = {
    "no tensor conv1.bias": lambda tensors, facts: tensors.pop("conv1.bias"),
    "an unknown tensor evil": lambda tensors, facts: tensors.update(evil=torch.zeros(3)),
    r"conv1.bias has shape \(3,\), not \(8,\)": lambda tensors, facts: tensors.update({"conv1.bias": torch.zeros(3)}),
    "conv1.bias is int64": lambda tensors, facts: tensors.update({"conv1.bias": torch.zeros(8, dtype=torch.int64)}),
    "no tensor mean": lambda tensors, facts: tensors.pop("transform.mean"),
    r"mean has shape \(64, 64\)": lambda tensors, facts: tensors.update({"transform.mean": torch.zeros(64, 64)}),
    r"mean has shape \(\)": lambda tensors, facts: tensors.update({"transform.mean": torch.zeros(())}),
    "mean has side 9": lambda tensors, facts: tensors.update({"transform.mean": torch.zeros(9, 9, 3)}),
    "eigenvalues has shape": lambda tensors, facts: tensors.update({"transform.eigenvalues": torch.zeros(9)}),
    "lack recipe; alexnet import": lambda tensors, facts: facts.pop("recipe"),
    "nested too deeply": lambda tensors, facts: facts.update(recipe=DEEP),
    "a recipe is a JSON object": lambda tensors, facts: facts.update(recipe="7"),
    "has digest": lambda tensors, facts: facts.update(digest="0" * 12),
    "2 class names for 3 outputs": lambda tensors, facts: facts.update(classes='["a", "b"]'),
    "not a list of names": lambda tensors, facts: facts.update(classes="[1, 2, 3]"),
    "its fit is": lambda tensors, facts: facts.update(fit="squeeze"),
}


@pytest.mark.parametrize("words", MISFITS)
def test_a_file_whose_parts_do_not_fit_is_refused_in_a_line(words: str, file: Path, tmp_path: Path) -> None:
    tensors, facts = parts_of(file)
    MISFITS[words](tensors, facts)
    (tmp_path / "net.safetensors").write_bytes(safetensors.torch.save(tensors, facts))
    with pytest.raises(InputError, match=words) as refused:
        alexnet.load(tmp_path / "net.safetensors")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, STATISTICS])
def test_a_folder_with_a_file_that_is_damaged_or_missing_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    for data in (
        b"",
        b"7",
        b"{}",
        DEEP.encode(),
        whole[name][:-9],
        b"\xff\xff",
        struct.pack("<Q", 2**62) + b"{}",
        None,
    ):
        for other, content in whole.items():
            (tmp_path / other).write_bytes(content)
        (tmp_path / name).unlink()
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError) as refused:
            alexnet.load(tmp_path)
        assert "\n" not in str(refused.value)


def test_a_config_of_another_library_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"architecture": "resnet18"}')
    with pytest.raises(InputError, match="no entry alexnet"):
        alexnet.load(tmp_path)


def test_a_net_in_half_precision_is_read_as_float32(file: Path, tmp_path: Path) -> None:
    tensors, facts = parts_of(file)
    half = {name: t.half() if not name.startswith("transform.") else t for name, t in tensors.items()}
    (tmp_path / "net.safetensors").write_bytes(safetensors.torch.save(half, facts))
    net = alexnet.load(tmp_path / "net.safetensors")
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert torch.equal(net.state_dict()["fc8.weight"].half(), half["fc8.weight"])


def test_what_is_not_exported_is_left_to_run(run: Path, tmp_path: Path) -> None:
    assert open_published(run) is None
    assert open_published(tmp_path) is None
    with pytest.raises(InputError, match="is not a run"):
        Run(tmp_path)
    with pytest.raises(InputError, match=r"missing\.safetensors cannot be read: No such file"):
        alexnet.load(tmp_path / "missing.safetensors")


def test_the_first_misfit_is_the_one_that_is_named() -> None:
    one = torch.zeros(1)
    with pytest.raises(ValueError, match="no tensor b"):
        check_tensors({"a": one, "c": one}, {"a": (1,), "b": (1,)})
    check_tensors({"a": one}, {"a": (1,)})
    assert published("bvlc").side == 75
