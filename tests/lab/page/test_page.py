"""The page in a real browser, on both back ends: its numbers are the net's, and every panel works by keyboard."""

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.browser import load_axe, opened

import alexnet
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.core.sockets import bind
from alexnet.inference.pictures import read_picture
from alexnet.inference.trained import load_for_inference
from alexnet.lab import POLICY, runtime
from alexnet.lab.facts import facts
from alexnet.lab.serve import LOOPBACK, SETTINGS
from alexnet.lab.stored import Stored
from alexnet.lab.walk import Settings, inputs, mask, walk
from alexnet.models.layer_table import Pad
from alexnet.models.layers import Dropout
from alexnet.models.network import Network
from alexnet.runs.run import Run

PAGE = Path(str(files("alexnet.lab") / "page"))


def keys_of(language: str) -> dict[str, str]:
    """Each key, and the words in braces that its text has."""
    text = (PAGE / "words.js").read_text()
    block = text[text.index(f"  {language}: {{") :]
    found = re.findall(r'"?([\w-]+)"?: "((?:[^"\\]|\\.)*)"', block[: block.index("\n  },")])
    return {key: " ".join(sorted(re.findall(r"\{\w+\}", said))) for key, said in found}


def test_both_languages_say_everything_with_the_same_numbers() -> None:
    english, chinese = keys_of("en"), keys_of('"zh-Hant"')
    assert len(english) > 60
    assert english == chinese


def test_the_page_uses_only_words_that_there_are() -> None:
    used = set(re.findall(r'data-(?:words|label)="([\w-]+)"', (PAGE / "index.html").read_text()))
    for script in PAGE.glob("*.js"):
        used |= set(re.findall(r'\bsay\("([\w-]+)"', script.read_text()))
    assert len(used) > 50
    assert used <= keys_of("en").keys()


def test_the_page_names_no_other_host() -> None:
    for file in PAGE.iterdir():
        named = set(re.findall(r"https?://[\w.]+", file.read_text()))
        assert named <= {"http://www.w3.org"}, file.name  # the name of SVG


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser, or the reason to skip."""
    with opened() as found:
        yield found


@pytest.fixture(scope="module")
def net(run: Path) -> Network:
    return load_for_inference(run, choose_compute("cpu", "fp32"))


@pytest.fixture(scope="module")
def served(run: Path, store: Path, net: Network) -> Iterator[str]:
    """The address of `alexnet serve`."""
    uvicorn = pytest.importorskip("uvicorn")
    from alexnet.lab.app import make_app

    compute = choose_compute("cpu", "fp32")
    stored = Stored(net, alexnet.Store(store), compute, "run")
    with bind("127.0.0.1", 0) as listening:
        app = make_app(net, compute, facts(Run(run), net, Run(run).resolve(), stored), LOOPBACK, stored)
        server = uvicorn.Server(uvicorn.Config(app, **SETTINGS))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def exported(run: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an exported page, on a plain file server and below another folder."""
    pytest.importorskip("onnx")
    from alexnet.lab.page_folder import write_page

    folder = tmp_path_factory.mktemp("page")
    try:
        write_page(Run(run), folder / "lab", store=store)
    except InputError as error:
        pytest.skip(str(error))
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/lab/"
        server.shutdown()
        thread.join()


class Visit:
    """A visit to the page: what it asked for, and what it said."""

    def __init__(self, browser: Any, address: str, picture: Path | None = None, width: int = 1366) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, locale="en-US")
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(address)
        self.page.wait_for_selector("#curves:not([hidden])")
        if picture:
            self.page.set_input_files("#file", picture)
            self.settled()

    def until(self, condition: str, *arguments: Any) -> None:
        """Wait until a function of the page is true; the page's policy forbids playwright's own way."""
        for _ in range(400):
            if self.page.evaluate(condition, list(arguments)):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"not so after 20 seconds: {condition}")

    def settled(self) -> None:
        """Wait until the page shows an answer."""
        self.until("() => /likeliest class/.test(document.getElementById('state').textContent)")

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the back end, and return its arrays as lists."""
        return self.page.evaluate(
            """async ([name, args]) => {
                const backend = await import("./backend.js"), { state } = await import("./state.js");
                const found = await backend[name](...(name === "run" ? [state.square, ...args] : args));
                return Object.fromEntries(Object.entries(found).map(([k, v]) => [k, [v.shape, Array.from(v.data)]]));
            }""",
            [function, list(arguments)],
        )


BACK_ENDS = ["served", "exported"]


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Any) -> Iterator[Callable[..., Visit]]:
    """A function that visits the page of a back end."""
    visits: list[Visit] = []

    def make(end: str, picture: Path | None = None, width: int = 1366, after: str = "") -> Visit:
        visits.append(Visit(browser, request.getfixturevalue(end) + after, picture, width))
        return visits[-1]

    yield make
    for each in visits:
        each.context.close()


def array(found: Any) -> np.ndarray:
    shape, data = found
    return np.array(data, np.float32).reshape(shape)


@pytest.mark.parametrize("end", BACK_ENDS)
def test_both_back_ends_give_the_nets_numbers_at_every_switch(
    end: str, visit: Callable[..., Visit], net: Network, pictures: Path
) -> None:
    file = pictures / "red" / "00.png"
    page = visit(end, file)
    square = read_picture(file.read_bytes(), net.transform.side, net.transform.fit)
    assert isinstance(square, np.ndarray)
    shown = page.page.evaluate("async () => Array.from((await import('./state.js')).state.square)")
    assert np.array_equal(np.array(shown, np.uint8), square.reshape(-1))
    pixels, every = torch.from_numpy(square), list(range(len(net.transform.places())))
    for settings in (
        {"places": every},
        {"places": [1], "norms": [False, True], "silent": [1]},
        {"places": [3], "norms": [True, False], "swapped": True, "gray": True},
        {"places": [2], "dropout": 7, "covers": [[0, 0, 9], [5, 7, 20]]},
    ):
        given = {"norms": [True, True], "swapped": False, "silent": [], "dropout": None, "gray": False, **settings}
        found = page.call("run", given, True)
        own = Settings.read(json.dumps(given), net)
        made = walk(net, inputs(net, pixels, own, torch.float32), own)
        right = torch.softmax(made[net.order[-1]], 1).numpy()
        np.testing.assert_allclose(array(found["probabilities"]), right, atol=1e-4)
        names = [name for name in made if name in found]
        assert len(names) > 15
        assert [name for name in found if name in made] == names  # in the order in which they run
        for name in names:
            out = made[name][0].numpy()
            np.testing.assert_allclose(array(found[name]), out, rtol=1e-3, atol=1e-4 * max(1, np.abs(out).max()))
    layer = net.layer("conv2")
    kernel = page.call("unit", "conv2", 3)
    np.testing.assert_allclose(array(kernel["kernel"]), layer.get_parameter("weight")[3].detach().numpy(), rtol=1e-6)
    assert array(kernel["bias"])[0] == pytest.approx(float(layer.get_parameter("bias")[3].detach()))
    first = net.layer("conv1").get_parameter("weight").detach().numpy()
    np.testing.assert_allclose(array(page.call("kernels")["kernels"]), first, rtol=1e-6)
    assert page.said == []


def test_the_exported_page_draws_the_masks_of_the_net(visit: Callable[..., Visit], net: Network) -> None:
    layer = next(net.layer(name) for name in net.order if isinstance(net.layer(name), Dropout))
    assert isinstance(layer, Dropout)
    drawn = visit("exported").page.evaluate(
        "async ([layer]) => Array.from((await import('./philox.js')).mask(layer, 4294967295))",
        [{"p": layer.p, "scale": layer.scale, "layer": layer.layer, "maps": 300}],
    )
    assert drawn == mask(layer, 300, 4294967295).tolist()


@pytest.mark.parametrize("end", BACK_ENDS)
def test_every_switch_and_panel_works_by_keyboard_without_a_word_or_another_host(
    end: str, visit: Callable[..., Visit], pictures: Path, net: Network
) -> None:
    page = visit(end, pictures / "red" / "00.png")
    keys, found = page.page.keyboard, page.page
    before = found.text_content("#effect")
    for switch in ("norm1", "norm2", "swapped", "silent0", "silent1", "gray", "dropout"):
        found.focus(f"#{switch}")
        keys.press("Space")
    page.settled()
    page.until("([text]) => document.getElementById('effect').textContent !== text", before)
    found.focus("#again")
    keys.press("Enter")
    found.focus("#place")
    keys.press("ArrowDown")
    page.until("() => location.hash.includes('dropout=2') && location.hash.includes('places=')")
    permalink = found.url
    found.focus("#usual")
    keys.press("Enter")
    page.until("() => !location.hash.includes('norms')")
    for layer in [one.name for one in net.layers if not isinstance(one.op, Pad)]:
        found.select_option("#unit-layer", layer)
        page.until("([name]) => location.hash.includes(`unit=${name}.`)", layer)
        page.until("() => document.getElementById('sum').childElementCount > 0")
        assert found.text_content("#unit-value").startswith("Value ")
    found.focus("#unit-map")
    keys.press("ArrowUp")
    page.until("() => location.hash.includes('fc8.1.')")
    found.focus("#occlude")
    keys.press("Enter")
    found.wait_for_selector("#fall:not([hidden])")
    assert "It is lowest, " in found.text_content("#fall-words")
    found.select_option("#language", "zh-Hant")
    assert found.title() == "AlexNet 實驗室"
    assert page.said == []
    assert page.hosts == {found.url.split("/")[2]}
    again = visit(end, pictures / "red" / "00.png", after="#" + permalink.partition("#")[2])
    assert again.page.is_checked("#swapped")
    assert again.page.evaluate("location.hash").count("dropout=2") == 1


def test_the_classes_before_and_after_are_the_likeliest_of_both(visit: Callable[..., Visit]) -> None:
    shown = visit("served").page.evaluate(
        """async () => {
            const draw = await import("./draw.js"), table = document.createElement("table"), names = [..."abcdefgh"];
            draw.classes(table, names, [0.5, 0.2, 0.1, 0.1, 0.1, 0, 0, 0], 3, [0.1, 0, 0, 0, 0, 0, 0.3, 0.6]);
            const best = (row) => row.querySelectorAll("td.best").length;
            return [...table.querySelectorAll("tr")].slice(1).map((row) => row.textContent + best(row));
        }"""
    )
    assert shown == ["h0.0 %60.0 %1", "a50.0 %10.0 %1", "g0.0 %30.0 %0", "b20.0 %0.0 %0", "c10.0 %0.0 %0"]


def test_the_squares_that_cover_are_of_one_size_and_reach_every_edge(visit: Callable[..., Visit], net: Network) -> None:
    page = visit("served")
    covers = page.page.evaluate("async () => (await import('./occlusion.js')).covers()")
    size = net.transform.size
    assert len({side for _, _, side in covers}) == 1
    assert {min(top for top, _, _ in covers), min(left for _, left, _ in covers)} == {0}
    assert {max(top + side for top, _, side in covers), max(left + side for _, left, side in covers)} == {size}


def test_while_the_net_is_changed_the_page_says_so_and_a_silent_unit_keeps_its_sum(
    visit: Callable[..., Visit], net: Network
) -> None:
    page = visit("served", after="#unit=conv2.1.2.2&silent=[0]")
    page.settled()
    assert "in the changed net" in page.page.text_content("#state")
    assert "tower A silent. Without the change: " in page.page.text_content("#changed")
    page.until("() => document.getElementById('sum').textContent.includes('0 takes the place of the sum')")
    terms = page.page.evaluate(
        "() => [...document.querySelectorAll('#sum tbody tr')].map((r) => r.lastChild.textContent)"
    )
    numbers = [float(term.replace("\u2212", "-")) for term in terms]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.02 * max(map(abs, numbers)))
    # Tower A of conv1 is silent, too: conv2 reads zeros there, and its sum is its bias.
    assert numbers[-1] == pytest.approx(float(net.layer("conv2").get_parameter("bias")[1].detach()), abs=1e-3)
    page.page.click("#usual")
    page.until("() => document.getElementById('changed').hidden")


@pytest.mark.parametrize("asked", ["run=0123456789ab.7", "picture=own", "unit=conv9.0.0.0", "norms=[1,2]", "places=99"])
def test_an_address_that_asks_for_what_is_not_here_is_said(asked: str, visit: Callable[..., Visit]) -> None:
    page = visit("served", after=f"#{asked}")
    page.page.wait_for_selector("#state.error")
    assert page.page.text_content("#state").startswith("This link asks for what is not here (")


@pytest.mark.parametrize("end", BACK_ENDS)
def test_a_picture_of_the_store_is_picked_by_keyboard_and_by_its_address(
    end: str, visit: Callable[..., Visit], run: Path, store: Path
) -> None:
    page = visit(end)
    found, split = page.page, alexnet.Store(store)["val"]
    page.settled()  # it begins with the first one
    names = [button.get_attribute("title") for button in found.query_selector_all("#picks button")]
    assert sorted(names) == sorted(split.names)
    found.focus('#picks button[data-place="7"]')
    found.keyboard.press("Enter")
    page.until("() => location.hash.includes('picture=7')")
    page.settled()
    assert found.get_attribute('#picks button[data-place="7"]', "aria-pressed") == "true"
    assert "Its label in the store is" in found.text_content("#state")
    pixels, _ = split[7]
    (expected,) = alexnet.similar(run, store, [pixels], 6, device="cpu", precision="fp32")
    page.until("([name]) => document.querySelector('#nearest li')?.title === name", expected["neighbours"][0]["name"])
    nearest = [item.get_attribute("title") for item in found.query_selector_all("#nearest li")]
    assert nearest == [each["name"] for each in expected["neighbours"]]
    found.locator("#nearest li").last.scroll_into_view_if_needed()
    page.until("() => [...document.querySelectorAll('#nearest img')].every((image) => image.naturalWidth > 0)")
    assert page.said == []
    again = visit(end, after="#picture=3")
    page.until("() => document.querySelectorAll('#nearest li').length === 6")
    again.settled()
    assert again.page.get_attribute('#picks button[data-place="3"]', "aria-pressed") == "true"
    assert again.said == []


def test_a_picture_can_be_pasted_and_dropped(visit: Callable[..., Visit], store: Path) -> None:
    page = visit("served")
    page.settled()
    given = """async ([place, event]) => {
        const file = await (await fetch(`api/picture?kind=pick&place=${place}`)).blob(), data = new DataTransfer();
        data.items.add(new File([file], "holiday.png"));
        const pasted = () => new ClipboardEvent(event, { clipboardData: data });
        dispatchEvent(event === "paste" ? pasted() : new DragEvent(event, { dataTransfer: data }));
    }"""
    for place, event in ((2, "paste"), (5, "drop")):
        page.page.evaluate(given, [place, event])
        shown = "async ([first]) => (await import('./state.js')).state.square.slice(0, 300).join() === first"
        page.until(shown, ",".join(map(str, alexnet.Store(store)["val"][place][0].reshape(-1)[:300])))
        page.until("() => location.hash.includes('picture=own')")
    assert page.said == []


@pytest.mark.parametrize("end", BACK_ENDS)
def test_what_is_no_picture_is_said_and_the_page_goes_on(
    end: str, visit: Callable[..., Visit], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_text("<html>")
    page = visit(end)
    page.page.set_input_files("#file", tmp_path / "page.png")
    page.page.wait_for_selector("#state.error")
    assert page.page.text_content("#state").startswith("The picture cannot be shown: ")
    page.page.set_input_files("#file", pictures / "red" / "00.png")
    page.settled()


@pytest.mark.parametrize("width", [1366, 390])
def test_nothing_is_cut_off_and_no_rule_of_accessibility_is_broken(
    width: int, visit: Callable[..., Visit], pictures: Path, tmp_path: Path
) -> None:
    page = visit("served", pictures / "red" / "00.png", width)
    wide = "([w]) => [...document.querySelectorAll(':not(nav a)')].filter((e) => e.getBoundingClientRect().right > w)"
    assert page.page.evaluate(wide + ".map((e) => e.outerHTML.slice(0, 80))", [width]) == []
    load_axe(page.page, tmp_path)
    broken = page.page.evaluate(
        "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])"
    )
    assert broken == []


def test_a_runtime_of_another_version_or_none_at_all_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ort.wasm.bundle.min.mjs").write_text("other")
    with pytest.raises(InputError, match=r"--runtime .* has not ort.* of onnxruntime-web@"):
        runtime.runtime_files(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"there is no npm to fetch it; .* as --runtime DIR"):
        runtime.runtime_files()


@pytest.mark.parametrize(
    ("npm", "words"),
    [
        ("#!/nowhere/node\n", "No such file or directory"),
        ("#!/bin/sh\nprintf 'no \\377 network\\n' >&2\nexit 1\n", "no \ufffd network"),
        ("#!/bin/sh\nexit 0\n", "it failed"),
    ],
)
def test_an_npm_that_fails_is_a_line_with_its_last_words(
    npm: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "npm").write_text(npm)
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError) as error:
        runtime.runtime_files()
    assert f"npm cannot fetch {runtime.PACKAGE} (" in str(error.value)
    assert words in str(error.value)


def test_an_exported_page_is_small_and_has_a_policy(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from alexnet.lab import page_folder

    net = alexnet.load(run)
    made = page_folder.net_files(Run(run), net, Run(run).resolve())
    weights = sum(p.numel() for p in net.parameters()) * 4
    assert len(made["weights.bin"]) < 1.1 * weights + 4 * net.transform.mean.numel() + 1000
    assert len(made["net.onnx"]) < 50_000
    assert "unsafe-inline" not in POLICY
