"""Where and how precisely: what is chosen, and what is refused in one line."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.rounding import TOLERANCE, apart, assert_near_in_bf16
from tests.trained import put, weights

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute, choose_compute, has_bf16
from alexnet.core.errors import InputError
from alexnet.models.build import build
from alexnet.training.train import train

CPU = torch.device("cpu")
THERE = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.is_available()  # before any test


@pytest.mark.parametrize(("hardware", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch, hardware: bool, chosen: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: hardware)
    assert has_bf16(CPU) == hardware
    assert choose_compute("cpu").precision == chosen


def test_tf32_is_refused_where_there_is_none() -> None:
    with pytest.raises(InputError, match="tf32 on cpu: only CUDA devices have it; give fp32, bf16 or auto"):
        choose_compute("cpu", "tf32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_net_that_serves_holds_its_weights_as_it_computes(precision: str) -> None:
    compute = Compute(CPU, precision)
    net = compute.serve(build(RECIPES["cifar-18"].net, 0))
    assert {p.dtype for p in net.parameters()} == {compute.dtype}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The answers of a driver with two devices, the second of them current; the list holds those that were set."""
    taken: list[int] = []
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch, "empty", lambda *shape, **_: empty(*shape))
    monkeypatch.setattr(torch._C, "_cuda_setDevice", taken.append, raising=False)
    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, products.allow_bf16_reduced_precision_reduction
    yield taken
    products.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before[:3]
    products.allow_bf16_reduced_precision_reduction = before[3]


@pytest.mark.parametrize(("name", "number"), [("auto", 1), ("cuda", 1), ("cuda:0", 0)])
def test_a_cuda_device_is_taken_by_any_of_its_names(driver: list[int], name: str, number: int) -> None:
    """Without a number it is the current one; the place then has the number, which streams and threads need."""
    assert choose_compute(name, "fp32").device == torch.device("cuda", number)
    assert driver == [number]


@pytest.mark.usefixtures("driver")
def test_products_in_bf16_are_summed_in_float32() -> None:
    """PyTorch's default lets cuBLAS add the parts of a split product in bfloat16."""
    choose_compute("cuda", "bf16")
    assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction


@pytest.mark.skipif(THERE[1], reason="there is a CUDA device here")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_cuda_device_that_is_not_to_be_had_costs_one_line(name: str) -> None:
    with pytest.raises(InputError, match=f"^--device {name} is not to be had here; there is cpu$"):
        choose_compute(name)


@pytest.fixture(scope="module")
def beforehand() -> str:
    """What a fixture sees that is made before those of a single test."""
    return choose_compute("auto", "fp32").device.type


def test_a_test_without_the_mark_has_no_cuda_device(beforehand: str) -> None:
    assert beforehand == choose_compute("auto", "fp32").device.type == "cpu"
    code = "import os, torch; print(os.environ['CUDA_VISIBLE_DEVICES'], torch.cuda.is_available())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == " False\n"


@pytest.mark.gpu
def test_a_test_with_the_mark_has_the_device_that_there_is() -> None:
    assert (os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.is_available()) == THERE


@pytest.mark.parametrize("processes", ["0", "1"])
def test_cuda_devices_are_hidden_from_all_but_the_tests_with_the_mark(processes: str, tmp_path: Path) -> None:
    """The two tests above, where PyTorch says that there is a device: in one process, and in one of xdist's."""
    (tmp_path / "device.py").write_text("import torch\ntorch.cuda.is_available = lambda: True\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-m", "pytest", "-n", processes, "-p", "device", "-p", "no:cacheprovider", __file__]
    done = subprocess.run([*command, "-k", "the_mark_has"], env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def kilobytes_faulted(setting: str) -> int:
    """What a process faults in while it clones 32 MB twenty times."""
    code = (
        "import resource, torch; from alexnet.core.device import keep_pages; print(keep_pages())\n"
        "x = torch.ones(2**23)\n"
        "for i in range(23):\n"
        "    if i == 3: before = resource.getrusage(0).ru_minflt\n"
        "    y = x.clone(); del y\n"
        "print(4 * (resource.getrusage(0).ru_minflt - before))"
    )
    environment = os.environ | {"ALEXNET_KEEP_PAGES": setting, "OMP_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    kept, faulted = said.stdout.split()
    assert kept == str(setting == "1")
    return int(faulted)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc here is not glibc's")
def test_kept_pages_are_not_faulted_in_again_and_the_switch_leaves_malloc_as_it_is() -> None:
    """Twenty clones of 32 MB: all of it again each time, or next to nothing."""
    assert kilobytes_faulted("0") > 10 * 32 * 1024
    assert kilobytes_faulted("1") < 10 * 32 * 1024


def test_a_run_in_tf32_is_not_resumed_on_a_cpu(store: Path, small: Recipe, tmp_path: Path) -> None:
    """The precision that a run was begun in is asked of the device anew."""
    train(store, tmp_path / "run", small.replace(epochs=1), precision="fp32", quiet=True)
    environment = (tmp_path / "run/environment.json").read_text()
    put(tmp_path / "run", "environment.json", environment.replace('"fp32"', '"tf32"').encode())
    with pytest.raises(InputError, match="tf32 on cpu"):
        train(store, tmp_path / "run", resume=True, device="cpu", quiet=True)


OFF = {
    "no compiler": {"CXX": "/nonexistent/c++"},
    "no compiled forms": {"ALEXNET_NATIVE": "off"},
    "no AVX-512": {"ALEXNET_NATIVE": "x86-64-v3", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "no AVX": {"ALEXNET_NATIVE": "x86-64", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "no kept pages": {"ALEXNET_KEEP_PAGES": "0"},
}


@pytest.mark.parametrize("missing", OFF)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_whatever_the_machine_lacks_training_goes_the_same_way(
    missing: str, precision: str, store: Path, small: Recipe, tmp_path: Path
) -> None:
    """Another process without that feature learns what this one does, but for rounding."""
    short = small.replace(epochs=1)
    (tmp_path / "recipe.json").write_text(json.dumps(short.plain()))
    here = train(store, tmp_path / "here", short, precision=precision, quiet=True)
    environment = os.environ | OFF[missing] | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = ["train", str(store), str(tmp_path / "there"), "--recipe", str(tmp_path / "recipe.json")]
    made = subprocess.run(
        [sys.executable, "-m", "alexnet", *command, "--precision", precision, "--device", "cpu"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    if missing == "no compiler":
        assert made.stderr.count("cannot be compiled") == 1
    one, other = weights(tmp_path / "here"), weights(tmp_path / "there")
    if precision == "fp32":
        assert apart(one, other) < TOLERANCE["fp32"]
    else:
        assert_near_in_bf16(one, other)
    assert here.errors.images == 12
