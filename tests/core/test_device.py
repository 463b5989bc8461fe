"""Choosing a device and a precision, and the errors for bad ones."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.faults.several import several
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
    with pytest.raises(InputError, match="tf32 on cpu; only CUDA devices have it: use fp32, bf16 or auto"):
        choose_compute("cpu", "tf32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_net_that_serves_holds_its_weights_as_it_computes(precision: str) -> None:
    compute = Compute(CPU, precision)
    net = compute.serve(build(RECIPES["cifar-18"].net, 0))
    assert {p.dtype for p in net.parameters()} == {compute.dtype}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Fake a driver with two devices, the second one current; the list collects the devices that are set."""
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
    """Without a number, it is the current device; streams and threads then need its number."""
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
    with pytest.raises(InputError, match=f"^--device {name} is not available here; this machine has cpu$"):
        choose_compute(name)


@pytest.fixture(scope="module")
def beforehand() -> str:
    """Return what a fixture sees that runs before the fixtures of a single test."""
    return choose_compute("auto", "fp32").device.type


def test_a_test_without_the_mark_has_no_cuda_device(beforehand: str) -> None:
    assert beforehand == choose_compute("auto", "fp32").device.type == "cpu"
    code = "import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    if torch.backends.cuda.is_built():  # else torch finds no device in any process
        code += "; import torch; assert not torch.cuda.is_available()"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "''\n"


@pytest.mark.gpu
def test_a_test_with_the_mark_has_the_device_that_there_is() -> None:
    assert (os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.is_available()) == THERE


def test_cuda_devices_are_hidden_from_all_but_the_tests_with_the_mark(tmp_path: Path) -> None:
    """Run the two tests above while PyTorch reports a device, in a process of xdist's."""
    (tmp_path / "device.py").write_text("import torch\ntorch.cuda.is_available = lambda: True\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "device", "-p", "no:cacheprovider", __file__]
    done = subprocess.run([*command, "-k", "the_mark_has"], env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc here is not glibc's")
def test_kept_pages_are_not_faulted_in_again_and_the_switch_leaves_malloc_as_it_is() -> None:
    """Twenty clones of 32 MB: switched off, every clone faults its pages in; switched on, almost none does."""
    code = (
        "import os, resource, torch; from alexnet.core.device import keep_pages\n"
        "x = torch.ones(2**23)\n"
        "for setting in '01':\n"
        "    os.environ['ALEXNET_KEEP_PAGES'] = setting\n"
        "    print(keep_pages())\n"
        "    for i in range(40):\n"  # the first few find no large enough free block
        "        if i == 20: before = resource.getrusage(0).ru_minflt\n"
        "        y = x.clone(); del y\n"
        "    print(4 * (resource.getrusage(0).ru_minflt - before))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    off, faulted, on, faulted_again = said.stdout.split()
    assert (off, on) == ("False", "True")
    assert int(faulted) > 10 * 32 * 1024 > int(faulted_again)


def test_a_run_in_tf32_is_not_resumed_on_a_cpu(store: Path, small: Recipe, tmp_path: Path) -> None:
    """A resumed run checks again that the device has its precision."""
    train(store, tmp_path / "run", small.replace(epochs=1), precision="fp32", quiet=True)
    environment = (tmp_path / "run/environment.json").read_text()
    put(tmp_path / "run", "environment.json", environment.replace('"fp32"', '"tf32"').encode())
    with pytest.raises(InputError, match="tf32 on cpu"):
        train(store, tmp_path / "run", resume=True, device="cpu", quiet=True)


PRECISIONS = ("fp32", "bf16")
OFF = {
    "no compiler": {"CXX": "/nonexistent/c++"},
    "no compiled forms": {"ALEXNET_NATIVE": "off"},
    "no AVX-512": {"ALEXNET_NATIVE": "x86-64-v3", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "no AVX": {"ALEXNET_NATIVE": "x86-64", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "no kept pages": {"ALEXNET_KEEP_PAGES": "0"},
}


@pytest.fixture(scope="module")
def short(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a recipe of one epoch."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps(small.replace(epochs=1).plain()))
    return path


@pytest.fixture(scope="module")
def here(store: Path, short: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train in this process, in each precision."""
    folder, recipe = tmp_path_factory.mktemp("here"), Recipe.of(json.loads(short.read_text()))
    for precision in PRECISIONS:
        assert train(store, folder / precision, recipe, precision=precision, quiet=True).errors.images == 12
    return {precision: folder / precision for precision in PRECISIONS}


@pytest.fixture(scope="module")
def there(
    request: pytest.FixtureRequest, store: Path, short: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Train in another process without one feature, in each precision."""
    folder = tmp_path_factory.mktemp("there")
    environment = OFF[request.param]
    if request.param == "no compiler":
        environment = environment | {"XDG_CACHE_HOME": str(folder / "cache")}  # an empty cache
    commands = [["train", store, p, "--recipe", short, "--precision", p, "--device", "cpu"] for p in PRECISIONS]
    done = several(commands, folder, environment)
    said = "".join(err for _, _, err in done)
    assert [code for code, *_ in done] == [0] * len(PRECISIONS), said
    assert said.count("cannot be compiled") == (request.param == "no compiler")
    return {precision: folder / precision for precision in PRECISIONS}


@pytest.mark.parametrize("there", OFF, indirect=True)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_whatever_the_machine_lacks_training_goes_the_same_way(
    precision: str, here: dict[str, Path], there: dict[str, Path]
) -> None:
    """A process without that feature learns the same weights as this one, up to rounding."""
    one, other = weights(here[precision]), weights(there[precision])
    if precision == "fp32":
        assert apart(one, other) < TOLERANCE["fp32"]
    else:
        assert_near_in_bf16(one, other)
