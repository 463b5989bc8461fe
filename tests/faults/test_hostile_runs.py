"""A run folder from a stranger: nothing in it is run, and nothing in it commands a terminal or a page.

What is changed here has its checksums made to fit, as anyone can who makes such a folder.
"""

import contextlib
import io
import json
import os
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.trained import put, resign

import alexnet
from alexnet.cli.main import main
from alexnet.core.files import sign
from alexnet.runs import checkpoint, results
from alexnet.runs.run import Run

DEEP = "[" * 100_000
SHAPELESS = ["", DEEP, DEEP + "]" * 100_000, "[]", "null", "1e999", '"x"', "{}", "9" * 5000, "NaN"]


def header(value: Any, body: bytes = bytes(64)) -> bytes:
    """A safetensors file with that header."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + body


def hostile_weights(run: Path) -> dict[str, bytes]:
    """Files in the place of a run's weights, by what is wrong with them."""
    whole = (checkpoint.list_checkpoints(run)[-1] / checkpoint.FILES[0]).read_bytes()
    right, save = safetensors.torch.load(whole), safetensors.torch.save
    four = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    return {
        "2^62 bytes of header": struct.pack("<Q", 2**62) + b"{}", "a header past the end": struct.pack("<Q", 9999),
        "empty": b"", "cut": whole[:-100], "longer": whole + b"x", "no JSON": header(b"\xff\xff"),
        "overlap": header({"a": four, "b": four | {"data_offsets": [8, 24]}}), "deep": header(DEEP.encode()),
        "a negative shape": header({"a": four | {"shape": [-4]}}),
        "a vast shape": header({"a": four | {"shape": [2**62]}}),
        "none": save({}), "one missing": save({n: t for n, t in right.items() if n != "conv1.bias"}),
        "one more": save(right | {"evil": torch.zeros(3)}),
        "another shape": save(right | {"conv1.bias": torch.zeros(3)}),
        "whole numbers": save({n: t.to(torch.int64) for n, t in right.items()}),
        "commands in names": save({f"{n}\x1b[2J": t for n, t in right.items()}),
    }  # fmt: skip


def ended(*words: object) -> tuple[Any, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


def test_a_pickle_in_the_place_of_any_file_of_a_run_is_never_run(
    run: Path, store: Path, pictures: Path, tmp_path: Path, torture: bool, count: Callable[..., None]
) -> None:
    mark = tmp_path / "MARK"

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {mark}",)

    bad = pickle.dumps(Evil())
    pickle.loads(bad)  # noqa: S301
    assert mark.exists()  # so it would leave one
    mark.unlink()
    names = [p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file() and "tensorboard" not in p.parts]
    tried = 0
    for name in names:
        hostile = shutil.copytree(run, tmp_path / "run")
        put(hostile, name.removeprefix(f"checkpoints/{checkpoint.list_checkpoints(run)[-1].name}/"), bad)
        picture = pictures / "red" / "00.png"
        verbs: list[list[str | Path]] = [["predict", hostile, picture], ["evaluate", store, hostile]]
        verbs = [*verbs, ["report", hostile]] if torture or "/" not in name else verbs[:1]
        for words in verbs:
            with contextlib.suppress(Exception):  # how it is refused is for other tests to say
                ended(*words)
            assert not mark.exists(), (name, words)
            tried += 1
        shutil.rmtree(hostile)
    count("a pickle with code in the place of a run's file", injected=tried, survived=tried, figure="no mark is left")


def test_nothing_in_the_package_unpickles_but_readers_that_allow_a_few_names() -> None:
    code = Path(alexnet.__file__).parent
    words = re.compile(r"(?<!safetensors\.)torch\.load\(|\bpickle\b|allow_pickle|yaml|(?<![.\w])(eval|exec)\(")
    found = {p.relative_to(code).as_posix() for p in code.rglob("*.py") if words.search(p.read_text(encoding="utf-8"))}
    assert found == {"data/sources/cifar_batches.py", "data/sources/unread.py", "interop/torchvision.py"}
    assert "import pickle" not in (code / "data/sources/unread.py").read_text()  # it names the suffix
    calls = re.findall(r"[^.`]torch\.load\((.*)\)", (code / "interop/torchvision.py").read_text(encoding="utf-8"))
    assert calls
    assert all(call.endswith("weights_only=True") for call in calls)


def test_hostile_weights_are_one_line(
    run: Path, store: Path, pictures: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    files = hostile_weights(run)
    for what, data in files.items():
        hostile = shutil.copytree(run, tmp_path / "run")
        put(hostile, "weights.safetensors", data)
        for words in (["predict", hostile, pictures / "red" / "00.png"], ["train", store, hostile, "--resume"]):
            code, out, err = ended(*words)
            assert (code, out, err.count("\n")) == (2, "", 1), (what, err)
            assert "\x1b" not in err
        shutil.rmtree(hostile)
    tried = 2 * len(files)
    count("hostile weights with checksums that fit", injected=tried, survived=tried, figure="a line")


def hostile_parts() -> list[tuple[str, bytes]]:
    """What may stand in the place of what a run's beginning wrote."""
    save, zeros = safetensors.torch.save, torch.zeros
    classes = [b"7", b"[7]", b"{}", DEEP.encode(), b'[{"name": "one"}]', b'[{"nom": "one"}]', b"\xff", b"null"]
    colours = {"eigenvalues": zeros(3), "eigenvectors": zeros(3, 3)}
    pictures = [b"", b"no tensors", save({"mean": zeros(3)}), save({"mean": zeros(2, 2, 3)} | colours)]
    pictures += [save({"mean": zeros(64, 64, 3)} | colours | {"eigenvalues": zeros(9)})]
    environments = [b"[]", b"{}", b"1", DEEP.encode()]
    files = {"classes.json": classes, "pictures.safetensors": pictures, "environment.json": environments}
    return [(name, data) for name, found in files.items() for data in found]


def test_hostile_parts_of_a_run_are_one_line(
    run: Path, store: Path, pictures: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    for name, data in hostile_parts():
        hostile = shutil.copytree(run, tmp_path / "run")
        put(hostile, name, data)
        verb = ["train", store, hostile, "--resume"] if name == "environment.json" else ["predict", hostile, pictures]
        code, out, err = ended(*verb)
        assert (code, out, err.count("\n")) == (2, "", 1), (name, data[:40], err)
        shutil.rmtree(hostile)
    tried = len(hostile_parts())
    count("hostile parts of a run with checksums that fit", injected=tried, survived=tried, figure="a line")


@pytest.mark.parametrize("file", ["recipe.json", "environment.json", "log.jsonl"])
def test_json_of_another_shape_is_one_line_in_a_report(
    file: str, run: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    cases = [text for text in SHAPELESS if "[[" not in text]
    for text in cases:
        hostile = shutil.copytree(run, tmp_path / "run")
        put(hostile, file, text.encode())
        code, _, err = ended("report", hostile)
        assert code in (0, 2), (text, err)
        assert err.count("\n") == (code == 2), (text, err)
        shutil.rmtree(hostile)
    count(f"{file} of another shape, reported", injected=len(cases), survived=len(cases))


@pytest.mark.parametrize("file", ["recipe.json", "environment.json", "log.jsonl", "classes.json"])
def test_json_nested_without_end_is_one_line(
    file: str, run: Path, pictures: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    hostile = shutil.copytree(run, tmp_path / "run")
    put(hostile, file, DEEP.encode())
    for words in (["report", hostile], ["predict", hostile, pictures / "red" / "00.png"]):
        code, _, err = ended(*words)
        assert code in (0, 2)
        assert err.count("\n") == (code == 2), err
    count(f"{file} nested 100,000 deep", injected=2, survived=2)


def test_names_that_hold_commands_reach_neither_a_terminal_nor_a_page(
    run: Path, store: Path, pictures: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    evil = "\x1b[2J\x9b2J\u202e<script>alert(1)</script>"
    hostile = shutil.copytree(run, tmp_path / "run")
    put(hostile, "classes.json", json.dumps([{"name": f"{i}{evil}"} for i in range(3)]).encode())
    environment = json.loads((hostile / "environment.json").read_text())
    changed = environment | dict.fromkeys(["store", "store_kind", "device", "commit"], evil)
    put(hostile, "environment.json", json.dumps(changed).encode())
    resign(hostile / "recipe.json", name=evil)
    picture = pictures / "red" / "00.png"
    commands = [["predict", hostile, picture], ["predict", hostile, picture, "--json"], ["evaluate", store, hostile]]
    commands += [["figures", hostile, tmp_path / "figures", "--only", "curves"], ["report", hostile]]
    for words in commands:
        code, out, err = ended(*words)
        assert code in (0, 2), words
        assert not {"\x1b", "\x9b", "\u202e"} & set(out + err), words
    for page in ("report.html", "report.md"):
        text = (hostile / page).read_text(encoding="utf-8")
        assert not {"\x1b", "\x9b", "\u202e"} & set(text), page
        assert "<script>alert" not in text
    count("names that command a terminal or a page", injected=len(commands), survived=len(commands), figure="escaped")


ODD: list[Any] = [None, [], {}, -1, "\x1b[2J", 1e999]


def hostile_results(path: Path) -> list[bytes]:
    """What may stand in the place of a kept result; the checksums fit."""
    whole = {key: v for key, v in json.loads(path.read_bytes()).items() if key not in ("format", "signature")}
    first, pairs = whole["per_class"][0], whole["confusion"]
    changes: list[dict[str, Any]] = [{key: value} for key in whole for value in ODD]
    changes += [{"measures": whole["measures"] | {key: value}} for key in whole["measures"] for value in ODD[2:]]
    changes += [{"per_class": [first] * n} for n in (0, 2, 100)]
    changes += [{"per_class": [first | {key: value}] * 3} for key in first for value in ODD[2:]]
    odd: list[Any] = [[9, 0, 1], [0, -1, 1], [0, 0, -1], [0, 0], 7]
    changes += [{"confusion": [*pairs, pair]} for pair in odd]
    checkpoints: list[list[Any]] = [[], whole["checkpoints"] * 2, [{"checkpoint": "../../x"}]]
    changes += [{"checkpoints": value} for value in checkpoints]
    signed = [json.dumps(sign(whole | change)).encode() for change in changes]
    cut = [path.read_bytes()[:n] for n in (0, 1, 500)] + [path.read_bytes().replace(b"val", b"vbl", 1)]
    return [*signed, *cut, *(words.encode() for words in SHAPELESS), b"\xff\xfe"]


def test_hostile_results_in_a_run_are_left_out_of_its_report_and_none_stops_it(
    run: Path, store: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    hostile = shutil.copytree(run, tmp_path / "run")
    assert ended("evaluate", store, hostile, "--views", 1, "--precision", "fp32")[0] == 0
    (good,) = (hostile / "results").iterdir()
    cases = hostile_results(good)
    for number, data in enumerate(cases):
        (hostile / "results" / f"val-{number}.json").write_bytes(data)
    for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir), ("link", lambda path: os.symlink("/dev/zero", path))):
        make(hostile / "results" / f"{name}.json")
    opened = Run(hostile)
    survived = 0
    for path in sorted((hostile / "results").iterdir()):
        if path != good:
            apart = tmp_path / "apart" / "results"
            apart.mkdir(parents=True, exist_ok=True)
            path.rename(apart / path.name)
            opened.folder = apart.parent
            found = results.read(opened)
            harmless = not found.left and found.records[0]["among"] not in ("run", "store")  # a word that is shown
            assert harmless or (len(found.left), len(found.records)) == (1, 0), (path, path.name, found)
            (apart / path.name).rename(path)
            survived += 1
    code, _, err = ended("report", hostile)
    assert (code, err) == (0, "")
    text = (hostile / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert text.count("checkpoint 00000012, epoch 3 of 3") >= 1
    count("a hostile file in a run's results, reported", injected=survived, survived=survived, figure="left out")
