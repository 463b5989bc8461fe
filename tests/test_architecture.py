"""The shape of the code: imports run down, and the tests lie as the source does."""

import functools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SOURCE, TESTS = ROOT / "src/alexnet", ROOT / "tests"
FLOORS = 12  # the longest chain of imports between packages that is allowed

# Modules without a test file of their own, and the file that tests them.
TESTED_BY = {
    "__main__": "cli/test_main.py",
    "bench/engines": "bench/test_suite.py",
    "bench/feeding": "bench/test_suite.py",
    "bench/job": "bench/test_suite.py",
    "cli/bench": "bench/test_suite.py",
    "cli/console": "cli/test_main.py",
    "cli/course": "course/test_handout.py",
    "cli/data": "cli/test_main.py",
    "cli/demo": "cli/test_main.py",
    "cli/convert": "interop/test_exporting.py",
    "cli/fit": "fitting/test_fit.py",
    "cli/infer": "cli/test_main.py",
    "cli/model": "cli/test_main.py",
    "cli/options": "cli/test_main.py",
    "cli/slides": "reporting/slides/test_write.py",
    "cli/studies": "studies/test_run.py",
    "cli/train": "cli/test_main.py",
    "config/overrides": "config/test_recipe.py",
    "core/errors": "cli/test_main.py",
    "core/text": "faults/test_surroundings.py",
    "distributed/shard": "distributed/test_sharding.py",
    "data/images/limits": "data/images/test_decode.py",
    "data/prepare/plan": "data/prepare/test_prepare.py",
    "data/dataset": "data/test_store.py",
    "data/split": "data/test_store.py",
    "data/store_files": "faults/test_stores.py",
    "data/prepare/workdir": "faults/test_preparing.py",
    "data/sources/cifar_batches": "data/sources/test_cifar100.py",
    "data/sources/clutter": "faults/test_layouts.py",
    "data/sources/ilsvrc_devkit": "faults/test_devkit.py",
    "data/sources/label_values": "data/sources/test_label_table.py",
    "data/sources/labelled": "data/sources/test_label_table.py",
    "data/sources/limited": "faults/test_devkit.py",
    "data/sources/parquet_reader": "data/sources/test_parquet.py",
    "data/sources/shard_labels": "data/sources/test_webdataset.py",
    "data/sources/synthetic": "data/sources/test_base.py",
    "data/sources/table_paths": "data/sources/test_label_table.py",
    "data/sources/table_rows": "data/sources/test_label_table.py",
    "data/sources/tiny_imagenet": "data/sources/test_base.py",
    "data/sources/unread": "data/sources/test_class_folders.py",
    "figures/run_data": "figures/test_catalogue.py",
    "fitting/choosing": "fitting/test_fit.py",
    "fitting/record": "fitting/test_fit.py",
    "fitting/size": "fitting/test_fit.py",
    "inference/evaluation": "inference/test_evaluate.py",
    "inference/trained": "inference/test_predict.py",
    "interop/chain": "interop/test_onnx_reader.py",
    "interop/foreign": "interop/test_importing.py",
    "interop/own": "interop/test_torchvision.py",
    "interop/measuring": "interop/test_exporting.py",
    "interop/onnx_files": "interop/test_onnx_writer.py",
    "cli/lab": "faults/test_serving.py",
    "lab/answers": "lab/test_app.py",
    "lab/facts": "lab/test_app.py",
    "lab/page_folder": "lab/page/test_page.py",
    "lab/runtime": "lab/page/test_page.py",
    "lab/serve": "lab/test_app.py",
    "lab/timely": "lab/test_app.py",
    "reporting/slides/draw_data": "reporting/slides/test_pictures.py",
    "reporting/slides/draw_dropout": "reporting/slides/test_pictures.py",
    "reporting/slides/draw_nets": "reporting/slides/test_pictures.py",
    "reporting/slides/draw_operations": "reporting/slides/test_pictures.py",
    "reporting/slides/draw_records": "reporting/slides/test_pictures.py",
    "reporting/slides/draw_runs": "reporting/slides/test_pictures.py",
    "reporting/slides/source": "reporting/slides/test_write.py",
    "models/layers": "models/test_alexnet.py",
    "models/network": "models/test_build.py",
    "ops/cpu_build": "ops/test_cpu.py",
    "ops/reference": "ops/test_cpu.py",
    "reporting/fit": "fitting/test_fit.py",
    "reporting/kept": "reporting/test_report.py",
    "reporting/paper_tables": "reporting/test_report.py",
    "reporting/tables": "reporting/test_report.py",
    "reporting/recorded": "reporting/test_report.py",
    "reporting/results": "reporting/test_report.py",
    "runs/environment": "training/test_trainer.py",
    "runs/folder": "faults/test_damage.py",
    "studies/averages": "studies/test_missing.py",
    "studies/claim": "studies/test_claims.py",
    "studies/designs": "studies/test_claims.py",
    "studies/net_claims": "studies/test_claims.py",
    "studies/training_claims": "studies/test_claims.py",
    "studies/plan": "studies/test_run.py",
    "studies/recording": "studies/test_run.py",
    "studies/result": "studies/test_run.py",
    "training/setup": "training/test_trainer.py",
    "training/train": "training/test_trainer.py",
    "version": "test_package.py",
}
WHOLE = {"faults", "course"}  # folders of tests that mirror no package


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """The modules that each module imports, inside functions too; those for a type checker alone do not count."""
    graph = grimp.build_graph("alexnet", exclude_type_checking_imports=True, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def room(module: str) -> str:
    """The package or module right below `alexnet` that a module belongs to."""
    return ".".join(module.split(".")[:2])


def rooms(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """The rooms that each room imports."""
    found: dict[str, set[str]] = {room(module): set() for module in imports}
    for module, others in imports.items():
        found[room(module)] |= {room(other) for other in others} - {room(module)}
    return found


def floors(imports: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms the longest chain of imports from each room goes through, itself counted."""
    below = rooms(imports)

    @functools.cache
    def floor(name: str) -> int:
        return 1 + max(map(floor, below[name]), default=0)

    return {name: floor(name) for name in below}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Some modules that import each other in a circle; empty if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_run_down_through_the_layers_of_the_contract() -> None:
    """`[tool.importlinter]` in pyproject.toml; a new package has to take its place there."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_no_modules_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert len(imports) > 100
    assert circle(imports) == []


def test_the_longest_chain_of_imports_goes_through_twelve_packages_at_most(imports: dict[str, set[str]]) -> None:
    found = floors(imports)
    assert max(found.values()) <= FLOORS, sorted(found.items(), key=lambda item: item[1])


def test_a_circle_and_the_floors_are_those_of_a_graph_drawn_by_hand() -> None:
    drawn = {"a.low.x": set[str](), "a.mid.y": {"a.low.x"}, "a.mid.z": {"a.mid.y"}, "a.top": {"a.mid.z", "a.low.x"}}
    assert circle(drawn) == []
    assert floors(drawn) == {"a.low": 1, "a.mid": 2, "a.top": 3}
    assert set(circle(drawn | {"a.mid.y": {"a.mid.z"}})) == {"a.mid.y", "a.mid.z"}


def modules() -> Iterator[Path]:
    """Each module's path below the package, without its suffix."""
    for path in SOURCE.rglob("*.py"):
        if path.name != "__init__.py":
            yield path.relative_to(SOURCE).with_suffix("")


def own_tests(module: Path) -> Path:
    """Where the tests of a module lie if it has a file of them."""
    return TESTS / module.with_name(f"test_{module.name}.py")


def test_every_module_has_a_file_of_tests_or_is_listed_with_the_file_that_tests_it() -> None:
    without = {module.as_posix() for module in modules() if not own_tests(module).exists()}
    assert without == TESTED_BY.keys()
    missing = {file for file in TESTED_BY.values() if not (TESTS / file).exists()}
    assert not missing


def test_every_file_of_tests_in_a_folder_names_a_module_or_the_package_that_it_tests() -> None:
    for path in TESTS.rglob("test_*.py"):
        folder, subject = path.parent.relative_to(TESTS), path.stem.removeprefix("test_")
        if folder.parts and folder.parts[0] not in WHOLE:
            names = [SOURCE / folder / f"{subject}.py"] + [SOURCE / folder] * (subject == folder.name)
            assert any(name.exists() for name in names), path.relative_to(ROOT)
