"""Bytes and times of the lab's page, on both back ends, in Chromium: python benchmarks/lab.py RUN [--store STORE]

Serves RUN with `alexnet serve`, writes it with `alexnet export --to page`, and serves that folder by Python's file
server, at its root and below another folder. Each first load is a new browser profile's, with nothing in its cache. A
picture is what the page asks of its back end for one: the layers of one view, and the probabilities of all ten.

`--markdown PAGE` writes the table; `--image FILE` takes a screenshot. It needs the extras lab and onnx, playwright and
Chromium (`make browser`), and brotli.
"""

import argparse
import functools
import gzip
import http.server
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from gpu_table import table
from pages import rewrite
from PIL import Image

from alexnet.runs.environment import processor

LOADS, PICTURES = 5, 20
MARK = "lab"
PICKED = 200  # the picture of the screenshot, of the store that `alexnet demo` makes
WIDTH = 1366
ANSWERED = "() => /likeliest/.test(document.getElementById('state').textContent)"
TIMED = """async ([count]) => {
    const backend = await import("./backend.js"), { state } = await import("./state.js");
    const every = state.facts.switches.places.map((_, i) => i), times = [];
    for (let i = 0; i < count; i++) {
        const begin = performance.now();
        await backend.run(state.square, state.settings, true);
        await backend.run(state.square, { ...state.settings, places: every });
        times.push(performance.now() - begin);
    }
    return times;
}"""


def packed(folder: Path) -> dict[str, int]:
    """Bytes of a folder's files as they are, each compressed by gzip, and each by Brotli."""
    import brotli

    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    ways = {"as they are": len, "gzip": lambda d: len(gzip.compress(d, 9)), "Brotli": lambda d: len(brotli.compress(d))}
    return {name: sum(map(way, files)) for name, way in ways.items()}


@contextmanager
def filed(root: Path, below: str) -> Iterator[str]:
    """Serve a folder by a plain file server; yields the address of the page below it."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{below}"
        server.shutdown()
        thread.join()


@contextmanager
def served(run: Path, store: Path | None) -> Iterator[str]:
    """Serve a run by `alexnet serve`; yields its address."""
    words = [sys.executable, "-m", "alexnet", "serve", str(run), "--port", "0", "--threads", "1"]
    words += ["--store", str(store)] if store else []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" is at ")[1].split()[0]
        process.terminate()


def until(page: Any, condition: str) -> None:
    """Wait until a function of the page is true; the page's policy forbids playwright's own way."""
    while not page.evaluate(condition):
        page.wait_for_timeout(5)


def visit(browser: Any, address: str, picture: Path) -> tuple[float, float, list[float], int]:
    """Time the first load, the first answer and more pictures, in ms, and count the bytes that came."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 900}, locale="en-US")
    page, came = context.new_page(), [0]
    page.on("response", lambda answer: came.__setitem__(0, came[0] + int(answer.headers.get("content-length", 0))))
    begin = time.perf_counter()
    page.goto(address)
    until(page, "() => !document.getElementById('curves').hidden")
    loaded = time.perf_counter() - begin
    begin = time.perf_counter()
    page.set_input_files("#file", picture)
    until(page, ANSWERED)
    first = time.perf_counter() - begin
    bytes_ = came[0]
    times = page.evaluate(TIMED, [PICTURES])
    context.close()
    return 1e3 * loaded, 1e3 * first, times, bytes_


def rows(browser: Any, run: Path, picture: Path, folder: Path) -> Iterator[list[str]]:
    """Measure each way to serve the page; yields rows of the table."""
    (folder / "below").mkdir()
    shutil.copytree(folder / "page", folder / "below" / "lab")
    ways = {
        "`alexnet serve`": served(run, None),
        "a file server, the net in the browser": filed(folder / "page", ""),
        "the same, from a sub-path": filed(folder / "below", "lab/"),
    }
    for name, way in ways.items():
        with way as address:
            visits = [visit(browser, address, picture) for _ in range(LOADS)]
        loads, firsts, times, bytes_ = zip(*visits, strict=True)
        one = median(t for each in times for t in each)
        yield [name, f"{bytes_[0] / 1e6:.2f}", f"{median(loads):.0f}", f"{median(firsts):.0f}", f"{one:.0f}"]


def screenshot(browser: Any, run: Path, store: Path, to: Path, width: int) -> None:
    """Take a picture of the nearest pictures and the first layers, for a picture of the store, as a small PNG."""
    with served(run, store) as address:
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, locale="en-US")
        page.goto(f"{address}#picture={PICKED}")
        until(page, "() => document.querySelectorAll('#nearest li').length > 0")
        page.evaluate("() => document.getElementById('near').scrollIntoView()")
        page.wait_for_timeout(1000)
        image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        image.crop((150, 0, WIDTH - 150, image.height)).resize((width, width * image.height // (WIDTH - 300))).quantize(
            128, dither=Image.Dither.NONE
        ).save(to, optimize=True)


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path, help="a picture to show")
    parser.add_argument("--store", type=Path, help="store for the screenshot")
    parser.add_argument("--image", type=Path, help="PNG to write")
    parser.add_argument("--markdown", type=Path, help="page to write the table into")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        folder = Path(name)
        command = [sys.executable, "-m", "alexnet", "export", arguments.run, folder / "page", "--to", "page"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        path = os.environ.get("ALEXNET_BROWSER") or shutil.which("chromium")
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        heads = ["way", "MB at first load and picture", "first load, ms", "first picture, ms", "a later one, ms"]
        found = table(heads, list(rows(browser, arguments.run, arguments.picture, folder)))
        sizes = ", ".join(f"{size / 1e6:.1f} MB {way}" for way, size in packed(folder / "page").items())
        if arguments.image:
            screenshot(browser, arguments.run, arguments.store, arguments.image, 700)
        version = browser.version
        browser.close()
    words = (
        f"{processor()}, one thread, Chromium {version}, {LOADS} loads, {PICTURES} pictures each, medians. "
        f"The exported folder: {sizes}"
    )
    print(f"{words}\n\n{found}")
    if not arguments.markdown:
        return 0
    return rewrite([arguments.markdown], {MARK: lambda: f"{words}.\n\n{found}"}, "these figures", False)


if __name__ == "__main__":
    sys.exit(main())
