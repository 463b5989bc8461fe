"""Imported runs compute what their own libraries do, and each detail that an importer can forget is seen."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.foreign import (
    CAFFE,
    CLASS_NAMES,
    CLASSES,
    HIDDEN,
    TORCHVISION,
    WIDTHS,
    Kind,
    binaryproto,
    caffe_views,
    caffemodel,
    forward,
    mean_bgr,
    off,
    onnx_model,
    squares,
    torchvisions,
    weights,
    written,
)
from tests.interop.conftest import KINDS, views

import alexnet
from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.data.transforms import Transform, make_transform
from alexnet.interop.importing import import_weights
from alexnet.models.build import build
from alexnet.runs.run import Run
from alexnet.training.train import train

CLOSE, FAR = 1e-5, 5e-3
Forget = Callable[[alexnet.AlexNet, Recipe], alexnet.AlexNet | None]


@pytest.mark.parametrize("name", KINDS)
def test_an_imported_net_computes_the_logits_of_its_library(name: str, imported: Callable[[str], Path]) -> None:
    kind, net = KINDS[name], alexnet.load(imported(name))
    pictures = squares(kind)
    taps, logits = forward(kind, weights(kind), views(kind, pictures))
    with torch.no_grad():
        seen = dict(net.walk(net.transform(pictures)))
    assert off(net(net.transform(pictures)).detach(), logits) < CLOSE
    for i, tap in enumerate(taps, 1):
        assert off(seen[f"relu{i}"], tap) < CLOSE


@pytest.mark.parametrize("name", KINDS)
def test_the_weights_of_an_imported_run_are_those_of_the_file(name: str, imported: Callable[[str], Path]) -> None:
    state, own = alexnet.load(imported(name)).state_dict(), weights(KINDS[name])
    if name != "torchvision":
        own["conv1.weight"] = own["conv1.weight"].flip(1)
    assert state.keys() == own.keys()
    assert all(torch.equal(state[key], own[key]) for key in own)


def forget_bgr_of_conv1(net: alexnet.AlexNet, _: Recipe) -> None:
    net.conv1.weight.data = net.conv1.weight.data.flip(1)


def forget_bgr_of_the_mean(net: alexnet.AlexNet, _: Recipe) -> None:
    net.transform = dataclasses.replace(net.transform, mean=net.transform.mean.flip(2))


def forget_the_mean_at_its_place(net: alexnet.AlexNet, _: Recipe) -> None:
    mean = net.transform.mean.mean((0, 1)).expand_as(net.transform.mean).contiguous()
    net.transform = dataclasses.replace(net.transform, mean=mean)


def forget_std(net: alexnet.AlexNet, recipe: Recipe) -> None:
    zeros = torch.zeros(3), torch.zeros(3, 3)
    net.transform = make_transform(recipe.replace(views={"std": ()}), net.transform.mean, *zeros)


def set_to(**change: object) -> Forget:
    def forget(net: alexnet.AlexNet, recipe: Recipe) -> alexnet.AlexNet:
        other = build(recipe.replace(net=change).net, 0).eval()
        other.load_state_dict(net.state_dict())
        other.transform = net.transform
        assert isinstance(other, alexnet.AlexNet)
        return other

    return forget


FORGOTTEN: dict[str, tuple[str, Forget]] = {
    "caffe, blue first in conv1": ("bvlc", forget_bgr_of_conv1),
    "caffe, blue first in the mean": ("bvlc", forget_bgr_of_the_mean),
    "caffe, the mean of each place": ("bvlc", forget_the_mean_at_its_place),
    "caffe, alpha divided by n": ("bvlc", set_to(lrn={"divide_alpha_by_n": False})),
    "caffe, k = 1": ("bvlc", set_to(lrn={"k": 2.0})),
    "caffe, norms across all maps": ("bvlc", set_to(lrn={"across": "tower"})),
    "caffe, dropout scales in training": ("bvlc", set_to(dropout_scale="testing")),
    "caffenet, pool before norm": ("caffenet", set_to(pool_first=False)),
    "torchvision, padding of conv1": ("torchvision", set_to(padding=(), pool_ceil=True)),
    "torchvision, std of the input": ("torchvision", forget_std),
    "torchvision, dropout scales in training": ("torchvision", set_to(dropout_scale="testing")),
}


@pytest.mark.parametrize("detail", FORGOTTEN)
def test_a_forgotten_detail_is_far_off(
    detail: str, imported: Callable[[str], Path], record_property: Callable[[str, object], None]
) -> None:
    """The comparison of logits would see each; an argmax would not see all: dropout's scale keeps the order."""
    name, forget = FORGOTTEN[detail]
    kind, run = KINDS[name], Run(imported(name))
    net = run.net()
    assert isinstance(net, alexnet.AlexNet)
    pictures = squares(kind, 16)
    logits = forward(kind, weights(kind), views(kind, pictures))[1]
    with torch.no_grad():
        assert off(net(net.transform(pictures)), logits) < CLOSE
        other = forget(net, run.recipe) or net
        found = off(other(other.transform(pictures)), logits)
    record_property("off", found)
    assert found > FAR


def test_views_at_a_corner_subtract_the_mean_of_the_corner(imported: Callable[[str], Path]) -> None:
    net = alexnet.load(imported("bvlc"))
    pictures = squares(CAFFE)
    first, last = (net.transform.ten_crop(pictures)[place] for place in (0, 4))
    margin = CAFFE.side - CAFFE.size
    assert torch.equal(first.flip(1), caffe_views(CAFFE, pictures, 0, 0))
    assert torch.equal(last.flip(1), caffe_views(CAFFE, pictures, margin, margin))


def test_a_run_of_caffe_warps_pictures_and_one_of_torchvision_crops_them(imported: Callable[[str], Path]) -> None:
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, :64] = 255  # outside the central square
    for name, fit in (("bvlc", "warp"), ("caffenet", "warp"), ("torchvision", "crop")):
        run = imported(name)
        net = alexnet.load(run)
        assert net.transform.fit == fit
        image = Image.fromarray(wide)
        side = KINDS[name].side
        box = (0, 0, 192, 64) if fit == "warp" else (64, 0, 128, 64)
        square = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box))
        expected = alexnet.predict(net, [square], top=CLASSES)[0]["predictions"]
        found = alexnet.predict(net, [image], top=CLASSES)[0]["predictions"]
        for one, other in zip(found, expected, strict=True):
            assert one["probability"] == pytest.approx(other["probability"], rel=1e-2)


def test_recipes_keep_what_each_library_trains_with(imported: Callable[[str], Path]) -> None:
    nets: list[Any] = [Run(imported(name)).recipe.net for name in ("bvlc", "caffenet", "torchvision")]
    bvlc, caffenet, owt = nets
    assert all(net.dropout_scale == "training" for net in nets)
    assert bvlc.biases == (0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0)
    assert caffenet.biases == (0, 1, 0, 1, 1, 1, 1, 0)
    assert (owt.init, owt.dropped, owt.pool_ceil, owt.padding) == ("uniform", ("pool5", "fc6"), False, (2, 2, 1, 1, 1))
    assert (bvlc.dropped, bvlc.pool_ceil, bvlc.padding) == (("fc6", "fc7"), True, (0, 2, 1, 1, 1))
    assert (bvlc.pool_first, caffenet.pool_first) == (False, True)


@pytest.mark.parametrize("form", ["text", "list", "keras"])
def test_names_of_classes_are_in_the_order_of_the_file(form: str, tmp_path: Path) -> None:
    torch.save(torchvisions(weights(TORCHVISION)), tmp_path / "net.pth")
    listed: object = list(CLASS_NAMES)
    if form == "keras":
        listed = {str(i): [f"n0000000{i}", name] for i, name in enumerate(CLASS_NAMES)}
    text = "\n".join(CLASS_NAMES) + "\n" if form == "text" else json.dumps(listed)
    (tmp_path / "names").write_text("\ufeff" + text, encoding="utf-8")
    import_weights(tmp_path / "net.pth", tmp_path / "run", classes=tmp_path / "names")
    shown = [name.removeprefix("n02119789 ") if form != "keras" else name for name in CLASS_NAMES]
    net = alexnet.load(tmp_path / "run")
    assert list(net.classes) == shown
    pictures = squares(TORCHVISION, 1)
    with torch.no_grad():
        best = int(forward(TORCHVISION, weights(TORCHVISION), views(TORCHVISION, pictures))[1].argmax())
    assert alexnet.predict(net, pictures, views=1)[0]["predictions"][0]["class"] == shown[best]


def test_without_names_the_classes_have_numbers(imported: Callable[[str], Path]) -> None:
    assert Run(imported("bvlc")).classes == [f"class {n}" for n in range(CLASSES)]


def test_the_environment_says_what_was_imported(imported: Callable[[str], Path]) -> None:
    for name, words in (("torchvision", "BSD-3-Clause"), ("bvlc", "unrestricted"), ("caffenet", "unrestricted")):
        about = Run(imported(name)).environment
        file = Path(about["imported"]["file"])
        assert about["imported"]["kind"] == name
        assert about["imported"]["bytes"] == file.stat().st_size
        assert words in about["imported"]["licence"]
        assert re.fullmatch("[0-9a-f]{64}", about["imported"]["sha256"])
        assert about["store_digest"] == about["imported"]["sha256"][:12]


def test_a_run_that_exists_is_not_touched_and_a_failed_import_leaves_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "in", "net.caffemodel", caffemodel(CAFFE, weights(CAFFE)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine").write_text("mine")
    with pytest.raises(InputError, match=r"run folder .* exists; name another folder"):
        import_weights(file, tmp_path / "run")
    with pytest.raises(InputError, match="give --mean FILE"):
        import_weights(file, tmp_path / "deep/er/run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "run"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine"]


def test_training_starts_from_an_imported_run_but_does_not_resume_it(
    imported: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    run = imported("torchvision")
    with pytest.raises(InputError, match=rf"was imported; train another folder --from {re.escape(str(run))}"):
        train(store, run, resume=True, quiet=True)
    recipe = Run(run).recipe.replace(epochs=1, sgd={"batch": 8, "lr": 1e-4, "bias_lr": 1e-4})
    train(store, tmp_path / "tuned", recipe, from_run=run, quiet=True, device="cpu", precision="fp32")
    tuned, first = alexnet.load(tmp_path / "tuned"), weights(TORCHVISION)
    assert isinstance(tuned, alexnet.AlexNet)
    assert tuned.fc8.weight.shape == (3, HIDDEN)
    assert 0 < off(tuned.conv1.weight.detach(), first["conv1.weight"]) < 0.1


@pytest.mark.parametrize(("suffix", "kind", "said"), [
    (".pkl", "auto", r"has the suffix .pkl; a file of weights has one of .pth, .pt"),
    ("", "auto", r"has the suffix \(none\)"),
    (".pth", "bvlc", "--as bvlc: a .pth file holds torchvision"),
    (".caffemodel", "torchvision", "--as torchvision: a .caffemodel file holds bvlc or caffenet"),
    (".caffemodel", "resnet", "--as resnet; give one of auto, torchvision"),
])  # fmt: skip
def test_a_suffix_that_does_not_fit_is_refused(suffix: str, kind: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        import_weights(written(tmp_path, f"net{suffix}", b"x"), tmp_path / "run", kind=kind)  # type: ignore[arg-type]


def test_what_is_returned_says_what_was_recognised(tmp_path: Path) -> None:
    file = written(tmp_path, "net.caffemodel", caffemodel(CAFFE, weights(CAFFE)))
    mean = written(tmp_path, "m.binaryproto", binaryproto(mean_bgr(CAFFE)))
    found = import_weights(file, tmp_path / "run", mean=mean).plain()
    assert found["kind"] == found["recipe"] == "bvlc"
    assert found["layers"]["conv2"] == f"{WIDTHS[1]} x {WIDTHS[0] // 2} x 5 x 5"
    assert (found["classes"], found["side"]) == (CLASSES, CAFFE.side)
    assert json.loads(json.dumps(found)) == found


def kinds_of_onnx(tmp_path: Path) -> list[tuple[Kind, Path]]:
    import onnx

    made = []
    for name, kind in KINDS.items():
        onnx.save(onnx_model(kind, weights(kind)), tmp_path / f"{name}.onnx")
        made.append((kind, tmp_path / f"{name}.onnx"))
    return made


def test_the_three_kinds_come_from_onnx_too(tmp_path: Path) -> None:
    for kind, file in kinds_of_onnx(tmp_path):
        name = file.stem
        mean = None if name == "torchvision" else written(tmp_path, "m.binaryproto", binaryproto(mean_bgr(kind)))
        import_weights(file, tmp_path / name, kind=name, mean=mean)  # type: ignore[arg-type]
        net, pictures = alexnet.load(tmp_path / name), squares(kind)
        logits = forward(kind, weights(kind), views(kind, pictures))[1]
        assert isinstance(net.transform, Transform)
        with torch.no_grad():
            assert off(net(net.transform(pictures)), logits) < CLOSE
