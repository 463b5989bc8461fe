"""The documentation site: built strictly, the same as on GitHub, with every public name, and from one host."""

import functools
import http.server
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.browser import opened
from tests.scripts import BENCHMARKS, Command, main_of

import alexnet
from alexnet.cli.main import app
from alexnet.config.overrides import describe_fields
from alexnet.core.errors import InputError
from alexnet.studies.claims import CLAIMS

ROOT = Path(__file__).parents[1]
pytest.importorskip("zensical", reason="no zensical: pip install '.[docs]'")


@pytest.fixture(scope="module")
def docs_site() -> Iterator[Command]:
    """The command behind `make docs`."""
    with pytest.MonkeyPatch.context() as patch:
        yield main_of("docs_site", patch)


@pytest.fixture(scope="module")
def built(docs_site: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this project. Its pages, links and anchors have passed the checks of the build."""
    out = tmp_path_factory.mktemp("docs") / "site"
    assert docs_site([str(out)]) == 0
    return out


class Shown(HTMLParser):
    """What a reader sees of a page: its headings, lists, tables and code, and all characters without spaces."""

    def __init__(self, text: str, among: str) -> None:
        super().__init__()
        self.among, self.inside, self.skipped, self.parts = among, not among, False, [""]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside |= tag == self.among
        self.skipped |= ("class", "headerlink") in attrs
        if self.inside and (tag in ("li", "pre", "tr", "td", "th", "ol", "ul", "em") or re.fullmatch(r"h\d", tag)):
            self.parts += [tag, ""]

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != self.among
        self.skipped &= tag != "a"

    def handle_data(self, data: str) -> None:
        if self.inside and not self.skipped:
            self.parts[-1] += "".join(data.split())


def test_each_page_shows_on_the_site_what_it_shows_on_github(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CommonMark and the site's Markdown indent lists otherwise, and end paragraphs otherwise."""
    from markdown_it import MarkdownIt

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import docs_site

    pages = docs_site.pages_of(ROOT)
    assert len(pages) > 25
    for page, name in pages.items():
        text = docs_site.relinked(ROOT, page, pages)
        github = Shown(MarkdownIt("commonmark").enable("table").render(text), "").parts
        site = Shown((built / name).with_suffix(".html").read_text(), "article").parts
        assert site == github, page


def text_of(page: Path) -> str:
    """The words of a page of the site."""
    return "".join(Shown(page.read_text(), "article").parts)


def test_the_reference_has_every_public_name_verb_field_and_claim(built: Path) -> None:
    reference = built / "reference"
    anchors = set(re.findall(r'id="([^"]+)"', "".join(page.read_text() for page in reference.glob("*.html"))))
    for name in set(alexnet.__all__) - {"__version__", "RECIPES"}:
        assert f"alexnet.{name}" in anchors
    assert {f"alexnet-{name}" for name in app if name[0] != "-"} < anchors
    assert set(CLAIMS) < anchors
    assert "{" not in text_of(reference / "cli.html").replace("'train-{000..009}.tar'", "")  # a place for names
    fields = text_of(reference / "recipe-fields.html")
    for recipe in alexnet.RECIPES.values():
        for name, _, note in describe_fields(recipe):
            assert name in fields
            assert "".join(note.split()) in fields


def test_what_is_returned_has_its_type_and_is_no_sentence_that_was_read_as_one(built: Path) -> None:
    """Google's style takes the words before a colon for a type."""
    text = "".join(page.read_text() for page in (built / "reference").glob("*.html"))
    items = re.findall(r">Returns:</span>.*?<li[^>]*>(.*?)\s–\s", text, re.S)
    assert len(items) > 15
    types = [" ".join(re.sub("<[^>]+>", "", item).split()) for item in items]
    assert not [each for each in types if re.search(r"[a-z] (of|the|is|on|in) |`", each)]


def test_a_site_is_not_written_over_what_is_not_one(
    docs_site: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    assert docs_site([str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of two pages and a navigation."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/zensical.toml").write_text(
        '[project]\nsite_name = "a"\nuse_directory_urls = false\n'
        'nav = ["index.md", "a.md"]\n[project.theme]\nfont = false\n'
    )
    (tmp_path / "README.md").write_text("# Top\n\n[a](docs/a.md#one-two) and [the licence](LICENSE)\n")
    (tmp_path / "LICENSE").touch()
    (tmp_path / "docs/a.md").write_text(
        "# A\n\n## One, two\n\n[up](../README.md) `[no](link.md)` [LICENSE](../LICENSE)\n"
    )
    return tmp_path


def built_from(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stage and build a repository."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import docs_site

    shutil.rmtree(repository / "out", ignore_errors=True)
    docs_site.stage(repository, repository / "out")
    return docs_site.build(repository / "out")


def test_links_become_those_of_the_site_and_files_without_a_page_become_names(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="zensical failed"):
        built_from(repository, monkeypatch)
    staged = repository / "out/docs"
    assert (staged / "index.md").read_text() == "# Top\n\n[a](a.md#one-two) and the licence (`LICENSE`)\n"
    assert (staged / "a.md").read_text().endswith("[up](index.md) `[no](link.md)` `LICENSE`\n")


@pytest.mark.parametrize(
    ("page", "added", "why"),
    [
        ("docs/a.md", "[b](b.md)", "docs/a.md links to b.md, and there is no file docs/b.md"),
        ("docs/a.md", "![b](images/b.png)", "docs/a.md links to images/b.png, and there is no file"),
        ("docs/b.md", "# B", "nav leaves out b.md"),
        ("docs/a.md", "[here](#three)", r"a.md:7: anchor does not exist"),
        ("docs/a.md", "![b](https://other.example/b.png)", "a.html: https://other.example/b.png is on another host"),
        ("docs/a.css", "@import '//other.example/b.css';", "a.css: //other.example/b.css is on another host"),
    ],
)
def test_a_fault_of_a_page_is_refused_in_a_line(
    page: str, added: str, why: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (repository / page).open("a") as file:
        file.write(f"\n{added}\n")
    with pytest.raises(InputError, match=why) as error:
        built_from(repository, monkeypatch)
    assert "\n" not in str(error.value)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A built site of two pages without a fault."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/index.html").write_text('<h1 id="top">A</h1><a href="../a.html#b%20c">a</a><a href="#top">b</a>')
    (tmp_path / "a.html").write_text('<a name="b c" href="sub/">a</a><a href="https://other.example">b</a>')
    (tmp_path / "404.html").write_text('<a href="/a.html">a</a>')
    return tmp_path


def test_each_kind_of_wrong_link_in_a_built_page_is_found(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from docs_links import faults

    assert list(faults(linked)) == []
    with (linked / "a.html").open("a") as page:
        page.write('<a href="b.html">a</a><a href="sub/#b">a</a><a href="/a.html">a</a><script src="//c.example/d.js">')
    assert list(faults(linked)) == [
        "a.html: b.html leads to no file",
        "a.html: sub/#b leads to no such anchor",
        "a.html: /a.html starts at the top of a server",
        "a.html: //c.example/d.js is on another host",
    ]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (
            "- a\n  b\n  - c\n\n    ```\n    d\n    ```\n\ne",
            "- a\n    b\n    - c\n\n        ```\n        d\n        ```\n\ne",
        ),
        ("1. a\n\n   b\n10. c\n    d", "1. a\n\n    b\n10. c\n    d"),
        ("a:\n- b\n- c", "a:\n\n- b\n- c"),
        ("```\n- a\n  b\n```", "```\n- a\n  b\n```"),
        ("- a\nlazy\n", "- a\n    lazy\n"),
    ],
)
def test_lists_are_indented_by_four(text: str, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from docs_site import four_spaces

    assert four_spaces(text) == made


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(built: Path) -> Iterator[str]:
    """The address of a server of the built site."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=built)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_in_a_browser_no_page_is_wider_than_a_telephone_and_the_search_finds_an_answer(address: str) -> None:
    with opened() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in ("paper.html", "reference/the-network.html", "faq.html"):
            page.goto(address + name)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        page.keyboard.press("Control+k")
        page.keyboard.type("224 or 227")
        page.get_by_role("link", name="224 or 227").first.wait_for(timeout=20_000)
    assert len(asked) > 10
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
