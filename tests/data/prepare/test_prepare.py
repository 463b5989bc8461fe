import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.faults.pictures import heic

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.images.decode import decode
from alexnet.data.images.resize import Fit, square
from alexnet.data.prepare import plan
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store

Tree = Callable[..., Path]
Fingerprint = Callable[[Path], dict[str, str]]
SIDE = 32
FOUR_A_SHARD = 4 * SIDE * SIDE * 3


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SHARD_BYTES", FOUR_A_SHARD)


def _elsewhere(body: str, *arguments: str | Path) -> "subprocess.Popen[str]":
    """Start a Python process that runs `body` with small shards."""
    script = f"""
        import os, resource, signal, sys
        from alexnet.data.prepare import plan
        from alexnet.data.prepare.prepare import prepare
        from alexnet.core.errors import WorkFailed
        plan.SHARD_BYTES = {FOUR_A_SHARD}
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes background processes ignore it
        source, store, *rest = sys.argv[1:]
        if __name__ == "__main__":
        """
    code = textwrap.dedent(script) + textwrap.indent(textwrap.dedent(body), "    ")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_stored_pictures_are_the_central_squares_of_the_source(form: str, tree: Tree, tmp_path: Path) -> None:
    source = tree()
    prepare(source, tmp_path / "store", side=SIDE, format=form, jobs=1)  # type: ignore[arg-type]
    store = Store(tmp_path / "store")
    for split in store.splits.values():
        for name, label, stored in zip(split.names, split.labels, split.read(np.arange(len(split))), strict=True):
            image, _ = decode((source / name).read_bytes())
            difference = np.abs(stored.astype(int) - square(image, SIDE))
            assert difference.max() == 0 if form == "raw" else difference.mean() < 40
            assert store.classes[label].name == name.split("/")[0]


def test_a_warped_or_padded_store_holds_whole_pictures(tree: Tree, tmp_path: Path) -> None:
    source = tree()
    fits: tuple[Fit, ...] = ("crop", "pad", "warp")
    for fit in fits:
        prepare(source, tmp_path / fit, side=SIDE, fit=fit, jobs=1)
    stores = {fit: Store(tmp_path / fit) for fit in fits}
    assert {fit: store.fit for fit, store in stores.items()} == {fit: fit for fit in fits}
    assert len({store.digest for store in stores.values()}) == 3
    for fit, store in stores.items():
        train = store["train"]
        for name, stored in zip(train.names, train.read(np.arange(len(train))), strict=True):
            np.testing.assert_array_equal(stored, square(decode((source / name).read_bytes())[0], SIDE, fit))
    assert "fit" not in json.loads((tmp_path / "crop" / "meta.json").read_text())


@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_statistics_are_those_of_the_stored_training_pictures(form: str, tree: Tree, tmp_path: Path) -> None:
    prepare(tree(), tmp_path / "store", side=SIDE, format=form, jobs=1)  # type: ignore[arg-type]
    store = Store(tmp_path / "store")
    pictures = store["train"].read(np.arange(len(store["train"]))).astype(float)
    np.testing.assert_allclose(store.mean, pictures.mean(0), rtol=1e-6)
    np.testing.assert_allclose(store.covariance, np.cov(pictures.reshape(-1, 3).T, bias=True), rtol=1e-9)


@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_a_store_has_the_same_bytes_where_simplejpeg_is_not_installed(
    form: str, tree: Tree, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    source = tree()
    (source / "dog/cut.jpg").write_bytes((source / "dog/0.jpg").read_bytes()[:700])
    prepare(source, tmp_path / "store", side=SIDE, format=form, jobs=1)  # type: ignore[arg-type]
    code = "import sys; sys.modules['simplejpeg'] = None\n"
    code += "from alexnet.data.images import decode\nfrom alexnet.data.prepare import plan, prepare\n"
    code += f"plan.SHARD_BYTES = {FOUR_A_SHARD}\nassert not decode.FAST\n"
    code += f"prepare.prepare(*sys.argv[1:], side={SIDE}, format={form!r}, jobs=1)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, source, tmp_path / "without"], env=environment, check=True)
    assert fingerprint(tmp_path / "store") == fingerprint(tmp_path / "without")


def test_a_store_made_without_pillow_heif_counts_each_heic_and_holds_the_same_other_pictures(
    tree: Tree, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    pytest.importorskip("pillow_heif")
    source = tree(each=4)
    Image.fromarray(np.full((40, 48, 3), 90, np.uint8)).save(source / "dog/tall.avif")
    prepare(source, tmp_path / "before", side=SIDE, val_fraction=0, jobs=1)
    (source / "dog/zz.heic").write_bytes(heic(Image.new("RGB", (64, 64), "red")))
    whole = prepare(source, tmp_path / "with", side=SIDE, val_fraction=0, jobs=1)
    assert (whole.pictures, whole.refused) == ({"train": 10}, {})
    body = f"""
        import importlib.util
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *more: None if name == "pillow_heif" else find(name, *more)
        made = prepare(source, store, side={SIDE}, val_fraction=0, jobs=1)
        print(made.refused)
        """
    out, errors = _elsewhere(body, source, tmp_path / "without").communicate(timeout=60)
    assert (out.strip(), errors) == ("{'format not taken': 1}", "")
    assert "pip install 'alexnet[heic]'" in (tmp_path / "without/prepare.jsonl").read_text()
    before, without = fingerprint(tmp_path / "before"), fingerprint(tmp_path / "without")
    assert {name for name in before if before[name] != without[name]} == {"prepare.jsonl", "meta.json"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(
    jobs: int, tree: Tree, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    source, store = tree(each=24), tmp_path / "store"
    body = f"""
        def progress(done, total):
            if done >= total // 3:
                os.kill(os.getpid(), signal.SIGKILL)
        prepare(source, store, side={SIDE}, jobs={jobs}, progress=progress)
        """
    process = _elsewhere(body, source, store)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not store.exists()
    seen: list[int] = []
    prepare(source, store, side=SIDE, jobs=jobs, progress=lambda done, total: seen.append(done))
    assert seen[0] >= 12  # finished shards were kept
    prepare(source, tmp_path / "whole", side=SIDE, jobs=1)
    assert fingerprint(store) == fingerprint(tmp_path / "whole")
    assert not (tmp_path / "store.part").exists()


def test_workers_of_a_killed_parent_leave(tree: Tree, tmp_path: Path) -> None:
    body = f"""
        from pathlib import Path
        def progress(done, total):
            if done:
                print(Path(f"/proc/self/task/{{os.getpid()}}/children").read_text(), flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        prepare(source, store, side={SIDE}, jobs=2, progress=progress)
        """
    out, _ = _elsewhere(body, tree(each=24), tmp_path / "store").communicate(timeout=60)
    workers = [int(word) for word in out.split()]
    assert workers
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}/stat").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    states = [Path(f"/proc/{worker}/stat") for worker in workers]
    assert all(not state.exists() or " Z " in state.read_text() for state in states)


def test_interrupted_leaves_no_store_and_goes_on_to_the_same(
    tree: Tree, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    source, store = tree(each=24), tmp_path / "store"
    body = f"""
        def progress(done, total):
            if done:
                os.killpg(0, signal.SIGINT)  # as a terminal does: the workers get it too
        os.setpgid(0, 0)
        try:
            prepare(source, store, side={SIDE}, jobs=2, progress=progress)
        except KeyboardInterrupt:
            print("interrupted")
        """
    out, errors = _elsewhere(body, source, store).communicate(timeout=60)
    assert (out.strip(), errors) == ("interrupted", "")
    assert not store.exists()
    prepare(source, store, side=SIDE, jobs=1)
    prepare(source, tmp_path / "whole", side=SIDE, jobs=1)
    assert fingerprint(store) == fingerprint(tmp_path / "whole")


def test_full_disk_harms_nothing_and_the_same_command_goes_on(
    tree: Tree, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    source, store = tree(each=6), tmp_path / "store"
    for n in range(6):  # uniform cats make small JPEGs, so a noisy dog shard is the first that is too large
        Image.new("RGB", (40, 40), (n, 0, 0)).save(source / f"cat/{n}.jpg")
    body = f"""
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        try:
            prepare(source, store, side={SIDE}, format="jpeg", jobs=1)
        except WorkFailed as error:
            print(error)
        """
    out, errors = _elsewhere(body, source, store).communicate(timeout=60)
    assert errors == ""
    assert len(out.splitlines()) == 1
    assert "run the same command again" in out
    assert not store.exists()
    assert not list((tmp_path / "store.part").rglob("*.tmp"))
    assert list((tmp_path / "store.part/store").rglob("*.bin"))
    prepare(source, store, side=SIDE, format="jpeg", jobs=1)
    prepare(source, tmp_path / "whole", side=SIDE, format="jpeg", jobs=1)
    assert fingerprint(store) == fingerprint(tmp_path / "whole")


def _begun(source: Path, store: Path) -> None:
    class StopError(Exception):
        pass

    def progress(done: int, total: int) -> None:
        if done:
            raise StopError

    with pytest.raises(StopError):
        prepare(source, store, side=SIDE, jobs=1, progress=progress)


def test_work_begun_with_another_plan_is_refused_and_kept(tree: Tree, tmp_path: Path, fingerprint: Fingerprint) -> None:
    source, store = tree(), tmp_path / "store"
    _begun(source, store)
    before = fingerprint(tmp_path / "store.part")
    with pytest.raises(InputError, match=r"store\.part.*other options"):
        prepare(source, store, side=16, jobs=1)
    assert fingerprint(tmp_path / "store.part") == before


def test_half_written_shard_is_made_again(tree: Tree, tmp_path: Path, fingerprint: Fingerprint) -> None:
    source, store = tree(), tmp_path / "store"
    _begun(source, store)
    for shard in (tmp_path / "store.part/store").rglob("*.bin"):
        shard.write_bytes(shard.read_bytes()[:100])
    prepare(source, store, side=SIDE, jobs=1)
    prepare(source, tmp_path / "whole", side=SIDE, jobs=1)
    assert fingerprint(store) == fingerprint(tmp_path / "whole")


def test_folder_of_someone_else_is_not_taken_for_work(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "store.part").mkdir()
    (tmp_path / "store.part/thesis.txt").write_text("years")
    with pytest.raises(InputError, match="move it away"):
        prepare(tree(), tmp_path / "store", side=SIDE, jobs=1)
    assert (tmp_path / "store.part/thesis.txt").read_text() == "years"


def test_refused_and_converted_pictures_are_named_with_their_reasons(tree: Tree, tmp_path: Path) -> None:
    source = tree()
    (source / "cat/notes.txt").write_text("no picture")
    (source / "dog/cut.jpg").write_bytes((source / "dog/0.jpg").read_bytes()[:700])
    Image.new("L", (50, 50), 9).save(source / "dog/gray.png")
    summary = prepare(source, tmp_path / "store", side=SIDE, jobs=1)
    assert summary.refused == {"not a picture": 1, "damaged": 1}
    assert summary.converted == {"grayscale": 1}
    assert sum(summary.pictures.values()) == 11
    notes = [json.loads(line) for line in (tmp_path / "store/prepare.jsonl").read_text().splitlines()]
    assert {(note["name"], note["outcome"]) for note in notes} == {
        ("cat/notes.txt", "refused"),
        ("dog/cut.jpg", "refused"),
        ("dog/gray.png", "converted"),
    }


def test_class_whose_every_picture_is_refused_is_refused_by_name(tree: Tree, tmp_path: Path) -> None:
    source = tree()
    (source / "emu").mkdir()
    (source / "emu/1.jpg").write_bytes((source / "dog/0.jpg").read_bytes()[:700])
    with pytest.raises(InputError, match=r"class 'emu' has no readable picture.*emu/1\.jpg"):
        prepare(source, tmp_path / "store", side=SIDE, jobs=1)
    assert not (tmp_path / "store.part").exists()


def test_store_that_is_there_is_never_written_to(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(InputError, match="already exists"):
        prepare(tree(), tmp_path / "store", jobs=1)
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("length", [251, 300])
def test_store_whose_name_is_too_long_is_refused(length: int, tree: Tree, tmp_path: Path) -> None:
    """The work folder has an even longer name."""
    with pytest.raises(InputError, match="is too long for this disk; use a shorter one"):
        prepare(tree(), tmp_path / ("a" * length), jobs=1)


def test_store_inside_its_source_is_refused(tree: Tree) -> None:
    source = tree()
    with pytest.raises(InputError, match="is inside its source"):
        prepare(source, source / "store", jobs=1)


@pytest.mark.parametrize(
    "options",
    [
        {"side": 0},
        {"side": 100000},
        {"format": "png"},
        {"fit": "stretch"},
        {"val_fraction": 1.0},
        {"jobs": 0},
        {"seed": -1},
    ],
)
def test_unusable_options_are_refused_by_name_and_value(options: dict[str, int], tree: Tree, tmp_path: Path) -> None:
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name.replace('_', ' ')} .?{value}"):
        prepare(tree(), tmp_path / "store", **options)  # type: ignore[arg-type]


def test_val_fraction_beside_a_val_folder_is_refused(tree: Tree, tmp_path: Path) -> None:
    tree(inside="val")
    with pytest.raises(InputError, match=r"val fraction 0\.2"):
        prepare(tree(inside="train"), tmp_path / "store", val_fraction=0.2, jobs=1)
    assert not (tmp_path / "store.part").exists()


def test_val_fraction_of_nought_makes_no_val_split(tree: Tree, tmp_path: Path) -> None:
    assert prepare(tree(), tmp_path / "store", side=SIDE, val_fraction=0, jobs=1).pictures == {"train": 10}


def test_raw_store_larger_than_the_disk_is_refused_before_the_work(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(WorkFailed, match="GB free"):
        prepare(tree(), tmp_path / "store", side=SIDE, jobs=1)


def test_names_that_are_no_text_come_back(tree: Tree, tmp_path: Path) -> None:
    source = tree()
    for name in ("new\nline.jpg", 'quo"te.jpg', "tïtle ☃.jpg", os.fsdecode(b"\xff.jpg")):
        shutil.copy(source / "cat/0.jpg", source / "cat" / name)
    prepare(source, tmp_path / "store", side=SIDE, val_fraction=0, jobs=1)
    assert sorted(Store(tmp_path / "store")["train"].names) == sorted(
        f"{folder.name}/{path.name}" for folder in source.iterdir() for path in folder.iterdir()
    )


def test_progress_reaches_every_picture(tree: Tree, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare(tree(), tmp_path / "store", side=SIDE, jobs=1, progress=lambda *pair: seen.append(pair))
    assert seen[-1] == (10, 10)
    assert seen == sorted(seen)


def test_builtin_source_prepares(tmp_path: Path) -> None:
    summary = prepare("builtin:20", tmp_path / "store", side=SIDE, jobs=1)
    assert (summary.pictures, summary.classes) == ({"train": 16, "val": 4}, 10)


def test_preparing_does_not_import_torch() -> None:
    code = "import sys, alexnet.data.prepare.prepare; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.data
def test_awkward_files_prepare_and_are_all_accounted_for(shared: Path, tree: Tree, tmp_path: Path) -> None:
    source = tree(each=2)
    for path in (shared / "nasty/files").iterdir():
        shutil.copy(path, source / "cat" / path.name)
    summary = prepare(source, tmp_path / "store", side=SIDE, jobs=2)
    assert sum(summary.pictures.values()) + sum(summary.refused.values()) == 4 + 87
