"""What becomes of a training when one of its processes, or what they share, fails: how it ends, and what the user sees.

Each process is a real one, started by torchrun or forked by hand; what each says lies in a file of its own.
"""

import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.lives import Life, Lives
from tests.trained import alike, past, step

import alexnet
from alexnet.cli import main
from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.distributed.mesh import open_mesh
from alexnet.inference.evaluate import evaluate
from alexnet.inference.predict import predict
from alexnet.runs import checkpoint, log
from alexnet.runs.environment import code
from alexnet.runs.folder import locked
from alexnet.training.train import train

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a launcher in /proc"),
]

GONE = "a peer is gone; the last checkpoint is intact: read the messages of the other ranks, and continue with --resume"
SILENT = (
    "a peer did not answer within --timeout; "
    "the last checkpoint is intact: read the messages of the other ranks, and continue with --resume"
)
LOST = (
    r"(the loss is (nan|inf)|\S+ .*holds? NaN or infinity) at step \d+ \(rate 1e\+06, batch 8\); "
    r"(the last good checkpoint is \d+|there is no good checkpoint)"
)
ByHand = Callable[..., AbstractContextManager["Job"]]
PATIENCE = 240.0  # seconds; nothing here waits so long unless it hangs


class Job:
    """Processes that train together: those of torchrun, or one started by hand for each rank."""

    def __init__(self, folder: Path, processes: "Sequence[subprocess.Popen[Any] | Forked]", launcher: bool) -> None:
        self.folder, self.processes, self.launcher = folder, processes, launcher

    def ranks(self) -> dict[int, int]:
        """The process of each rank that runs now."""
        if not self.launcher:
            return {rank: process.pid for rank, process in enumerate(self.processes)}
        found, launcher = {}, self.processes[0].pid
        for pid in map(int, read(Path(f"/proc/{launcher}/task/{launcher}/children")).split()):
            facts = dict(re.findall(r"(?:^|\0)(RANK|WORLD_SIZE)=(\d+)", read(Path(f"/proc/{pid}/environ"))))
            if "RANK" in facts:
                found[int(facts["RANK"])] = pid
        return found

    def kill(self, rank: int, number: signal.Signals) -> None:
        os.kill(self.ranks()[rank], number)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something to come about while the job runs."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert all(process.poll() is None for process in self.processes), self.words()
            assert time.monotonic() < end, self.words()
            time.sleep(0.005)

    def end(self, patience: float = PATIENCE) -> list[int]:
        """The exit statuses; hanging is a failure."""
        last = time.monotonic() + patience
        try:
            return [process.wait(max(last - time.monotonic(), 0.01)) for process in self.processes]
        except subprocess.TimeoutExpired:
            pytest.fail(f"the job hangs\n{self.words()}")

    def text(self, rank: int, stream: str) -> str:
        """What a rank wrote, over all starts."""
        return "".join(map(read, sorted(self.folder.glob(f"**/{rank}/{stream}.log"))))

    def said(self) -> list[list[str]]:
        """Each rank's lines to the user; there is no traceback among what it wrote."""
        count = len({path.parent.name for path in self.folder.glob("**/[0-9]/stderr.log")})
        texts = [self.text(rank, "stderr") for rank in range(count)]
        assert not any("Traceback" in text for text in texts), self.words()
        return [re.findall(r"^alexnet: (.*)$", text, re.MULTILINE) for text in texts]

    def words(self) -> str:
        """All that was written by anyone."""
        return "\n".join(f"{path}:\n{read(path)}" for path in sorted(self.folder.glob("**/*.log")))


def read(path: Path) -> str:
    try:
        return path.read_text(errors="backslashreplace")
    except OSError:  # of a process that is no more
        return ""


class Forked:
    """A life, asked as a `Popen` is."""

    def __init__(self, life: Life) -> None:
        self.life, self.pid = life, life.pid
        self.status: int | None = None

    def poll(self) -> int | None:
        if self.status is None and self.life.over():
            self.status = self.life.end().status
        return self.status

    def wait(self, timeout: float = math.inf) -> int:
        last = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > last:
                raise subprocess.TimeoutExpired("alexnet", timeout)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextmanager
def kept(job: Job) -> Iterator[Job]:
    """The job, until it is left: what still runs then is killed."""
    try:
        yield job
    finally:
        for process in job.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)  # so that it starts no others
        left = [pid for pid in job.ranks().values() if job.launcher]
        for process in job.processes:
            process.kill()
            process.wait()
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def spawned(place: Path, command: Sequence[str], own: dict[str, str]) -> subprocess.Popen[Any]:
    """A Python of its own, which writes its streams into a folder."""
    lone = {n: v for n, v in os.environ.items() if n not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    with (place / "stdout.log").open("wb") as out, (place / "stderr.log").open("wb") as err:
        begin = partial(subprocess.Popen, stdout=out, stderr=err, start_new_session=True)
        return begin([sys.executable, "-m", *command], env=lone | {"OMP_NUM_THREADS": "1"} | own)


def forked(place: Path, lives: Lives, arguments: Sequence[str], own: dict[str, str], cwd: str) -> Forked:
    """A process forked from one that has imported torch, in a working folder of its own if it is given one."""
    life = lives.begin(arguments, own, f"import os\nos.chdir({cwd!r})" if cwd else "")
    for stream in ("out", "err"):
        (place / f"std{stream}.log").symlink_to(life.out.with_suffix(f".{stream}"))
    return Forked(life)


@pytest.fixture(scope="module")
def by_hand(lives: Lives) -> ByHand:
    """Starts a process for each rank, of which each has its own arguments, and may have its own environment and cwd.

    They are forked, but for one that is to find other modules: that costs nobody the import of torch.
    """

    def start(folder: Path, *arguments: Sequence[object], **facts: Sequence[Any]) -> AbstractContextManager[Job]:
        world, port = len(arguments), free_port()
        processes: list[subprocess.Popen[Any] | Forked] = []
        for rank, given in enumerate(arguments):
            own = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
            own |= {"MASTER_PORT": port} | {name: values[rank] for name, values in facts.items() if values[rank]}
            cwd = str(own.pop("cwd", ""))
            named, place = {name: str(value) for name, value in own.items()}, folder / str(rank)
            place.mkdir(parents=True)
            words = [str(word) for word in given]
            if "PYTHONPATH" in named:
                processes.append(spawned(place, ["alexnet", *words], named))
            else:
                processes.append(forked(place, lives, words, named, cwd))
        return kept(Job(folder, processes, launcher=False))

    return start


def torchrun(folder: Path, *arguments: object, restarts: int = 0) -> AbstractContextManager[Job]:
    """torchrun with two processes."""
    command = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    command += ["--max-restarts", str(restarts), "--redirects", "3", "--log-dir", str(folder)]
    (folder / "launcher").mkdir(parents=True)
    process = spawned(folder / "launcher", [*command, "-m", "alexnet", *map(str, arguments)], {})
    return kept(Job(folder, [process], launcher=True))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def recipe(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty-four steps: long enough for a signal to come in the midst of them."""
    path = tmp_path_factory.mktemp("recipe") / "small.json"
    path.write_text(json.dumps(small.replace(epochs=16).plain()))
    return path


@pytest.fixture(scope="module")
def options(recipe: Path) -> list[str]:
    return ["--recipe", str(recipe), "--precision", "fp32", "--save-every", "0", "--json"]


@pytest.fixture(scope="module")
def undisturbed(
    by_hand: ByHand, store: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Job]:
    """A training of two towers in two processes, whom nothing happens to."""
    home = tmp_path_factory.mktemp("undisturbed")
    given = ["train", store, home / "run", *options, "--towers-apart"]
    with by_hand(home / "said", given, given) as job:
        assert job.end() == [0, 0], job.words()
    return home / "run", job


def test_rank_0_alone_prints_and_writes(undisturbed: tuple[Path, Job]) -> None:
    folder, job = undisturbed
    assert json.loads(job.text(0, "stdout"))["images"] == 12
    assert job.text(1, "stdout") == ""
    assert job.said() == [[], []]
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == len(log.read(folder))
    kinds = [(line["kind"], line["step"]) for line in log.read(folder)]
    assert len(set(kinds)) == len(kinds)
    assert [place for place in kinds if place[0] == "epoch"] == [("epoch", 4 * i) for i in range(1, 17)]
    assert kinds[-1] == ("final", 64)


def test_evaluating_and_predicting_under_torchrun_print_one_answer_that_of_one_process(
    by_hand: ByHand, undisturbed: tuple[Path, Job], store: Path, pictures: Path, tmp_path: Path
) -> None:
    folder, _ = undisturbed
    given = [store, folder, "--precision", "fp32", "--json", "--no-keep"]
    (tmp_path / "no.png").write_bytes(b"no picture")
    with torchrun(tmp_path / "evaluate", "evaluate", *given) as job:
        assert job.end() == [0], job.words()
    alone = evaluate(store, folder, precision="fp32").plain(details=True) | {"kept": None}
    assert json.loads(job.text(0, "stdout")) == json.loads(json.dumps(alone))
    assert job.text(1, "stdout") == ""
    images = [pictures, tmp_path / "no.png"]
    with by_hand(tmp_path / "predict", *[["predict", folder, *images, *given[2:5]]] * 2) as job:
        assert job.end() == [1, 1], job.words()
    answers = json.loads(job.text(0, "stdout"))
    assert answers == predict(folder, images, precision="fp32")
    assert len(answers) == 43
    assert job.text(1, "stdout") == ""
    assert job.said() == [[f"{tmp_path / 'no.png'}: {answers[-1]['error']}"], []]


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.torture), 1])
def test_a_killed_process_makes_the_job_start_again_and_end_with_the_same_numbers(
    undisturbed: tuple[Path, Job], store: Path, options: list[str], tmp_path: Path, rank: int
) -> None:
    at = random.Random(2012 + rank).randrange(1, 13)
    folder = tmp_path / "run"
    with torchrun(tmp_path / "said", "train", store, folder, *options, "--towers-apart", "--resume", restarts=3) as job:
        job.until(partial(past, folder, at - 1))
        job.kill(rank, signal.SIGKILL)
        assert step(folder) < 64
        assert job.end() == [0], job.words()
    said = job.said()
    assert said[rank] == []
    assert said[1 - rank] in ([f"rank {1 - rank} of 2: {GONE}"], [])  # torchrun may end it before it notices
    assert json.loads(job.text(0, "stdout"))["images"] == 12
    assert [line["kind"] for line in log.read(folder)].count("resumed") == 1
    assert alike(undisturbed[0], folder)


def test_a_peer_that_stalls_is_given_up_in_time_and_the_run_goes_on_from_its_last_checkpoint(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    given = ["train", store, folder, *options, "--timeout", 10, "--towers-apart"]
    with by_hand(tmp_path / "said", given, given) as job:
        job.until(partial(past, folder, 2))
        begun = time.monotonic()
        job.kill(1, signal.SIGSTOP)
        assert job.processes[0].wait(PATIENCE) == 1
        assert time.monotonic() - begun > 8  # and within PATIENCE
        assert job.said() == [[f"rank 0 of 2: {SILENT}"], []]
        job.kill(1, signal.SIGCONT)
        assert job.end() == [1, 1]
    assert job.said()[1] in ([f"rank 1 of 2: {GONE}"], [f"rank 1 of 2: {SILENT}"])  # by what it had been waiting for
    assert 3 <= step(folder) < 64
    train(store, folder, resume=True, quiet=True)
    assert step(folder) == 64


def test_ranks_that_were_started_for_other_trainings_are_refused_by_rank_and_difference(
    by_hand: ByHand, store: Path, pictures: Path, options: list[str], tmp_path: Path
) -> None:
    """Another recipe, another store, other code, another --accumulate."""
    prepare(pictures, tmp_path / "other", side=64, val_fraction=0.2, jobs=1)
    copy = shutil.copytree(Path(alexnet.__file__).parent, tmp_path / "code" / "alexnet")
    with (copy / "training/optimizer.py").open("a") as file:
        file.write("# another comment\n")
    given = ["train", store, tmp_path / "run", *options]
    with by_hand(
        tmp_path / "said",
        given,
        [*given, "--set", "sgd.momentum=0.8"],
        ["train", tmp_path / "other", tmp_path / "run", *options],
        given,
        [*given, "--accumulate", 2],
        PYTHONPATH=["", "", "", tmp_path / "code", ""],
    ) as job:
        assert job.end() == [2] * 5, job.words()
    (words,), *others = job.said()
    digests = [alexnet.Store(path).digest for path in (tmp_path / "other", store)]
    expected = (
        r"rank 1: recipe's sgd.momentum is '0.8', but '0.9' on rank 0; all ranks must agree; "
        rf"rank 2: store digest is '{digests[0]}', but '{digests[1]}' on rank 0; all ranks must agree; "
        rf"rank 3: code of alexnet is '[0-9a-f]{{12}}', but '{code()}' on rank 0; all ranks must agree; "
        r"rank 4: --accumulate is 2, but 1 on rank 0; all ranks must agree"
    )
    assert re.fullmatch(expected, words), words
    assert others == [[]] * 4
    assert not (tmp_path / "run").exists()


def test_towers_apart_on_one_rank_alone_is_refused(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path
) -> None:
    given = ["train", store, tmp_path / "run", *options]
    with by_hand(tmp_path / "said", given, [*given, "--towers-apart"]) as job:
        assert job.end() == [2, 2], job.words()
    words = "rank 1: number of processes per replica is 2, but 1 on rank 0; all ranks must agree"
    assert job.said() == [[words], []]
    assert not (tmp_path / "run").exists()


def test_towers_apart_in_one_process_are_refused_with_what_would_do(
    store: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["train", str(store), str(tmp_path / "run"), *options, "--towers-apart"])
    assert end.value.code == 2
    words = "there is one process, but each replica needs 2; start it with torchrun --nproc-per-node 2, or a multiple"
    assert capsys.readouterr().err == f"alexnet: --towers-apart: {words} of that\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("processes", "given", "words"),
    [
        (
            3,
            [],
            "--towers-apart: there are 3 processes, but each replica needs 2; "
            "start it with torchrun --nproc-per-node 2, or a multiple of that",
        ),
        (2, ["--set", "net.towers=1"], "--strategy towers: the recipe's net.towers is 1; it must be 2"),
        (
            2,
            ["--recipe", "cifar-18"],
            "--strategy towers is for AlexNet only; train a CifarNet with --strategy data",
        ),
    ],
)
def test_towers_apart_where_they_cannot_be_are_refused(
    by_hand: ByHand,
    store: Path,
    pictures: Path,
    options: list[str],
    tmp_path: Path,
    processes: int,
    given: list[str],
    words: str,
) -> None:
    if "cifar-18" in given:  # which takes smaller pictures
        store, options = tmp_path / "store", options[2:]
        prepare(pictures, store, side=32, val_fraction=0.29, jobs=1)
    given = ["train", str(store), str(tmp_path / "run"), *options, *given, "--towers-apart"]
    with by_hand(tmp_path / "said", *[given] * processes) as job:
        assert job.end() == [2] * processes, job.words()
    assert job.said() == [[words]] + [[]] * (processes - 1)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_a_rank_does_not_see_is_refused(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path, torture: bool
) -> None:
    """New, and under `make torture` also begun by another job: a relative path, from another folder."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    given = ["train", store, "run", *options, "--resume"]
    said = []
    for name in ("new", "begun") if torture else ("new",):
        with by_hand(tmp_path / name, given, given, cwd=[tmp_path / "here", tmp_path / "there"]) as job:
            assert job.end() == [2, 2], job.words()
        said.append(job.said())
    for told, there in zip(said, (r"20\d\d-.*", "there"), strict=False):
        words = rf"rank 1: run folder run on shared storage is 'missing', but '{there}' on rank 0"
        assert told[1] == []
        assert re.fullmatch(f"{words}; all ranks must agree", told[0][0]), told


@pytest.mark.parametrize("lost", ["run folder", "checkpoints"])
def test_a_run_folder_that_is_lost_in_training_ends_it(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path, lost: str
) -> None:
    """All of it goes, or a file is where its checkpoints were."""
    folder = tmp_path / "run"
    given = ["train", store, folder, *options]
    with by_hand(tmp_path / "said", given, given) as job:
        job.until(partial(past, folder, 1))
        job.kill(0, signal.SIGSTOP)  # else it might save in between
        if lost == "run folder":
            folder.rename(tmp_path / "moved")
        else:
            (folder / "checkpoints").rename(tmp_path / "moved")
            (folder / "checkpoints").write_text("a file")
        job.kill(0, signal.SIGCONT)
        assert job.end() == [1, 1], job.words()
    (words,), others = job.said()
    why = "No such file or directory" if lost == "run folder" else "(File exists|Not a directory)"
    advice = "earlier checkpoints are intact: fix that and continue with --resume"
    assert re.fullmatch(rf"rank 0: cannot save step \d+ in {folder}/checkpoints: {why}; {advice}", words)
    assert others == []
    assert folder.exists() == (lost != "run folder")


def test_a_signal_saves_and_stops_and_resuming_ends_with_the_same_numbers(
    by_hand: ByHand, undisturbed: tuple[Path, Job], store: Path, options: list[str], tmp_path: Path, torture: bool
) -> None:
    """SIGTERM to torchrun; then SIGINT as from a terminal, which the processes may get twice: again from torchrun.

    `make test` sends the second alone, which is the harder one.
    """
    folder, begun = tmp_path / "run", 0
    given = ["train", store, folder, *options, "--towers-apart", "--resume"]
    for number in (signal.SIGTERM, signal.SIGINT) if torture else (signal.SIGINT,):
        with torchrun(tmp_path / number.name, *given) as job:
            job.until(partial(past, folder, begun + 2))
            ranks = job.ranks().values() if number == signal.SIGINT else ()
            for pid in ranks:
                os.kill(pid, number)
            job.processes[0].send_signal(number)
            assert job.end() == [1], job.words()  # torchrun's own status
        (words,), others = job.said()
        expected = rf"stopped by {number.name}: saved at step (\d+) of 64 in {folder}; --resume goes on from there"
        assert (found := re.fullmatch(expected, words)), words
        assert others == []
        assert begun < int(found[1]) == step(folder) < 64
        begun = step(folder)
    with by_hand(tmp_path / "end", given, given) as job:
        assert job.end() == [0, 0], job.words()
    assert alike(undisturbed[0], folder)


def test_two_trainings_of_one_run_are_refused_once(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path, run: Path
) -> None:
    """This process stands for the first."""
    folder = shutil.copytree(run, tmp_path / "run")
    with locked(folder), by_hand(tmp_path / "said", *[["train", store, folder, "--resume", "--json"]] * 2) as job:
        assert job.end() == [2, 2], job.words()
    words = f"rank 0: run {folder} is being trained by another process; wait for it, or stop it"
    assert job.said() == [[words], []]


def test_a_loss_that_is_no_number_ends_all_and_is_said_once(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path
) -> None:
    given = ["train", store, tmp_path / "run", *options, "--set", "sgd.lr=1e6"]
    with by_hand(tmp_path / "said", given, given) as job:
        assert job.end() == [1, 1], job.words()
    (words,), others = job.said()
    assert re.match(LOST, words)
    assert others == []


def test_a_damaged_checkpoint_is_refused_once_with_the_one_to_go_on_from(
    by_hand: ByHand, store: Path, tmp_path: Path, run: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    before, newest = checkpoint.list_checkpoints(folder)
    with (newest / "weights.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with by_hand(tmp_path / "said", *[["train", store, folder, "--resume", "--json"]] * 2) as job:
        assert job.end() == [2, 2], job.words()
    damaged = f"checkpoint file {newest / 'weights.safetensors'} is damaged"
    assert job.said() == [[f"{damaged}; delete {newest} to continue from {before.name}"], []]


def test_a_rank_that_reads_a_damaged_store_says_so_and_the_others_end(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path
) -> None:
    damaged = shutil.copytree(store, tmp_path / "damaged")
    for path in (damaged / "train").glob("*.bin"):
        path.write_bytes(bytes(~b & 255 for b in path.read_bytes()))
    given = [["train", place, tmp_path / "run", *options] for place in (store, damaged)]
    with by_hand(tmp_path / "said", *given) as job:
        assert job.end() == [1, 2], job.words()
    (lost,), (words,) = job.said()
    assert lost == f"rank 0 of 2: {GONE}"
    shard = damaged / "train" / "00000.bin"
    expected = (
        rf"rank 1: {shard} is missing or damaged at picture \d+ \('.*'\); 'alexnet verify {damaged}' lists all .*"
    )
    assert re.fullmatch(expected, words), words


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.torture), 1])
def test_a_peer_that_never_comes_is_given_up_in_time(
    by_hand: ByHand, store: Path, options: list[str], tmp_path: Path, rank: int
) -> None:
    """It was killed, say, before it could join."""
    given = ["train", store, tmp_path / "run", *options, "--timeout", 3]
    with by_hand(tmp_path / "said", *[given if r == rank else ["--version"] for r in (0, 1)]) as job:
        assert job.end(60)[rank] == 1, job.words()
    assert job.said()[rank] == [f"rank {rank} of 2: {SILENT}"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR expected, but not set; start the processes with torchrun"),
        (
            {"RANK": "2", "WORLD_SIZE": "2"},
            "RANK is 2 and WORLD_SIZE 2 in the environment; RANK must be 0 to WORLD_SIZE - 1",
        ),
    ],
)
def test_an_environment_that_no_launcher_makes_is_refused(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], words: str
) -> None:
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match=words), open_mesh(torch.device("cpu")):
        pass
