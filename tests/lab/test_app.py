"""The server of the lab: the answers of `predict`, who may ask, and what it withstands."""

import http.client
import json
import math
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexnet
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.core.sockets import bind
from alexnet.data.images.limits import MOST_BYTES
from alexnet.inference.trained import load_for_inference
from alexnet.lab.facts import facts
from alexnet.lab.serve import LOOPBACK, SETTINGS
from alexnet.lab.stored import Stored
from alexnet.runs.run import Run

uvicorn = pytest.importorskip("uvicorn", reason="pip install 'alexnet[lab]'")
from alexnet.lab import app, timely  # noqa: E402  (they need the extra)


@pytest.fixture(scope="module")
def port(run: Path, store: Path) -> Iterator[int]:
    """The port of a server of the run and a store."""
    compute = choose_compute("cpu", "fp32")
    net = load_for_inference(run, compute)
    with bind("127.0.0.1", 0) as listening:
        stored = Stored(net, alexnet.Store(store), compute, "run")
        made = app.make_app(net, compute, facts(Run(run), net, Run(run).resolve(), stored), LOOPBACK, stored)
        server = uvicorn.Server(uvicorn.Config(made, http=timely.Timely, **SETTINGS))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


Answer = tuple[int, Any, dict[str, str]]


def ask(port: int, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Answer:
    """Status, JSON and headers of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        answer = connection.getresponse()
        data = answer.read()
        kind = answer.getheader("content-type") or ""
        return (
            answer.status,
            json.loads(data) if "json" in kind else data,
            {k.lower(): v for k, v in answer.getheaders()},
        )
    finally:
        connection.close()


def head(size: int) -> bytes:
    """The head of a request that claims a body of `size` bytes."""
    return f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()


def test_a_picture_gets_what_predict_prints_whatever_its_content_type(port: int, run: Path, pictures: Path) -> None:
    file = pictures / "red" / "00.png"
    for views in (1, 10):
        (expected,) = alexnet.predict(run, [file.read_bytes()], views=views, device="cpu", precision="fp32")
        for kind in ("image/png", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html"):
            status, found, _ = ask(port, f"/api/predict?views={views}", file.read_bytes(), Content_Type=kind)
            assert (status, found) == (200, json.loads(json.dumps(expected)))
    assert ask(port, "/api/predict", file.read_bytes())[1] == found


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of an answer, by their names."""
    (length,) = struct.unpack_from("<I", data)
    found, at = {}, 4 + length
    for name, shape in json.loads(data[4:at]):
        found[name] = np.frombuffer(data, "<f4", math.prod(shape), at).reshape(shape)
        at += 4 * math.prod(shape)
    assert at == len(data)
    return found


def test_all_views_of_the_square_give_the_answer_of_predict(port: int, pictures: Path, run: Path) -> None:
    file = (pictures / "red" / "00.png").read_bytes()
    net = alexnet.load(run)
    status, square, _ = ask(port, "/api/square", file)
    assert (status, len(square)) == (200, 3 * net.transform.side**2)
    settings = urllib.parse.quote(json.dumps({"places": list(range(10))}))
    found = unpacked(ask(port, f"/api/run?layers=true&settings={settings}", square)[1])
    assert list(found)[:2] == ["probabilities", "input"]
    assert {name for name in found if name in net.order} == {name for name in net.order if name != "pad1"}
    (answer,) = alexnet.predict(run, [file], device="cpu", precision="fp32")
    for one in answer["predictions"]:
        assert found["probabilities"].mean(0)[one["index"]] == pytest.approx(one["probability"], abs=1e-5)


def test_a_square_of_another_size_and_settings_or_units_that_there_are_not_are_a_line(port: int) -> None:
    for path, body, words in (
        ("/api/run", b"abc", "the square has 3 bytes; it must have"),
        ("/api/run?settings=%7B%22norms%22%3A1%7D", b"abc", "norms 1; it must be two of true and false"),
        ("/api/unit?layer=relu1&map=0", None, "layer 'relu1' has no kernels; conv1,"),
        ("/api/unit?layer=conv1&map=999", None, "map 999 of conv1; it must be 0 to"),
        ("/api/unit?layer=conv1&map=-1", None, "map '-1' is not a whole number"),
        ("/api/unit?layer=conv1&map=²", None, "map '²' is not a whole number"),
        ("/api/pictures?page=x", None, "page 'x' is not a whole number"),
        ("/api/pictures?page=99", None, "page 99; it must be 0 to 0"),
        ("/api/picture?kind=../..&place=0", None, "kind '../..'; it must be pick or near"),
        ("/api/picture?kind=near&place=9999", None, "picture 9999; it must be 0 to"),
        ("/api/nearest", b"abc", "3 bytes; the features of relu7 are"),
    ):
        status, found, _ = ask(port, urllib.parse.quote(path, "/?&=%"), body)
        assert status == 400
        assert found["error"].startswith(words)
    assert list(unpacked(ask(port, "/api/unit?layer=fc8&map=2")[1])) == ["kernel", "bias"]
    assert ask(port, "/api/net")[1]["layers"][1]["name"] == "conv1"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 422, "empty"),
        (b"<html>", 422, "not a picture: a web page"),
        (b"\xff\xd8\xff\xe0" + bytes(100), 422, "damaged"),
        (b"GIF89a" + b"\xff" * 2000, 422, "damaged"),
    ],
)
@pytest.mark.parametrize("path", ["/api/predict", "/api/square"])
def test_what_is_no_picture_gets_a_status_and_the_reason(
    path: str, body: bytes, status: int, words: str, port: int
) -> None:
    found = ask(port, path, body, "POST")
    assert found[0] == status
    assert found[1]["error"].startswith(words)


def test_wrong_questions_get_a_status_and_a_line(port: int) -> None:
    assert ask(port, "/api/predict?views=5", b"x")[:2] == (400, {"error": "views '5'; it must be 1 or 10"})
    assert ask(port, "/api/predict")[0] in (404, 405)
    assert ask(port, "/nothing")[0] == 404
    assert ask(port, "/../../etc/passwd")[0] == 404
    assert ask(port, "/%2e%2e/%2e%2e/etc/passwd")[0] == 404


def test_another_sites_page_and_another_name_are_refused(port: int, pictures: Path) -> None:
    file = (pictures / "red" / "00.png").read_bytes()
    own = f"127.0.0.1:{port}"
    assert ask(port, "/api/predict", file, Origin=f"http://{own}")[0] == 200
    assert ask(port, "/api/predict", file, Host=f"localhost:{port}", Origin=f"http://localhost:{port}")[0] == 200
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}", f"http://{own}.evil.example"):
        assert ask(port, "/api/predict", file, Origin=origin)[0] == 403
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
        assert ask(port, "/api/net", Host=host)[0] == 421


def test_every_answer_forbids_other_hosts_scripts_and_frames(port: int) -> None:
    for path in ("/", "/main.js", "/api/net", "/nothing"):
        headers = ask(port, path)[2]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert "unsafe-inline" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_a_body_that_is_too_long_or_stops_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(("127.0.0.1", port)) as talk:
        talk.sendall(
            f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n".encode()
        )
        assert talk.recv(100).startswith(b"HTTP/1.1 413")
    monkeypatch.setattr(app, "SILENCE", 0.2)
    with socket.create_connection(("127.0.0.1", port)) as talk:
        talk.sendall(head(9) + b"abc")
        assert talk.recv(100).startswith(b"HTTP/1.1 408")
    monkeypatch.setattr(app, "MOST_BYTES", 1000)
    with socket.create_connection(("127.0.0.1", port)) as talk:
        talk.sendall(b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        talk.sendall(b"7d0\r\n" + bytes(2000) + b"\r\n")
        assert talk.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_that_never_ends_its_request_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timely, "SILENCE", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
        assert talk.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
        talk.sendall(b"GET /api/net HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answered = talk.recv(1 << 16)
        talk.sendall(b"GET /")
        while part := talk.recv(1 << 16):
            answered += part
        assert answered.startswith(b"HTTP/1.1 200")


def test_a_picture_of_the_store_is_a_png_that_other_sites_cannot_show(port: int, store: Path) -> None:
    (first, *_) = ask(port, "/api/pictures?page=0")[1]["pictures"]
    status, data, headers = ask(port, f"/api/picture?kind=pick&place={first['place']}")
    assert (status, headers["content-type"], data[:4]) == (200, "image/png", b"\x89PNG")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    square = ask(port, "/api/square", data)[1]
    assert square == alexnet.Store(store)["val"][first["number"]][0].tobytes()


def test_clients_that_go_away_and_sixteen_at_once_lose_nothing(port: int, pictures: Path) -> None:
    files = [path.read_bytes() for path in sorted(pictures.rglob("*.png"))[:16]]
    alone = [ask(port, "/api/predict", file)[1] for file in files]
    for cut in (10, 200):
        with socket.create_connection(("127.0.0.1", port)) as talk:
            talk.sendall((head(len(files[0])) + files[0])[:cut])
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda file: ask(port, "/api/predict", file)[1], files)) == alone


def test_a_port_in_use_and_an_address_of_another_machine_are_a_line(port: int) -> None:
    with pytest.raises(InputError, match=rf"--port {port} on 127.0.0.1 cannot be bound .* --port 0"):
        bind("127.0.0.1", port)
    with pytest.raises(InputError, match=r"cannot be bound|use an address of this machine"):
        bind("192.0.2.1", 0)
