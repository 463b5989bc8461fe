"""Nets from a hub: a local server with the few routes that huggingface_hub asks. Nothing here reaches the real one."""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.core.errors import InputError, WorkFailed
from alexnet.interop.exporting import export
from alexnet.runs import hub

COMMIT = "0123456789abcdef" * 2 + "01234567"


class Hub(BaseHTTPRequestHandler):
    """The routes of one repository, somebody/net, whose files are those of a folder."""

    folder: Path
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.split("?")[0]
        files = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        if re.fullmatch(rf"/api/models/somebody/net(/revision/(main|v1|{COMMIT}))?", path):
            siblings = [{"rfilename": name} for name in files]
            self.answer(json.dumps({"id": "somebody/net", "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/somebody/net/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            self.answer(json.dumps(tree).encode())
        elif (name := path.removeprefix(f"/somebody/net/resolve/{COMMIT}/")) in files:
            self.answer(files[name], {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"', "X-Repo-Commit": COMMIT})
        elif path.startswith("/api/models/somebody/net/"):
            self.answer(b"{}", {"X-Error-Code": "RevisionNotFound"}, 404)
        else:
            self.answer(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Length": str(len(data)), "Content-Type": "application/json"} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def server(run: Path, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub with a run's net, and a list of what it is asked."""
    folder = export(run, tmp_path / "folder", "hub").path
    (folder / "pickle.bin").write_bytes(b"a file that nobody asked for")
    asked: list[str] = []
    handler = type("Served", (Hub,), {"folder": folder, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{opened.server_address[1]}", asked
        opened.shutdown()
        thread.join()


def test_a_net_is_read_from_a_hub_then_from_the_cache_and_nothing_else_is_fetched(
    server: tuple[str, list[str]], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: the extra hub")
    from huggingface_hub import constants

    address, asked = server
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    trained = alexnet.load(run).state_dict()
    for source in ("hf:somebody/net", "hf:somebody/net@v1"):
        net = alexnet.load(source)
        assert all(torch.equal(trained[name], tensor) for name, tensor in net.state_dict().items())
    fetched = {path.rpartition("/")[2] for path in asked if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors", "transform.safetensors"}
    for source in ("hf:somebody/net@v9", "hf:nobody/net"):
        with pytest.raises(InputError, match=f"{source} is not on the hub, or not open to you") as refused:
            alexnet.load(source)
        assert "\n" not in str(refused.value)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert alexnet.load("hf:somebody/net").classes == net.classes  # from the cache
    with pytest.raises(WorkFailed, match="hf:somebody/other cannot be downloaded, and is not in the cache") as failed:
        alexnet.load("hf:somebody/other")
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("source", ["hf:", "hf:net", "hf:a/b/c", "hf:a/b@", "hf:../x@y z", "hf:a/b@v 1"])
def test_a_name_of_another_form_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="write it as hf:owner/name"):
        alexnet.load(source)


def test_the_extra_is_named_where_huggingface_hub_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'alexnet\[hub\]'"):
        hub.download("hf:owner/name", ["config.json"])
