"""Records: reading returns what was written, and a record that cannot be trusted is left out and listed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.planted import plain_record, plant

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.files import checksum, sign
from alexnet.studies.record import Record, arm_digest, pack, read_records, unpack, write_record

BASE = RECIPES["small"].replace(net={"classes": 10})


def rewrite(path: Path, **changes: Any) -> Path:
    """Change a record and sign it again, like someone who edits numbers."""
    plain = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("format", "signature")}
    path.write_text(json.dumps(sign(plain | changes)))
    return path


def reasons(folder: Path) -> dict[str, str]:
    return {one.path.name: one.why for one in read_records(folder).left}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (path,) = plant(tmp_path, BASE, [0.25])
    records = read_records(tmp_path)
    (record,) = records.runs
    assert not records.left
    assert path.name == f"{record.key}.json"
    assert record.recipe == BASE
    assert 1 - record.right["ten"].mean() == pytest.approx(0.25)
    assert records.of(arm_digest(BASE), record.scale) == {0: record}


def test_a_record_of_ten_thousand_pictures_and_the_longest_design_takes_20_kb_at_most(tmp_path: Path) -> None:
    (path,) = plant(tmp_path, BASE.replace(epochs=120), [0.2513], held_out=10_000, curve=0.123456)
    assert path.stat().st_size <= 20_000


def test_pictures_and_their_ties_survive_packing() -> None:
    credit = np.array([1, 0, 0.5, 1, 1 / 3, 0, 0, 1, 1], float)
    assert unpack(pack(credit), 9) == pytest.approx(credit)
    with pytest.raises(ValueError, match="17 were held out"):
        unpack(pack(credit), 17)


def test_the_key_changes_with_all_that_tells_runs_apart() -> None:
    def key(recipe: Recipe = BASE, **changes: Any) -> str:
        plain = plain_record(recipe, 0.25)
        store = plain["store"] | changes.pop("store", {})
        return Record(Path(), plain | changes | {"store": store}).key

    others = [key(BASE.replace(seed=1)), key(BASE.replace(epochs=3)), key(store={"digest": "1" * 64})]
    others += [key(precision="fp32"), key(start="abc")]
    assert len({key(), *others}) == 6
    assert key(processor="another", commit="another") == key()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"errors": {"one_view": {"top1": 0.26}, "ten_views": {"top1": 0.2, "top5": 0.025}}}, "its pictures give 0.25"),
        ({"digest": "0" * 12}, "its digest is 000000000000, but that of its recipe is"),
        ({"curve": [[1.0, 0.5, 0.5, 0.1, 1.0]]}, "its curve has 1 epochs, but its recipe has 20"),
        ({"curve": [[float("nan"), 0.5, 0.5, 0.1, 1.0]] * 20}, "its curve holds NaN or infinity"),
        ({"right": {}}, "it is not a record"),
        ({"recipe": []}, "a recipe is a JSON object"),
        ({"store": None}, "it is not a record"),
    ],
)
def test_a_record_that_disagrees_with_itself_is_left_out_by_name(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    good, bad = plant(tmp_path, BASE, [0.25, 0.25])
    rewrite(bad, **change)
    assert list(reasons(tmp_path)) == [bad.name]
    assert words in reasons(tmp_path)[bad.name]
    assert [r.path for r in read_records(tmp_path).runs] == [good]


def test_a_flipped_bit_and_a_cut_file_are_found(tmp_path: Path) -> None:
    _, flipped, cut = plant(tmp_path, BASE, [0.25, 0.25, 0.25])
    data = bytearray(flipped.read_bytes())
    data[data.index(b"seconds") + 11] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:1000])
    assert reasons(tmp_path).keys() == {flipped.name, cut.name}
    assert "its checksum is wrong" in reasons(tmp_path)[flipped.name]


def test_both_of_one_run_go_where_they_differ_on_one_machine(tmp_path: Path) -> None:
    plant(tmp_path / "a", BASE, [0.25, 0.26, 0.25])
    plant(tmp_path / "b", BASE, [0.251])
    plant(tmp_path / "c", BASE, [0.26], first_seed=1)  # the same again
    records = read_records(tmp_path)
    assert sorted(r.recipe.seed for r in records.runs) == [1, 2]
    assert len(records.left) == 2
    assert all("of one run on one processor and version, but differ" in one.why for one in records.left)


def test_a_run_of_another_processor_may_differ_by_six_standard_deviations(tmp_path: Path) -> None:
    plant(tmp_path / "a", BASE, [0.250, 0.252, 0.254])
    for folder, error in (("b", 0.256), ("c", 0.29)):
        (path,) = plant(tmp_path / folder, BASE, [error], first_seed={"b": 0, "c": 1}[folder])
        rewrite(path, processor="another processor")
    records = read_records(tmp_path)
    assert sorted(r.recipe.seed for r in records.runs) == [0, 2]
    assert len(records.left) == 2
    assert all("3.8 points apart" in one.why for one in records.left)


def test_what_is_kept_does_not_depend_on_the_folders_names(tmp_path: Path) -> None:
    for names in (("a", "b"), ("z", "b")):
        home = tmp_path / "".join(names)
        (one,) = plant(home / names[0], BASE, [0.25])
        (other,) = plant(home / names[1], BASE, [0.252])
        rewrite(other, processor="another processor")
        assert one.name == other.name
    kept = [read_records(tmp_path / name).runs[0].plain for name in ("ab", "zb")]
    assert kept[0] == kept[1]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist; give a folder that holds records"):
        read_records(tmp_path / "nowhere")
    (path,) = plant(tmp_path, BASE, [0.25])
    with pytest.raises(InputError, match=r"json is not a folder; give a folder"):
        read_records(path)


def test_a_record_of_a_newer_alexnet_is_left_out_with_what_to_do(tmp_path: Path) -> None:
    (path,) = plant(tmp_path, BASE, [0.25])
    plain = {k: v for k, v in json.loads(path.read_text()).items() if k != "signature"} | {"format": 2}
    path.write_text(json.dumps(plain | {"signature": checksum(plain)}))
    assert "has format 2, and this alexnet reads format 1; install a newer alexnet" in reasons(tmp_path)[path.name]


def test_a_record_is_checked_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="but that of its recipe is"):
        write_record(tmp_path, Record(tmp_path, plain_record(BASE, 0.25) | {"digest": "0" * 12}))
    assert not list(tmp_path.iterdir())
