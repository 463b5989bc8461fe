"""Runs the parts of each stage under a time limit, and keeps their figures in one JSON file.

A part is a list of commands. Three kinds of printed lines count as figures: a JSON object with "name", "value" and
"unit", a line of `alexnet bench --json`, and the last line of pytest, which is a figure for each of its counts.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGE_SECONDS = 460.0  # below nine minutes, with MACHINE_SECONDS before it and GRACE twice for hanging commands
MACHINE_SECONDS = 30.0
GRACE = 10.0  # seconds from SIGTERM to SIGKILL
HERE = Path(__file__).parent
ALEXNET = [sys.executable, "-m", "alexnet"]
PROBE = [sys.executable, str(HERE / "probe.py")]
# Plugins that may be installed there and are not ours: the tests take each warning for an error, and these may warn.
FOREIGN = ("benchmark", "pytest_cov", "pytest_mock", "anyio", "jaxtyping", "typeguard")
TESTS = [sys.executable, "-m", "pytest", *(f"-pno:{name}" for name in ("cacheprovider", *FOREIGN))]
CLEAN = "ok", "skipped"


@dataclass(frozen=True)
class Part:
    """Commands to run in order within a time limit; `without` says why they cannot run here."""

    name: str
    seconds: float
    commands: list[list[str]]
    environment: dict[str, str] | None = None
    without: str = ""


@dataclass(frozen=True)
class Job:
    """The device, folders and pictures of the stages; on a CPU they only try a tiny amount of work."""

    device: str
    out: Path
    pictures: Path | None
    thumbnails: Path | None

    @property
    def small(self) -> bool:
        """True if the stages only try a tiny amount of work."""
        return self.device == "cpu"

    @property
    def work(self) -> Path:
        """Folder of the stores and runs."""
        return self.out / "work"


def first(job: Job) -> list[Part]:
    """List the parts that check that the package runs and computes correctly."""
    memcheck = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9"]
    missing = subprocess.run(["sh", "-c", "command -v compute-sanitizer"], capture_output=True).returncode
    forms = ["tests/ops/triton", "tests/ops/test_fused.py", "tests/models/test_fused.py"]
    device = ["tests/test_gpu.py", "tests/data/test_cache.py", "tests/training/test_updates.py"]
    some = "awkward or update or view_is or gradient_of_norm_and_pool"
    if job.small:
        tests = [Part("forms", 120, [[*TESTS, forms[0], "-k", "no_pictures"]])]
    else:
        tests = [
            Part("forms", 220, [[*TESTS, "-n", "12", *forms]]),
            Part("device", 120, [[*TESTS, "-n", "4", "-m", "gpu", *device]]),
        ]
    none = "compute-sanitizer is not installed" if missing or job.small else ""
    check = Part("memory", 80, [[*memcheck, *TESTS, forms[0], "-k", some]], without=none)
    return [Part("place", 60, [[*PROBE, "place", "--device", job.device]]), *tests, check]


def second(job: Job) -> list[Part]:
    """List the parts that time the pieces and the whole, first at batch 128."""

    def probe(what: str, batch: int, seconds: float, recipe: str = "", **environment: str) -> Part:
        named = ["--recipe", recipe] if recipe else []
        words = [what, recipe, str(batch), *(f"{k}={v}" for k, v in environment.items())]
        command = [*PROBE, what, "--device", job.device, "--batch", str(batch), *named]
        none = "Triton's kernels need a CUDA device" if what == "kernels" and job.small else ""
        return Part(" ".join(filter(None, words)), seconds, [command], environment, none)

    def bench(what: str, batch: int, seconds: float, *more: str) -> Part:
        how = ["--device", job.device, "--batch", str(batch), *more, "--json"]
        none = "`alexnet bench` measures a CPU by itself" if job.small else ""
        return Part(f"bench {what} {batch}", seconds, [[*ALEXNET, "bench", what, *how]], without=none)

    if job.small:
        return [
            probe("ceilings", 1, 60),
            probe("kernels", 1, 60),
            probe("step", 1, 90, "cifar-18"),
            bench("step", 1, 60),
        ]
    # First what the tables of README need, then what explains it.
    steps = [probe("step", batch, 60, recipe) for batch in (128, 1024) for recipe in ("source", "paper")]
    parts = [probe("ceilings", 128, 40), *steps, bench("step", 128, 190), bench("step", 1024, 190, "--rounds", "3")]
    for batch in (128, 1024):
        parts += [probe("convolutions", batch, 70), probe("kernels", batch, 40)]
    parts += [probe("step", batch, 60, "source", ALEXNET_GPU="early=on") for batch in (128, 1024)]
    parts += [probe("step", 128, 60, "source", ALEXNET_NATIVE="off")]
    return [*parts, bench("infer", 128, 220), bench("lrn", 128, 150)]


def third(job: Job) -> list[Part]:
    """List the parts that feed the device from end to end, and compare the precisions."""
    store = job.work / "store"
    recipes, caches, workers = (["cifar-18"], ["none"], [2])
    if not job.small:
        recipes, caches, workers = (["source", "large"], ["device", "ram", "none"], [16, 2])
    side = ["--side", "32"] if job.small else ["--side", "256", "--format", "jpeg"]
    parts = [prepared(job, "prepare", job.pictures, store, *side)]
    none = "" if job.pictures else "name a folder of pictures: --pictures"
    for recipe in recipes:  # one process for all: half of its time goes by before the first step
        how = ["--device", job.device, "--recipe", recipe, "--store", str(store), "--caches", *caches]
        command = [*PROBE, "feeding", *how, "--workers", *map(str, workers)]
        parts.append(Part(f"feeding {recipe}", 130, [command], without=none))
    # Half of the recipe's epochs, so that nine runs and all else end in one call, or nearly.
    recipe, epochs, seeds = ("cifar-18", 1, 1) if job.small else ("source", 48, 3)
    precisions = ["fp32"] if job.small else ["bf16", "tf32", "fp32"]
    for precision, seed in ((p, s) for s in range(seeds) for p in precisions):
        how = ["--epochs", str(epochs), "--precision", precision, "--seed", str(seed)]
        parts.append(trained(job, f"precision {precision} {seed}", 150, store, recipe, how))
    return [*parts, Part("precisions", 30, [[*PROBE, "precisions", "--run", str(job.work)]], without=none)]


def fourth(job: Job) -> list[Part]:
    """List the parts that decide the paper's claims at a scale that a CPU cannot reach.

    Nets of 64 x 64 pictures leave a GPU idle most of the time, so several train side by side. A run that this call has
    no time for goes on from its checkpoint in the next.
    """
    store, out, records = job.work / "thumbnails", job.work / "studies", job.out / "records"
    claim, epochs, seeds, beside = ("overlap", "1", "1", 2) if job.small else ("all", "60", "3", 5)
    how = ["--epochs", epochs, "--seeds", seeds, "--device", job.device, "--records", str(records)]
    study = shlex.join([*ALEXNET, "study", claim, str(store), str(out), *how, "--missing"])
    ours, queue = shlex.join(ALEXNET), shlex.quote(str(job.work / "missing"))
    each = f"sed 's,^alexnet,{ours},' {queue} | xargs -P {beside} -L 1 env || exit 1"
    # Averages over nets are only listed when all nets are there.
    script = f"for turn in 1 2 3; do {study} > {queue} || exit 1; test -s {queue} || exit 0; {each}; done"
    none = "" if job.thumbnails else "name a folder of pictures of 64 x 64: --thumbnails"
    return [
        prepared(job, "prepare thumbnails", job.thumbnails, store, "--side", "64", "--format", "raw"),
        Part("studies", 360, [["sh", "-c", script]], {"OMP_NUM_THREADS": "2"}, none),
        Part("verdicts", 30, [[*PROBE, "studies", "--run", str(records)]], without=none),
    ]


STAGES = {1: first, 2: second, 3: third, 4: fourth}


def prepared(job: Job, name: str, source: Path | None, store: Path, *how: str) -> Part:
    """Prepare a store from a folder of pictures, on all cores, unless it exists."""
    command = [*ALEXNET, "prepare", str(source), str(store), *how, "--jobs", str(os.cpu_count() or 1)]
    none = "" if source else f"name a folder of pictures: --{'thumbnails' if 'thumbnails' in name else 'pictures'}"
    return Part(name, 70, [] if (store / "meta.json").exists() else [command], without=none)


def trained(job: Job, name: str, seconds: float, store: Path, recipe: str, how: list[str]) -> Part:
    """Train a run, or resume one of an earlier call, and print its figures."""
    run = job.work / name.replace(" ", "-")
    command = [*ALEXNET, "train", str(store), str(run), "--recipe", recipe, "--device", job.device, "--resume", *how]
    none = "" if job.pictures else "name a folder of pictures: --pictures"
    return Part(name, seconds, [[*command, "--json"], [*PROBE, "run", "--run", str(run)]], without=none)


def figures(printed: str) -> list[dict[str, Any]]:
    """Read the figures from the output of a part."""
    found: list[dict[str, Any]] = []
    for line in printed.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and {"what", "ours", "unit"} <= value.keys():
                found.append({"name": value.pop("what"), "value": value.pop("ours"), **value})
            elif isinstance(value, dict) and {"name", "value", "unit"} <= value.keys():
                found.append(value)
        if re.fullmatch(r"=*\s*(\d+ [a-z]+(, )?)+ in [\d.]+s.*", line):
            counts = re.findall(r"(\d+) ([a-z]+)(?=,| in )", line)
            found += [{"name": f"tests {word}", "value": int(count), "unit": "tests"} for count, word in counts]
    return found


def run(part: Part, seconds: float, log: Path) -> dict[str, Any]:
    """Run a part's commands; return its status, time and figures, and write all output to `log`."""
    begun, status, why = time.monotonic(), "skipped" if part.without else "ok", part.without
    log.write_text("")
    for command in () if part.without else part.commands:
        left = seconds - (time.monotonic() - begun)
        code = finished(command, left, part.environment or {}, log)
        if code is None:
            status, why = "failed", f"not finished within {seconds:.0f} s"
        elif code:
            status, why = "failed", f"exit status {code}: {last_line(log)[:200]}"
        if code != 0:
            break
    taken = round(time.monotonic() - begun, 1)
    answer = {"status": status, "seconds": taken, "figures": figures(log.read_text(errors="replace"))}
    return answer | ({"why": why} if why else {})


def finished(command: list[str], seconds: float, environment: dict[str, str], log: Path) -> int | None:
    """Run a command and return its exit status; None if it took too long and was stopped with its children."""
    with log.open("ab") as out:
        try:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | environment, start_new_session=True
            )
        except OSError as error:
            out.write(f"{error}\n".encode())
            return 127
    try:
        return process.wait(max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        return None
    finally:
        for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            if process.poll() is None or number == signal.SIGKILL:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(wait)


def last_line(log: Path) -> str:
    """Read the last line of a log."""
    return next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "")


def machine(job: Job) -> dict[str, Any]:
    """Describe the machine, versions and commit of the figures."""
    log = job.out / "machine.txt"
    log.unlink(missing_ok=True)
    code = finished([*PROBE, "machine", "--device", job.device], MACHINE_SECONDS, {}, log)
    git = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True)
    commit = os.environ.get("COMMIT") or (git.stdout.strip() if git.returncode == 0 else "unknown")
    try:
        told: dict[str, Any] = json.loads(last_line(log))
    except ValueError:
        told = {"machine": {}, "versions": {}, "why": f"exit status {code}: {last_line(log)}"}
    return {**told, "commit": commit}


def staged(number: int, parts: list[Part], of: dict[str, Any], path: Path, seconds: float = STAGE_SECONDS) -> bool:
    """Run a stage's parts within a time limit, save each result at once, and return whether all succeeded.

    A part that already succeeded on this machine at this commit is not run again.
    """
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"stages": {}}
    earlier = kept["stages"].get(str(number), {})
    done = earlier.get("parts", {}) if all(earlier.get(n) == of[n] for n in of) and known(of) else {}
    stage = kept["stages"][str(number)] = {**of, "parts": {n: p for n, p in done.items() if p["status"] == "ok"}}
    end = time.monotonic() + seconds
    for part in parts:
        left = end - time.monotonic()
        if part.name in stage["parts"]:
            print(f"stage {number}, {part.name}: done before", flush=True)
            continue
        if left < 1:
            answer: dict[str, Any] = {"status": "failed", "why": "the stage had no time left", "figures": []}
        else:
            log = path.parent / f"{number} {part.name}.txt".replace(" ", "-")
            answer = run(part, min(part.seconds, left), log)
        stage["parts"][part.name] = answer
        kept["written"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(kept, indent=1))
        partial.replace(path)
        why = f": {answer['why']}" if "why" in answer else ""
        print(f"stage {number}, {part.name}: {answer['status']}{why}", flush=True)
    return all(stage["parts"][part.name]["status"] in CLEAN for part in parts)


def known(of: dict[str, Any]) -> bool:
    """Check whether the sources are exactly those of a commit."""
    return of["commit"] != "unknown" and not of["commit"].endswith("-dirty")


def main() -> int:
    """Run the named stages; exit status 1 if a part failed."""
    given = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    given.add_argument("stages", nargs="*", type=int, help="stages to run (default: 1 2 3 4)")
    given.add_argument(
        "--device", default="cuda", choices=["cuda", "cpu"], help="device; cpu only tries a tiny amount of work"
    )
    given.add_argument(
        "--out", type=Path, default=Path("gpu-figures"), help="folder for figures.json and everything else"
    )
    given.add_argument("--pictures", type=Path, help="folder with a folder of photographs for each class, for stage 3")
    given.add_argument("--thumbnails", type=Path, help="the same with pictures of 64 x 64 pixels, for stage 4")
    given.add_argument("--only", default="", metavar="REGEX", help="run only the parts whose names match it")
    options = given.parse_args()
    for number in options.stages:
        if number not in STAGES:
            given.error(f"there is no stage {number}; choose from {', '.join(map(str, STAGES))}")
    for folder in (options.pictures, options.thumbnails):
        if folder and not folder.is_dir():
            given.error(f"{folder} is not a folder; name one with a folder of pictures for each class")
    job, file = Job(options.device, options.out, options.pictures, options.thumbnails), options.out / "figures.json"
    try:
        job.work.mkdir(parents=True, exist_ok=True)
        if file.exists() and "stages" not in json.loads(file.read_text()):
            raise ValueError
    except OSError as error:
        given.error(f"--out {job.out}: {error.strerror}; name a folder that you can write to")
    except (ValueError, TypeError):
        given.error(f"{file} was not written by these stages; move it away")
    of, well = machine(job), True
    for number in sorted(set(options.stages or STAGES)):
        parts = [part for part in STAGES[number](job) if re.search(options.only, part.name)]
        clean = staged(number, parts, of, file)
        well = well and clean
        if number == 1 and not clean:
            print(
                "stage 1 failed: the package does not work correctly here, so nothing else is measured", file=sys.stderr
            )
            break
    print(f"figures are in {file}")
    return 0 if well else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the running part stops too
    sys.exit(main())
