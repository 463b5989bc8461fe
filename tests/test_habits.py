"""What people do with a net from outside gives what a twin of torch's own modules gives, or is refused in one line.

Beside our nets stands torchvision's AlexNet, written out: docs/interop.md says which rows fail there too.
"""

from pathlib import Path

import pytest
import torch
from tests.habits import COLUMNS, HABITS, NETS, Case, Habit, near, outcome, plain, promised
from tests.scripts import Command, main_of
from tests.twins import AcrossMaps, WithinMap
from torch import nn

ROOT = Path(__file__).parents[1]
WARNED = [  # by the tools that the table is about, of themselves
    "`torch.jit.*` is deprecated:DeprecationWarning",
    "You are using the legacy TorchScript-based ONNX export:DeprecationWarning",
    "The feature will be removed. Please remove usage of this function:DeprecationWarning",
    "Input Tensor 0 did not already require gradients:UserWarning",
    "Setting (forward, )?backward hooks:UserWarning",
    "torch.ao.quantization is deprecated:DeprecationWarning",
    "torch.quantize_per_tensor:UserWarning",
    "Constant folding - Only steps=1 can be constant folded:UserWarning",
    "`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{words}") for words in WARNED]
MARKERS = "before\n<!-- habits: begin (make tables) -->\n<!-- habits: end -->\nafter\n"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask for small nets; under `--torture` also for the recipes as they are, and for every cell."""
    if "habit" in metafunc.fixturenames:
        cells = [(name, net, False) for name, habit in HABITS.items() for net in habit.quick]
        if metafunc.config.getoption("torture"):
            cells += [(name, net, True) for name in HABITS for net in COLUMNS]
        ids = [f"{name}-{net}" + "-whole" * whole for name, net, whole in cells]
        metafunc.parametrize(("habit", "net", "whole"), cells, ids=ids)


def test_a_habit_gives_what_torchs_modules_give_or_is_refused_in_a_line(
    habit: str, net: str, whole: bool, tmp_path: Path
) -> None:
    row = HABITS[habit]
    assert outcome(row, Case(net, whole), tmp_path) == promised(row, net)


@pytest.mark.parametrize("net", NETS)
def test_a_twin_without_its_norms_or_with_other_weights_is_told_apart(net: str) -> None:
    case, x = Case(net), Case(net).views(8)
    with torch.no_grad():
        wanted = case.twin()(x)
        spread = (wanted - wanted.mean(0)).abs().max()
        assert spread > 0.1 * wanted.abs().max()  # the logits are not those of any picture
        for name, module in list(case.twin().named_children()):
            if isinstance(module, (AcrossMaps, WithinMap)):
                changed = case.twin()
                setattr(changed, name, nn.Identity())
                with pytest.raises(AssertionError, match="off by"):
                    near(changed(x), wanted, 0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                changed = case.twin()
                next(iter(changed.get_submodule(name).parameters())).mul_(1.01)
                with pytest.raises(AssertionError, match="off by"):
                    near(changed(x), wanted)


def test_an_error_that_the_table_does_not_promise_is_raised(tmp_path: Path) -> None:
    def refusing(case: Case, folder: Path) -> None:
        raise RuntimeError("no\nsuch thing")

    with pytest.raises(RuntimeError):
        outcome(Habit("", refusing), Case("tiny"), tmp_path)
    with pytest.raises(RuntimeError):
        outcome(Habit("", refusing, {"tiny": "no"}), Case("tiny"), tmp_path)
    assert outcome(Habit("", plain, {"tiny": "no"}), Case("tiny"), tmp_path) == "right"


@pytest.fixture
def habits_table(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command behind `make tables` for this table."""
    return main_of("habits_table", monkeypatch)


def test_the_page_has_the_table_that_these_tests_check(habits_table: Command) -> None:
    assert habits_table(["--check", str(ROOT / "docs/interop.md")]) == 0


def test_a_table_of_habits_is_written_checked_and_found_out_of_date(
    habits_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKERS)
    assert habits_table(["--check", str(page)]) == 1
    assert "run make tables" in capsys.readouterr().out
    assert habits_table([str(page)]) == habits_table(["--check", str(page)]) == 0
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert len([line for line in lines if line.startswith("|")]) == len(HABITS) + 2
    page.write_text("nothing\n")
    assert habits_table([str(page)]) == 2
    assert "each once" in capsys.readouterr().err


def test_refusals_are_one_line_each_and_of_nets_in_the_table() -> None:
    for habit in HABITS.values():
        assert set(habit.refused) <= set(NETS)
        assert set(habit.quick) <= set(COLUMNS)
        assert all(len(line.splitlines()) == 1 for line in habit.refused.values())
