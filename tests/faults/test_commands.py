"""Command lines that cannot be carried out: each is a right one in which one thing was made wrong."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.lives import Lives

from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES

RIGHT = {  # each would do its work if nothing were made wrong in it
    "demo": ["demo", "new-demo"],
    "prepare": ["prepare", "pictures", "new-store", "--side", "64", "--val-fraction", "0.3", "--jobs", "1"],
    "fit": ["fit", "pictures", "new-fit", "--minutes", "0.1"],
    "verify": ["verify", "store"],
    "train": ["train", "store", "new-run", "--recipe", "small.json", "--epochs", "1"],
    "evaluate": ["evaluate", "store", "run"],
    "predict": ["predict", "run", "picture.png"],
    "study": ["study", "ten-views", "store", "new-study", "--recipe", "small.json", "--seeds", "1", "--epochs", "1"],
    "figures": ["figures", "run", "new-figures", "--only", "architecture"],
    "features": ["features", "run", "store", "new-features"],
    "similar": ["similar", "run", "store", "picture.png"],
    "export": ["export", "run", "new.safetensors", "--to", "safetensors"],
    "report": ["report", "nothing"],
    "summary": ["summary", "paper"],
    "recipe": ["recipe", "paper"],
    "bench": ["bench", "infer", "--rounds", "1"],
    "plan": ["plan", "paper"],
}
NEEDED = {"prepare": 2, "fit": 2, "verify": 1, "train": 2, "evaluate": 2, "predict": 2, "figures": 2, "features": 3}
NEEDED |= {"similar": 3, "report": 1, "export": 2}
ONLY = {"verify": 1, "train": 2, "figures": 2, "features": 3, "report": 1, "summary": 1, "recipe": 1, "bench": 1}
ONLY |= {"demo": 1, "plan": 1, "study": 3, "prepare": 2, "export": 2, "fit": 2}  # and no word more

NO_WHOLE = ["x", "1.5", "1e3", "nan", "inf", "[1]", "null", "0x10", "é", "\n", "9" * 5000, "\x1b[2J", "[" * 100_000]
NOT_POSITIVE = [*NO_WHOLE, "-1", "0", "-" + "9" * 30, "9" * 30]
NO_NUMBER = ["x", "nan", "-1", "1,5", "[1]", "é", "\n", "-inf", "\x1b[2J", "[" * 100_000]
NO_NAME = ["x", "0", "-1", "FP32", "é", "\n", "a" * 5000, "../x", "\x1b[2J", "<script>", "__import__('os')"]
NO_DEVICE = ["x", "cpu:x", "tpu", "cuda:99", "-1", "meta", "mps", "é", "\n", "cuda:" + "9" * 30, "\x1b[2J"]
NO_PATH = ["missing", "small.json", "nothing", "small.json/x", "a" * 300, "a/" * 3000, "/dev/null", "picture.png"]
NO_RECIPE = [
    *["papre", "x" * 5000, "missing.json", "nothing", "/dev/null", "/dev/zero", "small.json/x"],
    *["bad/cut.json", "bad/empty.json", "bad/deep-list.json", "bad/deep.json", "bad/list.json", "bad/nan.json"],
    *["bad/infinity.json", "bad/huge.json", "bad/latin.json", "bad/utf-16.json", "bad/twice.json", "bad/code.json"],
    *["bad/pickle.json", "bad/yaml.json", "bad/surrogate.json", "bad/kind-list.json", "bad/kind.json"],
    *["bad/escape.json", "bad/wide.json", "bad/folder.json", "bad/large.json", "bad/nested.json", "bad/null.json"],
]
DEVICES = {"--device": NO_DEVICE, "--precision": NO_NAME}
READING = DEVICES | {"--workers": NOT_POSITIVE}
OPTIONS: dict[str, dict[str, list[str]]] = {
    "prepare": {"--side": NOT_POSITIVE, "--format": NO_NAME, "--val-fraction": [*NO_NUMBER, "1", "inf"]}
    | {"--jobs": NOT_POSITIVE},
    "train": READING
    | {"--epochs": NOT_POSITIVE, "--seed": [*NO_WHOLE, "-1", "9" * 30], "--cache": NO_NAME, "--recipe": NO_RECIPE}
    | {"--save-every": [*NO_WHOLE, "-1"], "--keep": [*NO_WHOLE, "-1"], "--accumulate": NOT_POSITIVE}
    | {"--timeout": [*NO_NUMBER, "0", "inf", "1e30"], "--from": NO_PATH, "--layers": ["conv1"], "--freeze": NO_NAME},
    "fit": {"--minutes": [*NO_NUMBER, "0", "inf", "1e9"], "--device": NO_DEVICE, "--seed": [*NO_WHOLE, "-1", "9" * 30]},
    "evaluate": READING
    | {"--views": [*NO_WHOLE, "5", "0"], "--split": NO_NAME, "--weights": [*NO_NUMBER, "0", "inf", "9" * 400]}
    | {"--save": [*NO_PATH, "missing/x.npz", "x.txt"], "--confusion": [*NO_PATH, "missing/x.csv", "x.txt"]}
    | {"--checkpoint": NO_NAME, "--among": NO_NAME},
    "predict": DEVICES | {"--views": [*NO_WHOLE, "5", "0"], "--top": NOT_POSITIVE},
    "study": READING
    | {"--seeds": NOT_POSITIVE, "--epochs": NOT_POSITIVE, "--recipe": NO_RECIPE, "--pretrain-on": NO_PATH},
    "figures": {"--only": NO_NAME, "--split": NO_NAME},
    "features": READING
    | {"--layer": NO_NAME, "--layers": NO_NAME, "--split": NO_NAME, "--rdm": NO_NAME, "--format": NO_NAME},
    "export": {"--to": NO_NAME, "--views": [*NO_WHOLE, "5", "0"], "--checkpoint": NO_NAME, "--store": NO_PATH},
    "similar": READING | {"--layer": NO_NAME, "--split": NO_NAME, "--top": NOT_POSITIVE},
    "bench": DEVICES | {"--batch": NOT_POSITIVE, "--rounds": NOT_POSITIVE},
    "plan": {"--replicas": NOT_POSITIVE, "--gpu": NO_NAME, "--network": NO_NAME, "--precision": NO_NAME}
    | {"--latency": [*NO_NUMBER, "inf", "1e30"], "--batch": NOT_POSITIVE, "--per-replica": NOT_POSITIVE}
    | {"--rate": [*NO_NUMBER, "0", "inf", "1e-320"], "--input": [*NO_NUMBER, "0", "inf", "1e-320"]}
    | {"--pictures": NOT_POSITIVE, "--epochs": NOT_POSITIVE, "--at-batch": NOT_POSITIVE},
}
PATHS = [  # which word of a right command is a path to what must be there
    *[("verify", 1), ("train", 1), ("evaluate", 1), ("evaluate", 2), ("predict", 1), ("study", 2), ("figures", 1)],
    *[("demo", 1), ("fit", 1), ("features", 1), ("similar", 1), ("similar", 2), ("export", 1)],
]
RECIPE_VERBS = ["recipe", "summary", "plan", "train"]
OUT_OF_RANGE = [
    *["net.channels=[0,8,8,8,8]", "net.channels=[]", "net.channels=[8]", "net.channels=[-8,8,8,8,8]", "net.stride=0"],
    *[
        "net.kernel_sizes=[0,5,3,3,3]",
        "net.kernel_sizes=[11,4,3,3,3]",
        "net.kernel_sizes=[500,5,3,3,3]",
        "net.stride=-1",
        "net.stride=999",
    ],
    *[
        "net.image_size=3",
        "net.image_size=0",
        "net.image_size=-224",
        "net.pool=99",
        "net.pool=0",
        "net.dropout=1",
        "net.towers=3",
    ],
    *["net.dropout=-0.1", "net.classes=1", "net.classes=0", "net.hidden=0", "net.hidden=3", "net.skip=[2]"],
    *[
        "net.lrn.n=0",
        "net.lrn.n=4",
        "net.lrn.k=0",
        "net.lrn.alpha=-1",
        "net.std=[]",
        "net.bias_one_layers=[9]",
        "net.conv6=-2",
    ],
    *["sgd.batch=0", "sgd.batch=-8", "sgd.lr=-1", "sgd.lr=1e10", "sgd.momentum=1", "sgd.weight_decay=-1", "sgd.lars=0"],
    *["sgd.layer_lr.conv9=1", "sgd.layer_lr.conv1=-1", "views.pictures_per_crop=0", "views.colour=-1", "views.scale=0"],
    *["schedule.factor=0", "schedule.of_epochs=0", "late.conv1_lr=-1", "epochs=0", "epochs=-1", "seed=-1"],
    *["seed=4294967296", f"epochs={10**30}", f"net.image_size={10**400}", "net.channels=" + "[" * 100_000],
]
NO_SETTING = ["", "x", "=", "=3", "net", "net=3", ".=1", "net.=1", ".net=1", "net..lrn=1", "net.layers=1", "digest=1"]
NO_SETTING += ["__class__=1", "net.__dict__=1", "\x1b[2J=1", "net.lrn.n.x=1", "net.kind=Nothing", "epochs="]
LAUNCHES: list[dict[str, str]] = [
    {"RANK": "x", "WORLD_SIZE": "2"},
    {"RANK": "2", "WORLD_SIZE": "2"},
    {"RANK": "-1", "WORLD_SIZE": "2"},
    {"RANK": "", "WORLD_SIZE": ""},
    {"RANK": "0", "WORLD_SIZE": "1e3"},
    {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "\x1b[2J"},
    {"RANK": "9" * 5000, "WORLD_SIZE": "9" * 5000},
]


@pytest.fixture(scope="module")
def place(
    store: Path, run: Path, pictures: Path, small: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with all that a right command needs, which is the working folder meanwhile."""
    folder = tmp_path_factory.mktemp("commands")
    for source, name in ((store, "store"), (run, "run"), (pictures, "pictures")):
        shutil.copytree(source, folder / name)
    shutil.copy(pictures / "red" / "00.png", folder / "picture.png")
    (folder / "nothing").mkdir()
    (folder / "small.json").write_text(json.dumps(small.plain()))
    bad, mark = folder / "bad", folder / "MARK"
    (bad / "folder.json").mkdir(parents=True)
    for name, data in {
        "cut": b'{"net": ', "empty": b"", "list": b"[]", "null": b"null", "nan": b'{"sgd": {"lr": NaN}}',
        "infinity": b'{"sgd": {"lr": Infinity}}', "huge": b'{"epochs": ' + b"9" * 5000 + b"}",
        "deep-list": b"[" * 100_000, "deep": b'{"net":' * 100_000 + b"1" + b"}" * 100_000,
        "latin": '{"\u00e9": 1}'.encode("latin-1"), "utf-16": json.dumps(small.plain()).encode("utf-16"),
        "twice": b'{"epochs": 3, "epochs": 4}', "surrogate": b'{"\\ud800": 1}', "escape": b'{"\\u001b[2J": 1}',
        "kind-list": b'{"net": {"kind": ["Net"]}}', "kind": b'{"net": {"kind": "os.system"}}',
        "wide": json.dumps({"net": {"channels": [10**30] * 5}}).encode(), "large": b" " * 2_000_000 + b"{}",
        "nested": b'{"recipe": {"recipe": {}}}',
        "code": json.dumps({"net": f"__import__('os').system('touch {mark}')"}).encode(),
        "pickle": f"cos\nsystem\n(S'touch {mark}'\ntR.".encode(),
        "yaml": f'!!python/object/apply:os.system ["touch {mark}"]'.encode(),
    }.items():  # fmt: skip
        (bad / f"{name}.json").write_bytes(data)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file and folder below one, with its size and when it was changed."""
    found = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        found[str(path)] = (facts.st_size, facts.st_mtime_ns)
    return found


def wrong_values(name: str, value: Any) -> list[str]:
    """What a recipe's field of that value cannot hold."""
    if isinstance(value, bool):
        return ["1", "yes", "null", "[]", "nan", "{}", "True"]
    if isinstance(value, (int, float)):
        whole = ["1.5", "1e400", str(10**30)] if isinstance(value, int) else ["1" + "0" * 400]
        return ["x", '"1"', "[1]", "true", "NaN", "Infinity", "-Infinity", "nan", '{"a": 1}', "null", "\x1b", *whole]
    if isinstance(value, str):
        return ["x", "1", "null", "[]", "true", "\x1b[2J"]
    if isinstance(value, tuple):
        return ["1", "null", "x", '["x"]', "[null]", "[[1]]", "[NaN]", "[true]", '{"a": 1}']
    if isinstance(value, dict):
        return ["1", "x", "null", '{"conv1": "x"}', '{"conv1": NaN}', '{"nothing": 1}', '["conv1"]']
    return ['"x"', "[1]", "true", "NaN", '{"kind": "Nothing"}', '{"nothing": 1}']  # None, or fields


def values(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a recipe by name."""
    for name in value.__dataclass_fields__:
        inner = getattr(value, name)
        yield place + name, inner
        if hasattr(inner, "__dataclass_fields__"):
            yield from values(inner, f"{place}{name}.")


FIELDS = [(n, v) for n, v in values(RECIPES["paper"]) if not isinstance(v, str) or n != "start"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)

Case = tuple[list[str], Mapping[str, str]]


def with_option(draw: Callable[..., Any]) -> list[str]:
    """An option of a verb with a value that it cannot have, or with none."""
    verb = draw(st.sampled_from(sorted(OPTIONS)))
    option = draw(st.sampled_from(sorted(OPTIONS[verb])))
    value = draw(st.sampled_from(["", *OPTIONS[verb][option]]))
    words = RIGHT[verb] + (["--rate", "100"] if option == "--at-batch" else [])
    form = draw(st.integers(0, 3))
    return [*words, option] if form == 0 else [*words, f"{option}={value}"] if form == 1 else [*words, option, value]


def with_unknown(draw: Callable[..., Any]) -> list[str]:
    """An option that no verb has."""
    verb = draw(st.sampled_from(sorted(RIGHT)))
    return [*RIGHT[verb], f"--no-such-{draw(TEXT)}", *draw(st.lists(TEXT, max_size=1))]


def with_other_words(draw: Callable[..., Any]) -> list[str]:
    """A word too few, a word too many, or a verb that is none."""
    form = draw(st.integers(0, 2))
    if form == 0:
        verb = draw(st.sampled_from(sorted(NEEDED)))
        return RIGHT[verb][: draw(st.integers(1, NEEDED[verb]))]
    if form == 1:
        verb = draw(st.sampled_from(sorted(ONLY)))
        return [verb, *RIGHT[verb][1 : ONLY[verb] + 1], f"more{draw(TEXT)}", *RIGHT[verb][ONLY[verb] + 1 :]]
    return [f"x{draw(TEXT)}", *draw(st.lists(TEXT, max_size=3))]


def with_other_path(draw: Callable[..., Any]) -> list[str]:
    """A path to nothing, or to something else."""
    verb, number = draw(st.sampled_from(PATHS))
    words = [*RIGHT[verb]]
    wrong = [path for path in NO_PATH if verb != "demo" or path not in ("missing", "nothing", "a/" * 3000)]
    words[number] = draw(st.sampled_from(["", "a\0b", *wrong]))
    return words


def with_setting(draw: Callable[..., Any]) -> list[str]:
    """A recipe's field with a value that it cannot have, or one that no recipe has."""
    words = RIGHT[draw(st.sampled_from(RECIPE_VERBS))]
    form = draw(st.integers(0, 3))
    if form == 0:
        return [*words, "--set", draw(st.sampled_from(NO_SETTING))]
    if form == 1:
        return [*words, "--set", f"no{draw(TEXT)}={draw(TEXT)}"]
    if form == 2:
        return [*words, "--set", draw(st.sampled_from(OUT_OF_RANGE))]
    name, value = draw(st.sampled_from(FIELDS))
    return [*words, "--set", f"{name}={draw(st.sampled_from(wrong_values(name, value)))}"]


def with_recipe(draw: Callable[..., Any]) -> list[str]:
    """A recipe that is none."""
    name = draw(st.sampled_from(NO_RECIPE))
    return draw(
        st.sampled_from([["recipe", name], ["summary", name], ["plan", name], [*RIGHT["train"][:3], "--recipe", name]])
    )


@st.composite
def wrong(draw: Callable[..., Any]) -> Case:
    """A right command line with one thing made wrong, and the environment that it runs in."""
    ways = [with_option, with_option, with_option, with_unknown, with_other_words, with_other_path, with_setting]
    way = draw(st.sampled_from([*ways, with_setting, with_recipe, None]))
    if way:
        return way(draw), {}
    return RIGHT[draw(st.sampled_from(["train", "evaluate", "predict"]))], draw(st.sampled_from(LAUNCHES))


def ended(words: Sequence[str]) -> tuple[Any, str, str]:
    """The exit status of a command, and what it wrote to standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


def test_a_command_line_with_one_wrong_thing_is_one_line_and_makes_nothing(
    place: Path, torture: bool, count: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = listing(place), list[Sequence[str]]()
    monkeypatch.setattr(os, "_exit", sys.exit)  # as the processes of a launcher end

    @settings(
        max_examples=2000 if torture else 250,
        database=None,
        derandomize=not torture,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(wrong())
    def refused(case: Case) -> None:
        words, facts = case
        with monkeypatch.context() as environment:
            for name, value in facts.items():
                environment.setenv(name, value)
            code, out, err = ended(words)
        assert (code, out) == (2, ""), (code, out, err)
        assert err.startswith("alexnet: "), err
        assert err.index("\n") == len(err) - 1 < 2100, err
        assert "\x1b" not in err
        assert listing(place) == before
        seen.append(words)

    refused()
    count("a command line with wrong arguments", injected=len(seen), survived=len(seen), figure="exit status 2, a line")


def test_a_recipe_file_with_code_in_it_is_read_and_never_run(place: Path, count: Callable[..., None]) -> None:
    files = ["bad/code.json", "bad/pickle.json", "bad/yaml.json"]
    verbs = [["recipe"], ["summary"], ["plan"], [*RIGHT["train"][:3], "--recipe"], [*RIGHT["study"][:4], "--recipe"]]
    cases = [[*words, name] for name in files for words in verbs]
    refused = sum(ended(words)[0] == 2 and not (place / "MARK").exists() for words in cases)
    count("a recipe file with code in it", injected=len(cases), survived=refused, figure="never run: no mark is left")


def test_a_recipe_file_may_begin_with_a_byte_order_mark_and_have_windows_line_ends(place: Path, small: Recipe) -> None:
    text = json.dumps(small.plain(), indent=1).replace("\n", "\r\n")
    path = place / "windows.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    code, out, _ = ended(["recipe", "windows.json", "--json"])
    path.unlink()
    assert code == 0
    assert json.loads(out)["digest"] == small.digest


def test_a_file_named_like_a_list_is_that_file(place: Path) -> None:
    shutil.copy("picture.png", "[1]")
    code, out, _ = ended(["predict", "run", "[1]", "--json"])
    Path("[1]").unlink()
    assert code == 0
    assert [answer["image"] for answer in json.loads(out)] == ["[1]"]


COMMANDS = [["recipe", "paper"], ["predict", "run", "pictures", "--csv"], ["predict", "run", "pictures"], ["--help"]]
COMMANDS += [["summary", "--json"], ["evaluate", "store", "run"], ["recipe", "papre"], ["predict", "run", "missing"]]


@pytest.mark.parametrize("stream", ["gone", "closed", "full"])
def test_a_console_that_takes_nothing_more_ends_a_command_without_a_traceback(
    stream: str, place: Path, torture: bool, count: Callable[..., None]
) -> None:
    if stream == "full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    ends = {
        "gone": ["{} | true"],
        "closed": ["{} >&-", "{} 2>&-", "{} >&- 2>&-"],
        "full": ["{} >/dev/full", "{} 2>/dev/full"],
    }
    cases = [(words, end) for words in COMMANDS for end in ends[stream]]
    if not torture:  # one that imports torch for each stream, and two that do not for each end
        cases = [(COMMANDS[1], ends[stream][0])] + [case for case in cases if case[0] in (COMMANDS[4], COMMANDS[6])]
    for words, end in cases:
        line = end.format(f"{sys.executable} -m alexnet {' '.join(words)}")
        said = subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert not {"Traceback", "ignored"} & set(said.stderr.split()), (line, said.stderr)
        assert said.stderr.count("\n") <= 1, (line, said.stderr)
        if stream == "full" and "2>" not in end and words[1:2] != ["papre"] and words[-1] != "missing":
            assert said.returncode == 1, line
            assert "alexnet: " in said.stderr, line
    count(f"a console that is {stream}", injected=len(cases), survived=len(cases), figure="a line at most")


def test_an_architecture_that_no_compiler_knows_is_said_once_and_the_plain_forms_serve(
    place: Path, lives: Lives, count: Callable[..., None]
) -> None:
    nonsense = ["no-such-machine", "; touch MARK", "\x1b[2J"]
    for value in nonsense:
        words = ["predict", place / "run", place / "picture.png", "--json"]
        done = lives(*words, environment={"ALEXNET_NATIVE": value}, before=f"import os\nos.chdir({str(place)!r})")
        assert done.status == 0, done.err
        assert done.err.count("\n") <= 1
        assert "\x1b" not in done.err
        assert not (place / "MARK").exists()
    count("ALEXNET_NATIVE is nonsense", injected=len(nonsense), survived=len(nonsense))
