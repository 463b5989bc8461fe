"""A served run under hostile uploads and lost clients: each gets a status, nothing dies, and memory stays bounded."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest
from tests.faults import pictures as hostile

pytest.importorskip("uvicorn", reason="pip install 'alexnet[lab]'")

Count = Callable[..., None]
FLAT = 16_000_000  # bytes that requests may add to the most that earlier ones took
MOST = 650_000_000  # bytes: one picture's 450 MB, its file, and what its answer takes


class Served:
    """A process of `alexnet serve`, and its port."""

    def __init__(self, run: Path, store: Path) -> None:
        words = [
            sys.executable,
            "-m",
            "alexnet",
            "serve",
            str(run),
            "--store",
            str(store),
            "--port",
            "0",
            "--threads",
            "1",
        ]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.search(r" is at http://127\.0\.0\.1:(\d+)/ \(Ctrl-C stops it\)$", line.strip())
        assert found, line
        self.port = int(found[1])

    def post(self, body: bytes | None, path: str = "/api/predict?views=1") -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("GET" if body is None else "POST", path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def memory(self, of: str) -> int:
        """Bytes that the process takes (VmRSS), or took at most (VmHWM); 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(of)))


@pytest.fixture(scope="module")
def copy(run: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(store, folder / "store")
    return Path(shutil.copytree(run, folder / "run"))


@pytest.fixture(scope="module")
def served(copy: Path) -> Iterator[Served]:
    made = Served(copy, copy.parent / "store")
    yield made
    made.process.kill()
    made.process.communicate()


def test_hostile_uploads_get_a_status_and_the_next_client_an_answer(
    served: Served, pictures: Path, torture: bool, count: Count
) -> None:
    good = (pictures / "red" / "00.png").read_bytes()
    status, right = served.post(good)
    assert status == 200
    before = served.memory("VmRSS")
    seeds = hostile.seeds(None)
    bodies = [hostile.fuzzed(number, seeds) for number in range(2000 if torture else 60)]
    bodies += [make() for _, make in islice(hostile.bombs(False), 0, None, 1 if torture else 8)]
    bodies += [b"", b"\0" * 1000, b"<html>", b"GET / HTTP/1.1\r\n\r\n", b"{" * 100_000]
    told = [served.post(body) for body in bodies]
    assert {status for status, _ in told} == {200, 422}
    assert all("error" in found for status, found in told if status == 422)
    assert served.post(good) == (200, right)
    more = served.memory("VmHWM") - before
    assert more < MOST
    used = sum(status == 200 for status, _ in told)
    figure = f"{used} used; at most {more / 1e6:.0f} MB more"
    count("serve: hostile uploads", injected=len(told), survived=len(told), figure=figure)


def test_clients_that_go_away_or_never_send_harm_no_other(served: Served, pictures: Path, count: Count) -> None:
    good = (pictures / "red" / "00.png").read_bytes()
    head = f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(good)}\r\n\r\n".encode()
    _, right = served.post(good)
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(50)]
    gone = [0, 1, 20, len(head) - 2, len(head), len(head) + 10, len(head) + len(good)]
    for cut in gone:
        with socket.create_connection(("127.0.0.1", served.port)) as talk:
            talk.sendall((head + good)[:cut])
    for junk in (b"\xff" * 5000, b"GET /" + b"a" * 70_000, b"POST /api/predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        talk = socket.create_connection(("127.0.0.1", served.port))
        talk.sendall(junk)
        idle.append(talk)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: served.post(good), range(32)))
    assert answers == [(200, right)] * 32
    before = served.memory("VmHWM")
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda _: served.post(good), range(64))) == [(200, right)] * 64
    more = served.memory("VmHWM") - before
    assert more < FLAT
    for each in idle:
        each.close()
    faults = len(gone) + len(idle)
    figure = f"64 more requests of 16 clients: {more / 1e6:.0f} MB more"
    count("serve: clients that go away, say nothing, or no HTTP", injected=faults, survived=faults, figure=figure)


def test_a_run_and_a_store_that_are_deleted_while_served_end_no_other_answer_and_the_end_is_clean(
    served: Served, copy: Path, pictures: Path, count: Count
) -> None:
    good = (pictures / "red" / "00.png").read_bytes()
    _, right = served.post(good)
    shutil.rmtree(copy)
    shutil.rmtree(copy.parent / "store")
    for path in ("/api/pictures", "/api/picture?kind=pick&place=0"):
        status, told = served.post(None, path)
        assert status == 400
        assert str(copy.parent / "store") in str(told["error"])
    assert served.post(good) == (200, right)
    second = subprocess.run(
        [sys.executable, "-m", "alexnet", "serve", str(copy), "--port", str(served.port)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    served.process.send_signal(signal.SIGTERM)
    out, err = served.process.communicate(timeout=30)
    assert (out, err) == ("", "")
    assert served.process.returncode in (0, -signal.SIGTERM, 143)
    count("serve: the run and the store deleted, a second server, SIGTERM", injected=4, survived=4)


def test_a_port_in_use_is_a_line(run: Path, count: Count) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["serve", str(run), "--port", str(taken.getsockname()[1])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "alexnet", *words], capture_output=True, text=True, env=environment, check=False
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be bound (Address already in use); use another one, or --port 0" in done.stderr
    count("serve: a port in use", injected=1, survived=1)
