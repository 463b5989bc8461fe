"""The facts for a bug report: all there, and none lost with another."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet.ops import cpu_build
from alexnet.reporting import installation
from alexnet.reporting.installation import facts, in_words
from alexnet.version import __version__


def test_the_facts_name_versions_devices_and_what_computes() -> None:
    found = facts()
    assert found["alexnet"] == __version__
    assert found["torch"].startswith(torch.__version__)
    assert found["cores"] >= 1
    assert found["threads"] == torch.get_num_threads()
    assert found["precision_auto"].split()[0] in ("bf16", "fp32")
    assert found["memory"]["all"] >= found["memory"]["available"] > 0
    assert set(found["extras"]) == {"scipy", "simplejpeg", "tensorboard", "triton"}
    assert not any(str(value).startswith("not known") for value in found.values())
    json.dumps(found)
    assert ["alexnet", __version__] in in_words(found)


def test_without_compiler_and_extras_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none" / "yet"))
    monkeypatch.setenv("ALEXNET_DATA", "/data")
    monkeypatch.delenv("ALEXNET_NATIVE", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(installation, "EXTRAS", ("no-such-package",))
    cpu_build.library.cache_clear()
    try:
        found = facts()
    finally:
        cpu_build.library.cache_clear()
    assert found["forms"]["cpu"] == "pytorch: no c++ or g++ found"
    assert found["compiler"] == "none: no c++ or g++ found"
    assert found["commit"] == "none: not a checkout"  # there is no git either
    assert found["extras"] == {"no-such-package": None}
    assert found["environment"]["ALEXNET_DATA"] == "/data"
    assert found["free_disk"]["cache"] > 0
    assert ["extras: no-such-package", "absent"] in in_words(found)


def test_a_torch_that_cannot_be_imported_costs_its_own_facts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "torch":
            raise OSError("libcudart.so.12: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    found = facts()
    assert found["torch"] == "not known: OSError: libcudart.so.12: cannot open shared object file"
    assert found["python"]
    assert found["memory"]
    assert found["alexnet"] == __version__
