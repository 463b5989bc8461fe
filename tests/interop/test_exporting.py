"""Trained nets as files for other tools: what is in them, that they give the net's answers, and what is refused."""

import io
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.exported import made_run, pictures, published
from tests.trained import put
from tests.twins import TorchvisionsAlexNet
from torch import Tensor

import alexnet
from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.store import Store
from alexnet.inference.evaluation import errors
from alexnet.inference.pictures import read_picture
from alexnet.interop import exporting, onnx_files
from alexnet.interop.exporting import Exported, Trained, export
from alexnet.interop.torchvision_writer import preprocessing
from alexnet.runs import checkpoint
from alexnet.runs.published import Published, open_published


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def logits(net: Any, images: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = net(net.transform.center_crop(images))
    return found


# --- ONNX


def test_raw_and_plain_files_rank_100_pictures_as_predict_does(store: Path, small: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = made_run(tmp_path / "run", small, store)
    side = alexnet.load(run).transform.side
    shapes = [(side + i % 40, side + (7 * i) % 50) for i in range(100)]
    chance = np.random.Generator(np.random.Philox(5))
    colours = chance.integers(0, 256, (100, 3))
    noise = [chance.normal(colour, 40, (*shape, 3)) for colour, shape in zip(colours, shapes, strict=True)]
    given = [np.clip(pixels, 0, 255).astype(np.uint8) for pixels in noise]
    told = alexnet.predict(run, given, top=3, precision="fp32", device="cpu")
    squares = torch.from_numpy(np.array([read_picture(picture, side) for picture in given]))
    wanted = np.zeros((100, 3))
    for row, answer in zip(wanted, told, strict=True):
        for entry in answer["predictions"]:
            row[entry["index"]] = entry["probability"]
    assert sorted(np.bincount(wanted.argmax(1), minlength=3))[1] > 5  # another net would be found out
    assert wanted.std(0).max() > 0.05
    net = alexnet.load(run)
    for name, raw in (("raw.onnx", True), ("plain.onnx", False)):
        export(run, tmp_path / name, "onnx", raw=raw)
        answer_to = onnx_files.answer_of((tmp_path / name).read_bytes(), net, 10)
        for batch in (1, 5, 40):
            found = torch.cat([answer_to(part) for part in squares[: 2 * batch + 20].split(batch)]).numpy()
            assert np.abs(found - wanted[: len(found)]).max() < 1e-5
            assert (found.argmax(1) == wanted[: len(found)].argmax(1)).all()


def test_the_error_printed_for_a_quantised_file_is_that_counted_by_hand(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    run = made_run(tmp_path / "run", small, store)
    out = tmp_path / "net.onnx"
    assert command("export", run, out, "--to", "onnx", "--quantize", "--store", store, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    split, net = Store(store)["val"], alexnet.load(run)
    assert told["bytes"] == out.stat().st_size
    export(run, tmp_path / "whole.onnx", "onnx")
    assert told["bytes_before"] == (tmp_path / "whole.onnx").stat().st_size
    rows = []
    for file, which in ((tmp_path / "whole.onnx", "before"), (out, "after")):
        answer_to = onnx_files.answer_of(file.read_bytes(), net, 10)
        rows.append(answer_to(torch.from_numpy(split.read(range(len(split))))).numpy())
        by_hand = errors(rows[-1], split.labels, 10)
        assert told[which] == json.loads(json.dumps(by_hand.plain()))
    assert told["changed"] == (rows[0].argmax(1) != rows[1].argmax(1)).sum()
    assert not np.array_equal(rows[0], rows[1])
    assert (
        command("export", run, tmp_path / "b.onnx", "--to", "onnx", "--quantize", "--store", store, "--views", 1) == 0
    )
    said = capsys.readouterr().out
    assert re.search(
        r"top-1 error [\d.]+ % before, [\d.]+ % after; top-5 .* \(12 pictures of .*, split val, 1 view\)", said
    )


# --- Files and folders that alexnet.load reads


def test_a_safetensors_file_reads_back_to_the_bit_and_says_all(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    export(run, file, "safetensors", licence="cc-by-4.0")
    net, images = alexnet.load(run), pictures(5, 64)
    again = alexnet.load(file)
    assert torch.equal(logits(again, images), logits(net, images))
    assert again.classes == net.classes
    assert torch.equal(again.transform.components, net.transform.components)
    facts = {"format": "pt", "alexnet": alexnet.__version__, "name": "", "licence": "cc-by-4.0", "fit": "crop"}
    with safetensors.safe_open(file, "pt") as opened:
        found = opened.metadata()
    recipe = alexnet.Run(run).recipe
    facts |= {"digest": recipe.digest, "recipe": json.dumps(recipe.plain()), "classes": json.dumps(net.classes)}
    assert found == facts | {"name": alexnet.Run(run).name}
    with pytest.raises(InputError, match="without checkpoints"):
        alexnet.load(file, "00000012")


def test_an_exported_net_exports_again_to_the_same_tensors(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "one.safetensors", "safetensors")
    export(tmp_path / "one.safetensors", tmp_path / "folder", "hub")
    export(tmp_path / "folder", tmp_path / "two.safetensors", "safetensors")
    one, two = (open_published(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert one is not None
    assert two is not None
    for mine, other in ((one.weights, two.weights), (one.statistics, two.statistics)):
        assert all(torch.equal(tensor, other[name]) for name, tensor in mine.items())
    assert (one.recipe, one.classes, one.name, one.fit) == (two.recipe, two.classes, two.name, two.fit)


def test_a_hub_folder_reads_back_to_the_bit_with_modes_of_the_umask(run: Path, store: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        made = export(run, tmp_path / "folder", "hub", store=store, licence="MIT")
    finally:
        os.umask(before)
    assert {p.name for p in made.path.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "transform.safetensors",
    }
    assert {stat.S_IMODE(p.stat().st_mode) for p in made.path.iterdir()} == {0o640}
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o750
    images = pictures(5, 64)
    assert torch.equal(logits(alexnet.load(made.path), images), logits(alexnet.load(run), images))
    told = alexnet.predict(alexnet.load(made.path), images, top=3)
    assert told == alexnet.predict(alexnet.load(run), images, top=3)
    final = next(line for line in alexnet.Run(run).log if line["kind"] == "final")
    when = [entry["when"] for entry in made.facts["results"]]
    assert when == ["at the end of training"] * 2 + [f"by alexnet {alexnet.__version__}, at export"] * 2
    recorded, fresh = made.facts["results"][0], made.facts["results"][2]
    assert (recorded["top1"], recorded["nats"]) == (final["top1"], final["nats"])
    assert (fresh["top1"], fresh["images"], fresh["views"]) == (final["top1"], 12, 10)


def test_results_of_another_step_are_not_of_this_checkpoint(run: Path, store: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    lines = (copied / "log.jsonl").read_text().splitlines()
    final = json.loads(lines[-1])
    for change in ({"step": final["step"] - 1}, {"top1": 2.0}, {"images": "many"}, {"nats": None}):
        (copied / "log.jsonl").write_text("\n".join([*lines[:-1], json.dumps(final | {"one_view": 7} | change)]))
        assert Trained.open(copied, None, None).results == (), change
    made = export(copied, tmp_path / "folder", "hub")
    assert made.facts["results"] == []
    assert "model-index" not in (made.path / "README.md").read_text()


# --- torchvision and torch.export


def small_torchvision(name: str, mean: Tensor | None = None) -> tuple[Published, Exported]:
    own = published("owt")
    if mean is not None:
        own = Published(**vars(own) | {"statistics": own.statistics | {"mean": mean}})
    return own, Exported(Path(name), "torchvision")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_torchvisions_class_loads_the_file_and_gives_the_same_bits(name: str) -> None:
    own, made = small_torchvision(name)
    data = exporting.to_torchvision(Trained(own, "x"), made)
    if name.endswith(".pth"):
        tensors = torch.load(io.BytesIO(data), weights_only=True)
    else:
        tensors = safetensors.torch.load(data)
    theirs = TorchvisionsAlexNet((12, 16, 24, 24, 16), 32, 7, side=1).eval()
    theirs.load_state_dict(tensors)
    net = own.net()
    views = net.transform.center_crop(pictures(4, 71))
    with torch.inference_mode():
        assert torch.equal(theirs(views), torch.nn.Sequential(*net.children())(views))


def test_the_line_on_preprocessing_makes_torchvisions_users_the_same_views() -> None:
    colour = torch.tensor([123.675, 116.28, 103.53])
    own, _ = small_torchvision("net.pth", colour.expand(71, 71, 3).contiguous())
    words = preprocessing(own)
    assert words == ("Resize(71), CenterCrop(63), ToTensor(), Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])")
    images = pictures(3, 71)
    theirs = (images.permute(0, 3, 1, 2) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.testing.assert_close(own.net().transform.center_crop(images), theirs[:, :, 4:67, 4:67], rtol=1e-5, atol=1e-5)
    assert "average of a mean picture" in preprocessing(published("owt"))


def test_an_exported_program_has_no_operations_of_ours_and_takes_any_batch_and_layout() -> None:
    own, made = published("tiny"), Exported(Path("net.pt2"), "torch-export")
    data = exporting.to_program(Trained(own, "x"), made)
    extra = {"classes.json": "", "recipe.json": "", "alexnet.json": ""}
    program = torch.export.load(io.BytesIO(data), extra_files=extra)
    assert not [node for node in program.graph.nodes if str(node.target).startswith("alexnet")]
    assert json.loads(extra["classes.json"]) == own.classes
    assert Recipe.of(json.loads(extra["recipe.json"])) == own.recipe
    net, images = own.net(), pictures(5, own.side)
    wanted = logits(net, images)
    views = net.transform.center_crop(images)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = program.module()(views.contiguous(memory_format=layout))
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


# --- Refusals


def test_options_and_paths_that_do_not_apply_are_refused_in_a_line(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.onnx").touch()
    (tmp_path / "link.onnx").symlink_to(tmp_path / "nowhere")
    here = tmp_path / "net.onnx"
    cases: dict[str, list[object]] = {
        "there.onnx exists": [tmp_path / "there.onnx", "--to", "onnx"],
        "link.onnx exists": [tmp_path / "link.onnx", "--to", "onnx"],
        "folder that exists": [tmp_path / "missing" / "net.onnx", "--to", "onnx"],
        "must end in .onnx": [tmp_path / "net.bin", "--to", "onnx"],
        "must end in .pth or .safetensors": [tmp_path / "net.pt", "--to", "torchvision"],
        "--raw is for --to onnx": [tmp_path / "folder", "--to", "hub", "--raw"],
        "--quantize is for --to onnx": [tmp_path / "net.pt2", "--to", "torch-export", "--quantize"],
        "--quantize needs --store": [here, "--to", "onnx", "--quantize"],
        "--store is for": [here, "--to", "onnx", "--store", store],
        "--views 1 is for": [here, "--to", "onnx", "--views", 1],
        "choose from": [here, "--to", "caffe"],
        "--checkpoint 00000099": [here, "--to", "onnx", "--checkpoint", "00000099"],
        "net.towers is 2": [tmp_path / "net.pth", "--to", "torchvision"],
        "has no meta.json|is not a store": [here, "--to", "onnx", "--quantize", "--store", tmp_path / "missing"],
    }
    names = sorted(p.name for p in tmp_path.iterdir())
    for words, options in cases.items():
        assert command("export", run, *options) == 2, options
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        assert re.search(words, said.err) or words == "choose from", said.err
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    with pytest.raises(InputError, match="choose from onnx"):
        export(run, here, "caffe")  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(
    missing: str, run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setitem(sys.modules, f"{missing}.helper", None)
    with pytest.raises(InputError, match=rf"{missing}, which is not installed; pip install 'alexnet\[onnx\]'"):
        export(run, tmp_path / "net.onnx", "onnx", quantize=True, store=store)
    if missing == "onnxruntime":  # the graph needs no runtime, and says that nobody has compared it
        made = export(run, tmp_path / "net.onnx", "onnx")
        assert any(line.startswith("not compared") for line in made.lines)


def test_a_run_that_is_damaged_or_has_no_checkpoint_leaves_no_file(run: Path, tmp_path: Path) -> None:
    damaged, young = (Path(shutil.copytree(run, tmp_path / name)) for name in ("damaged", "young"))
    weights = checkpoint.list_checkpoints(damaged)[-1] / checkpoint.FILES[0]
    weights.write_bytes(weights.read_bytes()[:-1])
    shutil.rmtree(young / "checkpoints")
    nan = Path(shutil.copytree(run, tmp_path / "nan"))
    tensors = safetensors.torch.load((checkpoint.list_checkpoints(nan)[-1] / checkpoint.FILES[0]).read_bytes())
    put(nan, checkpoint.FILES[0], safetensors.torch.save(tensors | {"fc8.bias": tensors["fc8.bias"] * float("nan")}))
    for folder, words in ((damaged, "is damaged"), (young, "no checkpoint yet"), (tmp_path / "no", "does not exist")):
        with pytest.raises(InputError, match=words):
            export(folder, tmp_path / "net.onnx", "onnx")
    with pytest.raises(WorkFailed, match="diverged"):
        export(nan, tmp_path / "net.onnx", "onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"damaged", "young", "nan"}


def test_a_checkpoint_is_chosen_by_its_name(run: Path, tmp_path: Path) -> None:
    first = checkpoint.list_checkpoints(run)[0].name
    made = export(run, tmp_path / "net.safetensors", "safetensors", checkpoint=first)
    assert made.facts["checkpoint"] == first
    assert torch.equal(alexnet.load(made.path).conv1.weight, alexnet.load(run, first).conv1.weight)  # type: ignore[union-attr, arg-type]
