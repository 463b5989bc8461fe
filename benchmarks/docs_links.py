"""Check a built site: links, anchors and pictures lead somewhere, and no page loads anything from another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself as it shows a page; a link that a reader follows may name another host.
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
OF_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """The anchors and the links of a page, each link with whether a browser fetches it by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's name and link."""
        of = dict(attrs)
        self.anchors |= {name for name in (of.get("id"), of.get("name")) if name}
        where = FETCHED.get(tag, "href" if tag == "a" else "")
        if link := of.get(where):
            self.links.append((link, tag != "a"))


def faults(site: Path) -> Iterator[str]:
    """List what is wrong with the links of a site, a line each.

    Args:
        site: Folder with the built pages.
    """
    top = site.resolve()
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link, fetched in page.links:
            if path == top / "404.html":  # a server shows it at any path, so that its links start at the top
                link = link.removeprefix("/")
            if why := fault(path, link, fetched, pages):
                yield f"{path.relative_to(top)}: {link} {why}"
    for path in sorted(site.rglob("*.css")):
        for link in OF_STYLES.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: {link} is on another host"


def fault(path: Path, link: str, fetched: bool, pages: dict[Path, Page]) -> str:
    """Say what is wrong with a link of a page; empty if nothing is."""
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "is on another host" if fetched else ""
    if parts.path.startswith("/"):
        return "starts at the top of a server"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "leads to no file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "leads to no such anchor"
    return ""
