"""A real browser for the tests of pages, and the rules of accessibility."""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = "axe-core@4.11.0"


@functools.cache
def chromium() -> str | None:
    """The path of a browser: ALEXNET_BROWSER, or Debian's Chromium."""
    return os.environ.get("ALEXNET_BROWSER") or shutil.which("chromium")


@contextmanager
def opened() -> Iterator[Any]:
    """A browser, or the reason to skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: make browser")
    if chromium() is None:
        pytest.skip("no Chromium: make browser, or set ALEXNET_BROWSER")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        browser.close()


def load_axe(page: Any, folder: Path) -> None:
    """Load axe-core into a page, or skip; `folder` holds it meanwhile."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm to fetch axe-core")
    done = subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip("npm cannot fetch axe-core")
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder)
    page.evaluate((folder / "package" / "axe.min.js").read_text())
