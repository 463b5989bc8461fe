import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.figures.drawn import epoch
from tests.planted import plant

from alexnet import figures
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.figures import catalogue
from alexnet.reporting.report import report
from alexnet.training.train import train

Drawn = tuple[list[Path], dict[str, str], list[tuple[int, int]]]


@pytest.fixture(scope="module")
def drawn(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """All figures of the run: the files, what is missing, and the progress."""
    seen: list[tuple[int, int]] = []
    out = tmp_path_factory.mktemp("drawn") / "new" / "figures"
    written, missing = catalogue.draw(run, out, progress=lambda done, of: seen.append((done, of)))
    return list(written), dict(missing), seen


def test_a_finished_run_has_every_figure(drawn: Drawn) -> None:
    written, missing, seen = drawn
    assert missing == {}
    assert [path.name for path in written] == [
        f"{name}.{form}" for name in catalogue.FIGURES for form in ("png", "svg")
    ]
    assert all(path.stat().st_size > 1000 for path in written)
    assert seen[-1] == (30, 30)


def test_a_cifar_run_has_every_figure(pictures: Path, tmp_path: Path) -> None:
    """Of one tower, without dropout, and with layers of another kind."""
    recipe = RECIPES["cifar-13"].replace(net={"channels": (4, 4), "local": (4, 4)}, epochs=1)
    prepare(pictures, tmp_path / "store", side=32, val_fraction=0.29, jobs=1)
    train(tmp_path / "store", tmp_path / "run", recipe, precision="fp32", quiet=True)
    written, missing = catalogue.draw(tmp_path / "run", tmp_path / "figures")
    assert missing == {}
    assert len(written) == 2 * len(catalogue.FIGURES)


def test_the_same_run_gives_the_same_bytes(drawn: Drawn, run: Path, tmp_path: Path) -> None:
    names = [name for name in catalogue.FIGURES if name != "curves"]
    again = catalogue.draw(run, tmp_path, names)[0]
    first = [path for path in drawn[0] if path.stem != "curves"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_why_a_figure_is_missing_is_told(run: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    written, missing = catalogue.draw(bare, tmp_path / "figures")
    assert [path.name for path in written] == ["architecture.png", "architecture.svg", "curves.png", "curves.svg"]
    assert missing.keys() == set(catalogue.FIGURES) - {"architecture", "curves"}
    assert "has no checkpoint yet" in missing["kernels"]


def test_without_its_store_a_run_keeps_what_needs_none(store: Path, small: Recipe, tmp_path: Path) -> None:
    moved = shutil.copytree(store, tmp_path / "store")
    train(moved, tmp_path / "run", small.replace(epochs=1), precision="fp32", quiet=True)
    shutil.rmtree(moved)
    written, missing = catalogue.draw(tmp_path / "run", tmp_path / "figures")
    assert {path.stem for path in written} == {"architecture", "curves", "kernels"}
    assert all("is not a store" in reason for reason in missing.values())


def test_another_store_in_the_place_of_the_runs_is_not_drawn(
    store: Path, pictures: Path, small: Recipe, tmp_path: Path
) -> None:
    moved = shutil.copytree(store, tmp_path / "store")
    train(moved, tmp_path / "run", small.replace(epochs=1), precision="fp32", quiet=True)
    shutil.rmtree(moved)
    prepare(pictures, moved, side=64, val_fraction=0.5, jobs=1)
    assert "its digest differs" in catalogue.draw(tmp_path / "run", tmp_path / "figures", ["top5"])[1]["top5"]


def test_the_pictures_of_another_split_are_drawn_and_a_split_that_does_not_exist_is_refused_by_name(
    run: Path, tmp_path: Path
) -> None:
    held_out, train = (catalogue.draw_run(run, ["confusion"], split=split)["confusion"] for split in (None, "train"))
    assert not isinstance(held_out, str)
    assert not isinstance(train, str)
    assert held_out.get_suptitle().startswith("Held-out pictures, all 12, one view")
    assert train.get_suptitle().startswith("Pictures of train, all 30, one view")
    with pytest.raises(InputError, match="has no split 'test'; it has"):
        catalogue.draw(run, tmp_path / "figures", ["confusion"], split="test")
    with pytest.raises(InputError, match="--split val is for the figures of a run"):
        catalogue.draw(tmp_path, tmp_path / "figures", split="val")
    assert not (tmp_path / "figures").exists()


def test_a_figure_of_another_name_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no figure loss; choose from architecture, curves"):
        catalogue.draw(run, tmp_path / "figures", ["loss"])
    assert not (tmp_path / "figures").exists()


def test_every_figure_has_a_title_and_a_caption() -> None:
    modules = [catalogue.module_of(name) for name in catalogue.FIGURES]
    assert len({module.TITLE for module in modules}) == len({module.CAPTION for module in modules}) == len(modules)
    assert all(module.CAPTION.endswith(".") for module in modules)
    assert set(catalogue.QUICK) <= set(catalogue.FIGURES)


MINE = """
TITLE = "Mine"
CAPTION = "As many epochs as the recipe has."


def draw(run_data):
    from alexnet.figures.style import new_figure, title

    figure = new_figure(3, 2)
    title(figure, f"{run_data.recipe.epochs} epochs")
    return figure
"""


def test_a_figure_of_one_file_and_one_line_is_drawn_captioned_and_listed_in_the_help(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_figure.py").write_text(MINE)
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path)])
    monkeypatch.setitem(catalogue.FIGURES, "mine", "my_figure")
    written, missing = catalogue.draw(run, tmp_path / "figures", ["mine"])
    assert not missing
    assert [path.name for path in written] == ["mine.png", "mine.svg"]
    monkeypatch.setattr(catalogue, "QUICK", ("mine",))
    page = report(shutil.copytree(run, tmp_path / "run")).read_text()
    assert "<h3>Mine</h3>" in page
    assert "<figcaption>As many epochs as the recipe has.</figcaption>" in page
    code = "from alexnet.figures import catalogue; catalogue.FIGURES['mine'] = 'my_figure'\n"
    code += "from alexnet.cli.main import main; main(['figures', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "chances, mine" in " ".join(done.stdout.replace("│", " ").split())


def test_a_folder_without_a_run_has_no_figures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a run nor a study"):
        catalogue.draw(tmp_path, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_a_study_has_figure_1_once_its_relu_tanh_is_finished(small: Recipe, tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "figures"
    runs = {arm: study / "runs" / f"{arm}-fp32" for arm in ("relu", "tanh")}
    for arm, folder in runs.items():
        folder.mkdir(parents=True)
        recipe = small.plain()
        recipe["net"]["activation"] = arm
        (folder / "recipe.json").write_text(json.dumps({"name": f"relu-tanh, {arm}", "recipe": recipe}))
        (folder / "log.jsonl").write_text(json.dumps(epoch(1)) + "\n" + json.dumps(epoch(4)) + "\n")
    (study / "study.json").write_text('{"store": "/made/up", "store_digest": "0"}')
    with pytest.raises(InputError, match="has no result for relu-tanh"):
        catalogue.draw(study, out)
    arms = {arm: {"runs": [folder.relative_to(study).as_posix()]} for arm, folder in runs.items()}
    (study / "relu-tanh.json").write_text(json.dumps({"arms": arms}))
    paths, missing = catalogue.draw(study, out)
    assert [path.name for path in paths] == ["figure-1.png", "figure-1.svg"]
    assert not missing
    assert all(path.stat().st_size for path in paths)


def test_a_folder_of_records_has_the_figure_of_all_claims_and_a_study_that_of_its_own(tmp_path: Path) -> None:
    plant(tmp_path / "st" / "records", RECIPES["small"], [0.25, 0.26])
    written, missing = catalogue.draw(tmp_path / "st" / "records", tmp_path / "a")
    assert [path.name for path in written] == ["claims.png", "claims.svg"]
    assert not missing
    (tmp_path / "st" / "study.json").write_text('{"store": "/made/up", "store_digest": "0"}')
    written, missing = catalogue.draw(tmp_path / "st", tmp_path / "b")
    assert [path.name for path in written] == ["claims.png", "claims.svg"]
    assert not missing  # a study need not have run relu-tanh


def test_importing_the_catalogue_imports_no_large_library() -> None:
    code = "import sys, alexnet.figures.catalogue as _; print({'matplotlib', 'numpy', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
