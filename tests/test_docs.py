"""What README and docs/ name is there: files, the names in them, and tests. docs/log.md tells of the past."""

import base64
import json
import re
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.planted import plant
from tests.scripts import Command, main_of
from tests.studies.test_ladder import plant_ladder

from alexnet.studies import designs
from alexnet.studies.claims import ALL, CLAIMS
from alexnet.studies.judge import judge_folder

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md", "course/README.md"]
PAGES += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "log.md"]
NAMED = re.compile(r"`([\w/]+\.(?:py|cpp|sh))`(?: \(`(\w+)`\))?")  # `models/layers.py` (`initialise`)


@cache
def files_of_tests() -> dict[str, str]:
    """The text of the files of tests, by their names; two packages may have a file of one name."""
    texts: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        texts[path.name] = texts.get(path.name, "") + path.read_text()
    return texts


def text_of(file: str) -> str:
    """The text of a file as the docs call it: from the package, the top, or by a name alone; empty if there is none."""
    for folder in (ROOT / "src/alexnet", ROOT, ROOT / "benchmarks"):
        if (folder / file).is_file():
            return (folder / file).read_text()
    return files_of_tests().get(file, "")


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_names_is_there_and_defines_what_stands_beside_it(page: str) -> None:
    for file, name in NAMED.findall((ROOT / page).read_text()):
        text = text_of(file)
        assert text, f"{page} names {file}"
        assert not name or re.search(rf"(def |class |^ *){name}\b *[(:=]", text, re.M), f"{page}: {name} in {file}"


@pytest.mark.parametrize("page", PAGES)
def test_each_test_that_a_page_names_is_there(page: str) -> None:
    for name in re.findall(r"`(test_\w+_\w+)`", (ROOT / page).read_text()):  # `test_set` is a split's name
        assert any(f"def {name}(" in text for text in files_of_tests().values()), f"{page} names {name}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their words."""
    words = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in words}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    path = ROOT / page
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.S)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)|src=\"([^\"]+)\"", text):
        file, _, anchor = "".join(link).partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{page} links to {file}"
        assert not anchor or anchor in headings(target), f"{page} links to {file}#{anchor}"


def test_each_room_of_the_readmes_tree_is_there_and_none_is_left_out() -> None:
    tree = (ROOT / "README.md").read_text().split("src/alexnet/\n")[1].split("tests/ ")[0]
    rooms = {path.parent.name for path in (ROOT / "src/alexnet").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/", tree, re.M)) == rooms


def examples(page: Path) -> dict[str, str]:
    """The Python blocks of a page that are to be run, by the heading that each stands under."""
    blocks: dict[str, str] = {}
    heading = ""
    for title, code in re.findall(r"^#+ ([^\n]+)$|^```python\n(.*?)^```$", page.read_text(), re.M | re.S):
        heading = title or heading
        if code and not code.startswith("# not run\n"):
            blocks[heading] = blocks.get(heading, "") + code
    return blocks


INTEROP = examples(ROOT / "docs/interop.md")


@pytest.mark.parametrize("heading", INTEROP)
def test_each_example_with_another_package_runs_and_does_what_it_says(
    heading: str, run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = INTEROP[heading]
    if "sklearn" in code:
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (tmp_path / "run").symlink_to(run)
    (tmp_path / "store").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages
        exec(compile(code, heading, "exec"), found)
    net: Any = found.get("net")
    views: Any = found.get("views")
    if heading == "Forward hooks":
        assert {name: output.equal(net.features(views, name)) for name, output in found["seen"].items()} == {
            "norm1": True,
            "relu5": True,
            "drop6": True,
        }
    if heading == "Captum":
        (gradient,) = torch.autograd.grad(net(views)[0, found["target"]], views)
        assert found["saliency"].shape == found["guided"].shape == views.shape
        assert found["guided"].abs().sum() > 0
        assert (found["guided"] - gradient).norm() > gradient.norm() / 10
        assert found["cam"].shape[2:] == net.features(views, "conv5").shape[2:]
    if heading == "ONNX Runtime":
        for row, answer in zip(found["probabilities"], found["answers"], strict=True):
            told = {entry["index"]: entry["probability"] for entry in answer["predictions"]}
            assert told == pytest.approx(dict(enumerate(row.tolist())), abs=1e-5)
    if heading == "A linear probe with scikit-learn":
        assert found["probe"].score(found["x_new"].reshape(12, -1), found["y_new"]) > 1 / 3


def test_only_the_example_for_a_package_that_is_not_installed_is_not_run() -> None:
    assert (ROOT / "docs/interop.md").read_text().count("```python\n# not run\n") == 1
    assert {"Forward hooks", "Captum", "A linear probe with scikit-learn", "ONNX Runtime"} <= INTEROP.keys()


MARKERS = "before\n<!-- claims: begin (make tables) -->\n<!-- claims: end -->\nafter\n"


def test_the_ladder_is_that_which_the_projects_records_give(monkeypatch: pytest.MonkeyPatch) -> None:
    ladder_table = main_of("ladder_table", monkeypatch)
    assert ladder_table(["--check", str(ROOT / "results"), str(ROOT / "docs/since-2012.md")]) == 0


def test_a_ladder_is_written_rung_by_rung_also_where_rungs_have_no_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ladder_table, page = main_of("ladder_table", monkeypatch), tmp_path / "page.md"
    page.write_text(MARKERS.replace("claims", "ladder"))
    assert ladder_table([str(tmp_path / "records"), str(page)]) == 2
    assert ladder_table([str(tmp_path), str(tmp_path / "none.md")]) == 2
    (tmp_path / "records").mkdir()
    assert ladder_table([str(tmp_path / "records"), str(page)]) == 0
    assert "No run of this study has a record yet." in page.read_text()
    plant_ladder(tmp_path / "records", {"crops and mirrors": 0.35, "colour noise": 0.33, "dropout": 0.32})
    assert ladder_table([str(tmp_path / "records"), str(page)]) == 0
    lines = page.read_text().splitlines()
    (noise,) = [line for line in lines if line.startswith("|+ colour noise|")]
    assert noise.startswith("|+ colour noise|33.00 %|0.900|16.5 %|5|+2.00 points (+1.")
    assert noise.endswith("|helps|")
    assert "|+ ReLU|-|-|-|-|-|-|not run|" in lines
    assert "|+ crops and mirrors|35.00 %|0.900|17.5 %|5|-|-|not run|" in lines


TABLED = ["README.md", "docs/paper.md"]


@pytest.fixture
def claims_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables`."""
    return main_of("claims_table", monkeypatch)


def test_the_tables_of_claims_are_those_that_the_projects_records_give(
    claims_table: Command,
) -> None:
    assert claims_table(["--check", str(ROOT / "results"), *(str(ROOT / page) for page in TABLED)]) == 0


def test_each_statement_of_the_paper_has_the_verdict_that_its_study_has_in_the_table_of_claims() -> None:
    above, _, below = (ROOT / "docs/paper.md").read_text().partition("<!-- claims: begin")
    rows = (line.strip("|").split("|") for line in below.splitlines() if line.startswith("|`"))
    verdicts = {cells[0].strip("`"): cells[-1] for cells in rows}
    assert set(verdicts) == {claim.name for claim in ALL}
    statements = above[above.index("| section | statement |") : above.index("### Slips of the paper")]
    seen = set()
    for line in [line for line in statements.splitlines() if line.startswith("| ")][1:]:
        *_, studies, ours, _ = (cell.strip() for cell in line.split(" |"))
        for claim in set(re.findall(r"`([\w-]+)`", studies)) & set(verdicts):
            assert ours == "see below" or ours.startswith(verdicts[claim]), line
            seen.add(claim)
    assert seen == set(verdicts)
    assert not re.findall(r"`[\w-]+` was not run|smoke-run only", above)


def test_the_projects_records_are_small() -> None:
    sizes = {path: path.stat().st_size for path in (ROOT / "results").rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 5_000_000
    most = {
        "results": 20_000,
        "gpu": 100_000,
        "cpu": 100_000,
        "finetune": 50_000,
        "class-weights": 50_000,
    }  # of a record, and of files of figures and of runs
    assert not [path for path, size in sizes.items() if path.suffix == ".json" and size > most[path.parent.name]]


def test_a_table_of_claims_is_written_checked_and_found_out_of_date(
    claims_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, records = tmp_path / "page.md", tmp_path / "records"
    page.write_text(MARKERS)
    assert claims_table([str(records), str(page)]) == 2
    assert "records does not exist" in capsys.readouterr().err
    records.mkdir()
    given = [str(records), str(page)]
    assert claims_table(["--check", *given]) == 1
    assert "page.md does not match the records in" in capsys.readouterr().out
    assert page.read_text() == MARKERS
    assert claims_table(given) == claims_table(["--check", *given]) == 0
    assert page.read_text().count("|not run|") == len(ALL)
    base = designs.base_of(CLAIMS["two-towers"], 32, None)[1].replace(net={"classes": 10})
    for recipe, error in zip(designs.arms_of(CLAIMS["two-towers"], base).values(), (0.25, 0.27), strict=True):
        plant(records, recipe, [error, error + 0.001, error - 0.001, error])
    assert claims_table(["--check", *given]) == 1
    assert claims_table(given) == 0
    text = page.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("|`two-towers`|")]
    assert line.startswith("|`two-towers`|1.7 points|+2.00 points (+1.")
    assert line.endswith("|4|cifar-10 (50,000), small, ground A, 20 epochs|holds|")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


FINDINGS = ("", "-holds", "-opposite", "-absent", "-importance", "-spread", "-since", "-open")


def test_the_findings_are_those_that_the_projects_records_give(monkeypatch: pytest.MonkeyPatch) -> None:
    write = main_of("findings_table", monkeypatch)
    assert write(["--check", str(ROOT / "results"), str(ROOT / "docs/findings.md")]) == 0


def test_findings_list_each_claim_once_under_its_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: two towers gain 2 points, overlapping pools lose 2, the order of norm and ReLU makes no difference.

    The same nets decide `ten-views` too.
    """
    write, page, records = main_of("findings_table", monkeypatch), tmp_path / "page.md", tmp_path / "records"
    page.write_text(
        "".join(f"<!-- findings{n}: begin (make tables) -->\n<!-- findings{n}: end -->\n" for n in FINDINGS)
    )
    assert write([str(records), str(page)]) == 2  # there is no such folder
    records.mkdir()
    assert write([str(records), str(page)]) == 0
    text = page.read_text()
    assert "Of 19 claims, 0 are decided. Of these, none held, none came out the other way" in text
    assert text.count("No claim so far.") == 3
    assert text.count("|not run|") == len(ALL)
    errors = {"two-towers": (0.25, 0.27), "overlap": (0.25, 0.23), "norm-order": (0.25, 0.25)}
    for name, pair in errors.items():
        base = designs.base_of(CLAIMS[name], 32, None)[1].replace(net={"classes": 10})
        for recipe, error in zip(designs.arms_of(CLAIMS[name], base).values(), pair, strict=True):
            plant(records, recipe, [error, error + 0.001, error - 0.001, error, error])
    assert write([str(records), str(page)]) == 0
    parts = dict(zip(FINDINGS, page.read_text().split("<!-- findings")[1::2], strict=True))
    assert (
        "4 are decided. Of these, 2 held, 1 came out the other way, and the effect of 1 is absent. 15 are open."
        in parts[""]
    )
    for verdict, name in (("-holds", "two-towers"), ("-opposite", "overlap"), ("-absent", "norm-order")):
        assert parts[verdict].count("- **") == (2 if verdict == "-holds" else 1)
        assert f"- **{CLAIMS[name].plain}** `{name}`" in parts[verdict]
        assert f"`{name}`" not in parts["-open"]
    assert "+2.00 points" in parts["-holds"]
    assert "the paper has 1.7 points, which is outside the interval" in parts["-holds"]
    assert [line.split("|")[2] for line in parts["-importance"].splitlines() if line.startswith("|3.")] == [
        "`two-towers`", "`overlap`",
    ]  # fmt: skip
    assert "standard deviation of" in parts["-spread"]


def test_a_page_without_markers_is_refused(
    claims_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("nothing\n")
    assert claims_table([str(tmp_path), str(tmp_path / "page.md")]) == 2
    assert "each once" in capsys.readouterr().err


GPU_MARKERS = "before\n<!-- {0}: begin (make tables) -->\n<!-- {0}: end -->\nafter\n"


@pytest.fixture
def gpu_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for the figures of a GPU."""
    return main_of("gpu_table", monkeypatch)


def test_the_tables_of_a_gpu_are_those_that_the_newest_figures_give(gpu_table: Command) -> None:
    pages = [str(ROOT / page) for page in ("README.md", "docs/performance.md")]
    assert gpu_table(["--check", str(ROOT / "results/gpu"), *pages]) == 0


def figures_of_a_gpu(written: str, steps: float) -> dict[str, Any]:
    """What the stages write: a part that went well, one that was stopped and one that never ran."""
    step = "step of source, batch 128, bf16, triton, {} between two readings"
    figures: list[dict[str, Any]] = [
        {"name": step.format(1), "value": 9.0, "unit": "ms", "pictures_per_second": 1.0},
        {"name": step.format(140), "value": 2.0, "unit": "ms", "pictures_per_second": steps},
    ]
    of_kernel = {"unit": "us a step", "launches": 2}
    kernel = "step of source, batch 128, triton: kernel|{}"
    figures += [{"name": kernel.format(i), "value": 90.0 - i, **of_kernel} for i in range(40)]
    what = "training step, batch 1024, bf16, layers of source without the norm within maps (wall time)"
    peers = {"compiled": 40_000.0, "eager": 9_000.0, "ours without any norm": 1e6}
    raced = [
        {"name": what, "value": 7e4, "unit": "pictures/s", "peer": peer, "peer_name": name, "ratio": 2, "bound": None}
        for name, peer in peers.items()
    ]
    fed = {"value": 5e4, "unit": "pictures/s", "data_wait": 0.01}
    name = "end to end, large, batch 1024, bf16, cache {}, 16 workers"
    parts = {
        "step": {"status": "ok", "seconds": 1.0, "figures": figures},
        "bench": {"status": "failed", "seconds": 1.0, "why": "not done in 9 s", "figures": raced},
        "late": {"status": "failed", "why": "the stage had no time left", "figures": []},
    }
    of = {"machine": {"device": "A GPU"}, "versions": {"torch": "2.11", "cudnn": 9}, "commit": "a" * 40}
    feeding = [{"name": name.format("ram"), **fed}, {"name": name.format("device"), **fed, "value": 6e4}]
    third = {"feeding": {"status": "ok", "seconds": 1.0, "figures": feeding}}
    return {"written": written, "stages": {"2": {**of, "parts": parts}, "3": {**of, "parts": third}}}


def test_a_table_of_a_gpu_has_the_newest_figures_and_says_what_failed(
    gpu_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, written, rate in (("b", "2026-01-01T00:00:00Z", 11_111.0), ("a", "2026-01-02T00:00:00Z", 64_321.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(figures_of_a_gpu(written, rate)))
    short, long = tmp_path / "short.md", tmp_path / "long.md"
    short.write_text(GPU_MARKERS.format("gpu"))
    long.write_text(GPU_MARKERS.format("gpu in full"))
    given = [str(tmp_path), str(short), str(long)]
    assert gpu_table(["--check", *given]) == 1
    assert capsys.readouterr().out.count("run make tables") == 2
    assert gpu_table(given) == gpu_table(["--check", *given]) == 0
    text = short.read_text()
    assert "A GPU, torch 2.11, cuDNN 9, commit aaaaaaaaaaaa; 2026-01-02. " in text
    assert "2 parts of the run did not end well" in text
    assert "|training step of `source`|64,321|-|" in text
    assert "|`source` without its norm within maps|-|70,000|" in text
    assert "|the same layers: compiled|-|40,000|" in text
    assert "|training from a store, cache device, 16 workers|-|60,000|" in text
    full = long.read_text()
    assert "- `bench`: not done in 9 s\n- `late`: the stage had no time left\n" in full
    assert "|128|`kernel/0`|90|2|" in full


def test_kept_figures_have_the_first_kernels_of_a_profile(gpu_table: Command, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(json.dumps(figures_of_a_gpu("2026-01-01T00:00:00Z", 1.0)))
    assert gpu_table(["--keep", str(tmp_path / "figures.json"), str(tmp_path / "kept.json")]) == 0
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert [figure["value"] for figure in kept["stages"]["2"]["parts"]["step"]["figures"]] == [9, 2, *range(90, 75, -1)]
    assert kept["stages"]["3"] == figures_of_a_gpu("", 1.0)["stages"]["3"]


def test_a_page_without_markers_and_a_folder_without_figures_are_refused(
    gpu_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("nothing\n")
    assert gpu_table([str(tmp_path), str(tmp_path / "page.md")]) == 2
    assert "holds no figures" in capsys.readouterr().err
    (tmp_path / "figures.json").write_text(json.dumps(figures_of_a_gpu("2026-01-01T00:00:00Z", 1.0)))
    assert gpu_table([str(tmp_path), str(tmp_path / "page.md")]) == 2
    assert "must have the lines" in capsys.readouterr().err


@pytest.fixture
def cpu_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for the figures of a CPU."""
    return main_of("cpu_table", monkeypatch)


def test_the_tables_of_a_cpu_are_those_that_the_newest_figures_give(cpu_table: Command) -> None:
    pages = [str(ROOT / page) for page in ("README.md", "docs/performance.md")]
    assert cpu_table(["--check", str(ROOT / "results/cpu"), *pages]) == 0


def timed(what: str, peer: str, ratio: float, **more: Any) -> str:
    """Write a line as alexnet bench does: ours runs at 40 and 44 pictures a second."""
    line = {"what": f"{what} (1 thread, CPU time)", "ours": 42.0, "peer": 42 / ratio, "peer_name": peer, "ratio": ratio}
    line |= {"bound": 50.0, "fraction_of_bound": 0.84, "unit": "pictures/s", "machine": "A processor, 2 cores"}
    line |= {"ours_readings": [40.0, 44.0], "peer_readings": [40 / ratio, 44 / ratio]}
    line |= {"products": {"a @ b, 2048 x 2048": 80.0, "convolution": 100.0}, "commit": "abc", "version": "1"}
    return json.dumps(line | {"written": "2026-01-02T00:00:00+00:00"} | more) + "\n"


def test_a_table_of_a_cpu_has_the_strongest_peer_first_and_the_newest_file_of_each_machine(
    cpu_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "training step, batch 128, bf16, layers of source without the norm within maps"
    compiled = "stock modules, channels last, bf16 autocast, fused torch.optim.SGD, torch.compile default, kept pages"
    plain = "stock modules and torch.optim.SGD, fp32, {}"
    lines = [timed(what, plain.format("default malloc"), 4.0), timed(what, plain.format("kept pages"), 3.0)]
    lines += [timed(what, compiled, 2.0), timed(what, "ours without any norm", 0.9)]
    lines += [timed("a new benchmark", "a peer", 12.3, bound=None, fraction_of_bound=None, products={})]
    (tmp_path / "b.jsonl").write_text("".join(lines))
    old, other = {"written": "2026-01-01T00:00:00+00:00", "commit": "old"}, {"machine": "Another"}
    (tmp_path / "a.jsonl").write_text(timed(what, compiled, 1.0, **old))
    (tmp_path / "c.jsonl").write_text(timed(what, compiled, 1.5, **old, **other))
    short, full = tmp_path / "short.md", tmp_path / "full.md"
    short.write_text(GPU_MARKERS.format("cpu"))
    full.write_text(GPU_MARKERS.format("cpu in full"))
    given = [str(tmp_path), str(short), str(full)]
    assert cpu_table(["--check", *given]) == 1
    assert capsys.readouterr().out.count("run make tables") == 2
    assert cpu_table(given) == cpu_table(["--check", *given]) == 0
    assert short.read_text().splitlines()[3:9] == [
        "A processor, 2 cores, commit abc; 2026-01-02.",
        "",
        "|what|peer|times as fast|of the bound|",
        "|---|---|---|---|",
        "|training step, batch 128, bf16|stock modules, bf16 autocast, `torch.compile`|2.00|0.84|",
        "|the same|stock modules, fp32|3.00|0.84|",
    ]
    rows = [row for row in full.read_text().splitlines() if row.startswith("|")]
    assert rows[2].endswith("(1 thread, CPU time)|42 pictures/s|0.84|1.05|ours without any norm|0.90 (0.90 to 0.90)|")
    assert [row.split("|")[-2].split()[0] for row in rows[3:6]] == ["2.00", "3.00", "4.00"]
    assert rows[6] == "|a new benchmark (1 thread, CPU time)|42 pictures/s|-|-|a peer|12 (12 to 12)|"
    assert full.read_text().index("A processor") < full.read_text().index("Another, commit old; 2026-01-01.")
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    assert cpu_table(given) == 2
    assert "holds no figures (*.jsonl) of alexnet bench --out" in capsys.readouterr().err


@pytest.fixture
def finetune_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for fine-tuning."""
    return main_of("finetune_table", monkeypatch)


def test_the_table_of_fine_tuning_is_that_of_the_kept_runs(finetune_table: Command) -> None:
    given = [str(ROOT / "results/finetune/imagenette-64.json"), str(ROOT / "docs/faq.md")]
    assert finetune_table(["--check", *given]) == 0


def tuned_run(arm: str, seed: int, right: str, **more: Any) -> dict[str, Any]:
    """Write a run on 8 held-out pictures; `right` has a bit for each."""
    top1 = 1 - bin(int(right, 16)).count("1") / 8
    of = {"arm": arm, "each": 10, "seed": seed, "pictures": 8, "top1": top1, "right": right, "seconds": 2.0}
    return of | {"changed": {"epochs": "7"}} | more


def test_a_table_of_fine_tuning_pairs_seeds_and_refuses_what_contradicts_itself(
    finetune_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed 2 has one arm only. Errors of 75 and 50 % from scratch, 25 and 12.5 % from a run: better by 43.75 points."""
    file, page = tmp_path / "runs.json", tmp_path / "page.md"
    page.write_text("before\n<!-- finetune: begin (make tables) -->\n<!-- finetune: end -->\nafter\n")
    runs = [tuned_run("scratch", s, right) for s, right in enumerate(("c0", "f0"))]
    runs += [tuned_run("from", s, right) for s, right in enumerate(("fc", "fe", "00"))]
    file.write_text(json.dumps({"start": {"name": "tiny"}, "runs": runs}))
    assert finetune_table(["--check", str(file), str(page)]) == 1
    assert finetune_table([str(file), str(page), "--figure", str(tmp_path / "a.png")]) == 0
    line = page.read_text().splitlines()[5]
    assert re.fullmatch(r"\|10\|62\.5 % \(.*\)\|18\.8 % \(.*\)\|43\.8 points \(.*\)\|7 and 7\|2 and 2\|2\|", line), line
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (runs[:1], [*runs, tuned_run("from", 3, "fe", top1=0.5)]):
        file.write_text(json.dumps({"start": {"name": "tiny"}, "runs": wrong}))
        assert finetune_table([str(file), str(page)]) == 2
    found = capsys.readouterr().err.splitlines()
    assert "fewer than two seeds have both arms" in found[0]
    assert "holds no results of benchmarks/finetune.py" in found[1]


@pytest.fixture
def class_weights_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for class weights."""
    return main_of("class_weights_table", monkeypatch)


def test_the_table_of_class_weights_is_that_of_the_kept_runs(class_weights_table: Command) -> None:
    given = [str(ROOT / "results/class-weights/imagenette-64.json"), str(ROOT / "docs/faq.md")]
    assert class_weights_table(["--check", *given]) == 0


def weighted_run(arm: str, seed: int, right: str, counts: list[int]) -> dict[str, Any]:
    """Write a run on four held-out pictures of each of two classes; `right` has a bit for each."""
    top1 = 1 - bin(int(right, 16)).count("1") / 8
    return {"arm": arm, "seed": seed, "counts": counts, "labels": [4, 4], "top1": top1, "right": right}


def errors_of(page: str) -> str:
    """Return the cells of errors, which lie between 0 and 100 %, and not those of differences."""
    return " ".join("|".join(line.strip("|").split("|")[1:3]) for line in page.splitlines() if " points" in line)


def test_a_table_of_class_weights_has_the_errors_of_all_classes_and_of_each_size_by_hand(
    class_weights_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without weights: 0 and 1 of 4 wrong in the large class, 4 and 3 in the small one; with them 1 and 1, 2 and 2.

    The means over classes are 50 and 37.5 %. At frequencies of 3 to 1: (3 * 0.125 + 0.875) / 4 = 31.25 % and
    (3 * 0.25 + 0.5) / 4 = 31.25 %. Seed 1 has the classes in the other order, and seed 2 one arm only.
    """
    file, page = tmp_path / "runs.json", tmp_path / "page.md"
    page.write_text("before\n<!-- class-weights: begin (make tables) -->\n<!-- class-weights: end -->\nafter\n")
    runs = [weighted_run("none", 0, "f0", [6, 2]), weighted_run("none", 1, "87", [2, 6])]
    runs += [weighted_run("balanced", 0, "ec", [6, 2]), weighted_run("balanced", 1, "ce", [2, 6])]
    runs += [weighted_run("balanced", 2, "00", [6, 2])]
    file.write_text(json.dumps({"runs": runs}))
    assert class_weights_table(["--check", str(file), str(page)]) == 1
    assert class_weights_table([str(file), str(page)]) == 0
    found = [[cell.partition(" (")[0] for cell in line.strip("|").split("|")] for line in page.read_text().splitlines()]
    assert found[5:9] == [
        ["balanced: the mean over the classes", "50.0 %", "37.5 %", "12.5 points"],
        ["at the frequencies of training", "31.2 %", "31.2 %", "0.0 points"],
        ["of the classes with 6 pictures", "12.5 %", "25.0 %", "-12.5 points"],
        ["of the classes with 2 pictures", "87.5 %", "50.0 %", "37.5 points"],
    ]
    assert all(0 <= float(end) <= 100 for end in re.findall(r"[-0-9.]+(?= to | *\))", errors_of(page.read_text())))
    sure = [weighted_run(arm, seed, "f0", [6, 2]) for arm in ("none", "balanced") for seed in (0, 1)]
    file.write_text(json.dumps({"runs": sure}))
    assert class_weights_table([str(file), str(page)]) == 0
    assert (
        "|of the classes with 2 pictures|100.0 % (100.0 to 100.0)|100.0 % (100.0 to 100.0)|0.0 points"
        in page.read_text()
    )
    for wrong in (runs[:2], [*runs[:3], runs[3] | {"top1": 0.5}], 7):
        file.write_text(json.dumps({"runs": wrong}))
        assert class_weights_table([str(file), str(page)]) == 2
    words = capsys.readouterr().err
    assert "fewer than two seeds have both arms" in words
    assert words.count("no results of benchmarks/class_weights.py") == 2


def test_three_claims_intervals_follow_from_the_records_without_the_package() -> None:
    """A script that imports nothing of ours finds what `alexnet study --judge` finds, in ten-thousandths of a point."""
    script = ROOT / "benchmarks/recompute.py"
    assert "alexnet" not in re.sub(r'""".*?"""', "", script.read_text(), flags=re.DOTALL)
    said = subprocess.run([sys.executable, script, ROOT / "results"], capture_output=True, text=True, check=True).stdout
    found = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in said.splitlines()}
    judged = {row["claim"]: row for row in judge_folder(ROOT / "results")[0]}
    assert found.keys() == {"fc-conv", "momentum", "ten-views"}
    for claim, numbers in found.items():
        wanted = [100 * judged[claim][name] for name in ("difference", "low", "high")]
        assert numbers == pytest.approx(wanted, abs=6e-5), claim


@pytest.fixture
def small_folders_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for small folders."""
    return main_of("small_folders_table", monkeypatch)


def test_the_tables_of_small_folders_are_those_of_the_kept_runs(small_folders_table: Command) -> None:
    assert (
        small_folders_table(["--check", str(ROOT / "results/small-folders"), str(ROOT / "docs/small-folders.md")]) == 0
    )


@pytest.fixture
def fit_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for fits."""
    return main_of("fit_table", monkeypatch)


def test_what_fit_knows_and_promised_is_what_was_kept(fit_table: Command) -> None:
    known, page = ROOT / "src/alexnet/fitting/known.json", ROOT / "docs/start.md"
    words = [ROOT / "results/small-folders", ROOT / "results/fit", known, page]
    assert fit_table(["--check", *map(str, words)]) == 0


def test_fit_knows_the_means_of_recipes_as_they_are_and_its_table_has_promise_and_result(
    fit_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors of 1 and 2 of 8; runs with another rate, of one seed, of the peer or of a tuning seed do not count."""
    known, page, fits = tmp_path / "known.json", tmp_path / "page.md", tmp_path / "fits"
    page.write_text("<!-- fit: begin (make tables) -->\n<!-- fit: end -->\n")
    fits.mkdir()
    (tmp_path / "runs.jsonl").write_text("")
    words = list(map(str, (tmp_path / "runs.jsonl", fits, known, page)))
    assert fit_table(words) == 0
    assert json.loads(known.read_text()) == {"rows": []}
    of: dict[str, Any] = {"recipe": "today", "side": 32, "classes": 10, "each": 200}
    runs = [folder_run("today", 0, 0b11111110, **of), folder_run("today", 1, 0b11111100, **of | {"epochs": 12})]
    runs += [folder_run("today", 2, 0, **of, changed={"sgd.lr": 1}), folder_run("today", 1000, 0, **of)]
    runs += [folder_run("peer", seed, 0, **of | {"recipe": None}) for seed in (0, 1)]
    runs += [folder_run("small", 0, 0, **of | {"recipe": "small"})]
    (tmp_path / "runs.jsonl").write_text("".join(runs))
    fit: dict[str, Any] = {"set": "cifar10", "each": 200, "seed": 0, "asked": 2.0, "promised": 1.98, "took": 2.04}
    fit |= {"recipe": "today", "epochs": 31, "expected": 0.4, "top1": 0.5, "images": 100, "train": 2000}
    (fits / "one.json").write_text(json.dumps({"fits": [fit | {"asked": 5.0, "expected": None}, fit]}))
    assert fit_table(["--check", *words]) == 1
    assert fit_table(words) == 0
    (row,) = json.loads(known.read_text())["rows"]
    assert row["low"] < row.pop("error") == 0.1875 < row["high"]
    wanted = {
        "set": "CIFAR-10",
        "recipe": "today",
        "epochs": 10,
        "seconds": 175.0,
        "seeds": 2,
        "minutes": 3,
        "side": 32,
    }
    assert {name: row[name] for name in wanted} == wanted
    lines = [line for line in page.read_text().splitlines() if line.startswith("|CIFAR-10, 200|")]
    assert [line.split("|")[2:6] for line in lines] == [
        ["2", "2.0", "2.0", "`today`, 31"], ["5", "2.0", "2.0", "`today`, 31"]
    ]  # fmt: skip
    assert lines[0].split("|")[6:8] == ["40.0 %", "50.0 % (40.4 to 59.6)"]
    assert lines[1].split("|")[6] == "unknown"
    whole = json.loads((fits / "one.json").read_text())["fits"][0]
    for lost in ("fits", "expected", "seed", "recipe"):
        one = {name: value for name, value in whole.items() if name != lost}
        (fits / "one.json").write_text(json.dumps({"fits": [one]} if lost != "fits" else {}))
        assert fit_table(words) == 2
        assert "holds no fits of benchmarks/fit_times.py" in capsys.readouterr().err


def folder_run(arm: str, seed: int, right: int, **more: Any) -> str:
    """Write a run on 8 held-out pictures; `right` has a bit for each."""
    of = {"set": "cifar10", "unequal": False, "most": 200, "minutes": 3, "arm": arm, "seed": seed, "held_out": 8}
    of |= {
        "top1": 1 - right.bit_count() / 8,
        "right": base64.b64encode(bytes([right])).decode(),
        "lr_factor": 1,
        "of": "a",
    }
    return json.dumps(of | {"seconds": 170 + 10 * seed, "epochs": 9} | more) + "\n"


def test_tables_of_small_folders_pair_seeds_and_refuse_what_contradicts_itself(
    small_folders_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`today` errs on 1 and 2 of 8, the peer on 3 and 3, on the first picture twice: better by 2 and by 1.

    The gains' variance over seeds is 1 / 128, half of that of their mean. Pictures gain 1, 1 / 2 and six times 0: their
    variance is 31 / 224, and that of their mean an eighth. Satterthwaite's degrees of freedom are 29.47, Student's
    factor 2.0438. Seed 2 has one arm only.
    """
    file, page = tmp_path / "runs.jsonl", tmp_path / "page.md"
    names = ("small-folders", "small-folders-all", "small-folders-rates", "small-folders-causes")
    page.write_text("".join(f"<!-- {name}: begin (make tables) -->\n<!-- {name}: end -->\n" for name in names))
    file.write_text("")
    assert small_folders_table([str(file), str(page)]) == 0
    assert page.read_text().count("No setting has been run with two seeds yet.") == 4
    runs = [folder_run("today", 0, 0b11111110), folder_run("today", 1, 0b11111100), folder_run("today", 2, 0)]
    runs += [folder_run("peer", 0, 0b00111110), folder_run("peer", 1, 0b01111100)]
    runs += [
        folder_run("peer", 1000, right, lr_factor=2, set=of) for right, of in ((0xFF, "cifar10"), (0xF0, "imagenette"))
    ]
    file.write_text("".join(runs))
    assert small_folders_table(["--check", str(file), str(page)]) == 1
    assert small_folders_table([str(tmp_path), str(page)]) == 0
    rows = [[cell.partition(" (")[0] for cell in line.split("|")[1:-1]] for line in page.read_text().splitlines()]
    assert ["CIFAR-10, 200", "3", "18.8 %", "37.5 %", "18.8 points", "175 and 175", "2"] in rows
    assert ["CIFAR-10, 200", "3", "45.8 %", "37.5 %", *("-" * 5), "2 to 3"] in rows
    assert ["`peer`", "25.0 % of 2 sets"] in rows
    half = 204.38 * (1 / 256 + 31 / 1792) ** 0.5
    assert f"18.8 points ({18.75 - half:.1f} to {18.75 + half:.1f})" in page.read_text()
    assert page.read_text().count("No setting has been run with two seeds yet.") == 1  # of nets that lack a part
    peer = {"recipe": None, "of": "78042 weights, batch 32, lr 0.005"}
    lacking = [folder_run(arm, seed, 0b00001111, **peer) for seed in (0, 1) for arm in ("peer-straight", "peer-layers")]
    today = [folder_run("today", seed, 0b11111110, recipe="today", classes=10) for seed in (0, 1)]
    file.write_text("".join([*lacking, *today, *(folder_run("peer", seed, 0b00111110, **peer) for seed in (0, 1))]))
    assert small_folders_table([str(file), str(page)]) == 0
    rows = [[cell.partition(" (")[0] for cell in line.split("|")[1:-1]] for line in page.read_text().splitlines()]
    assert [row for row in rows if len(row) == 6 and row[-1] == "2"] == [
        ["`today`", "12.5 %", "-25.0 points", "708,970", "9", "2"],
        ["the layers of `today`, trained as the peer is", "50.0 %", "12.5 points", "78,042", "9", "2"],
        ["the peer without shortcuts", "50.0 %", "12.5 points", "78,042", "9", "2"],
        ["the peer", "37.5 %", "-", "78,042", "9", "2"],
    ]
    file.write_text("".join([*runs, folder_run("peer", 3, 1, top1=0.5)]))
    assert small_folders_table([str(file), str(page)]) == 2
    assert "top1 is 0.5, and 0.875 by picture" in capsys.readouterr().err
    file.write_text("".join([*runs, folder_run("peer", 3, 1, of="b")]))
    assert small_folders_table([str(file), str(page)]) == 2
    assert "CIFAR-10, 200, peer: runs of different recipes, a and b" in capsys.readouterr().err
