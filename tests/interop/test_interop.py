"""The wheel, in a new environment: it exports each kind, and onnxruntime and torch read the files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a user's program does, where the package is only installed.
PROGRAM = """
import importlib.resources, io, json, sys, torch, numpy as np, onnxruntime, alexnet
from pathlib import Path

run, store, out = sys.argv[1:]
home = Path(sys.prefix).resolve()
assert home in Path(alexnet.__file__).resolve().parents, alexnet.__file__
out, pictures = Path(out), alexnet.Store(store)["val"].read(range(12))
told = alexnet.predict(run, pictures, top=3, precision="fp32", device="cpu")
wanted = np.zeros((12, 3))
for row, answer in zip(wanted, told):
    for entry in answer["predictions"]:
        row[entry["index"]] = entry["probability"]
net = alexnet.load(run)
views = net.transform.center_crop(pictures)
with torch.inference_mode():
    logits = net(views)
for name, options in {"raw": {"raw": True}, "plain": {}, "small": {"quantize": True, "store": store}}.items():
    made = alexnet.export(run, out / f"{name}.onnx", "onnx", **options)
    session = onnxruntime.InferenceSession(made.path)
    given = {session.get_inputs()[0].name: pictures if name == "raw" else views.numpy()}
    (found,) = session.run(None, given)
    off = abs(found - (wanted if name == "raw" else logits.numpy())).max()
    assert off < (0.1 if name == "small" else 1e-4), (name, off)
    print(name, made.size, f"{off:.1e}", *made.lines, sep=" | ")
for kind, name in (("safetensors", "net.safetensors"), ("hub", "folder"), ("torch-export", "net.pt2")):
    made = alexnet.export(run, out / name, kind)
    if kind == "torch-export":
        found = torch.export.load(made.path).module()(views)
    else:
        with torch.inference_mode():
            found = alexnet.load(made.path)(views)
    off = (found - logits).abs().max().item()
    assert off < 1e-4 if kind == "torch-export" else off == 0, (kind, off)
    print(kind, made.size, f"{off:.1e}", *made.lines, sep=" | ")
"""
# And of another program, which has torch alone.
ALONE = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
assert program(torch.zeros(5, 3, 56, 56)).shape == (5, 3)
assert not [name for name in sys.modules if name.startswith("alexnet")]
"""


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_a_wheel_in_a_new_environment_exports_each_kind(
    run: Path, store: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--torture"):
        pytest.skip("takes a minute: pytest --torture")
    pytest.importorskip("onnxruntime")

    def done(*words: object) -> str:
        command = list(map(str, words))
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        ended = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=own | {"OMP_NUM_THREADS": "1"}
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    done(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    done(sys.executable, "-m", "venv", tmp_path / "new")
    python = tmp_path / "new/bin/python"
    # What the package needs comes from this environment, by its path; the package itself only from the wheel.
    site = done(sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    theirs = done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    done(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    (Path(theirs) / "others.pth").write_text(f"{site}\n")
    (tmp_path / "out").mkdir()
    print(done(python, "-c", PROGRAM, run, store, tmp_path / "out"))
    done(python, "-c", ALONE, tmp_path / "out/net.pt2")
    words = ["export", run, tmp_path / "out/again.onnx", "--to", "onnx", "--raw", "--views", "1"]
    assert "gives probabilities" in done(tmp_path / "new/bin/alexnet", *words)
