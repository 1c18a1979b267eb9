"""Reading an HTML page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """What a page holds: cells by their key, texts, addresses, names of elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.heads: list[str] = []
        self._key: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "th":
            self.heads.append("")
        self._key = given.get("data-key")
        self.addresses += [given[name] for name in ("src", "href", "data", "action") if name in given]
        if self._key is not None:
            self.cells.setdefault(self._key, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._key = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1] == "th":
            self.heads[-1] += data
        if self._key is not None:
            self.cells[self._key][-1] += data

    def number(self, key: str) -> float:
        (value,) = set(self.cells[key])
        return float(value.replace(",", ""))
