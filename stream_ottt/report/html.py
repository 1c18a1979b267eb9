"""HTML as a tree: what is put into it is text, and never markup."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_NAME = 60

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; padding-bottom: .3rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #e4e4e4; text-align: left; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #666; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; } .warning { color: #9a3b00; }
@media print { body { max-width: none; margin: 0; } }
"""


def clean(text: object) -> str:
    """Text without what cannot stand in HTML or XML: control characters and lone surrogates."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(text))


def short(text: object) -> str:
    """A name for a cell or an axis, in one line."""
    name = " ".join(clean(text).split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def el(tag: str, *children: Element | str | None, **attributes: str) -> Element:
    """An element; text among its children is escaped, None left out. ``class_`` stands for ``class``."""
    made = Element(tag, {name.strip("_").replace("_", "-"): clean(value) for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child is not None and last is None:
            made.text = (made.text or "") + clean(child)
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + clean(child)
    return made


def as_text(element: Element) -> str:
    """The element as HTML."""
    return tostring(element, encoding="unicode", method="html")


def table(head: Iterable[object], rows: Iterable[Iterable[Element | object]]) -> Element:
    """A table; cells that are no elements are shown as :func:`cell` does."""
    body = [el("tr", *(value if isinstance(value, Element) else cell(value) for value in row)) for row in rows]
    top = [el("th", short(name)) for name in head]
    return el("table", el("thead", el("tr", *top)), el("tbody", *body))


def cell(value: object, key: str = "") -> Element:
    """A cell: numbers to the right, a dash for None. ``key`` says where a figure stands in the summary."""
    attributes = {"data_key": key} if key else {}
    if value is None:
        return el("td", "–", class_="number", **attributes)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return el("td", clean(value), **attributes)
    return el("td", number(value), class_="number", **attributes)


def number(value: float) -> str:
    """A figure for people: whole numbers in groups of three digits, others to five significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def facts(rows: Sequence[tuple[str, Any, str]]) -> Element:
    """A table of (what, value, key)."""
    return table((), [[el("th", what), cell(value, key)] for what, value, key in rows])


def picture(draw: Callable[[], Figure | None], caption: str) -> list[Element]:
    """A figure of matplotlib as SVG within the page.

    Args:
        draw: gives the figure, or None where there is nothing to show.
        caption: what it shows.
    """
    import matplotlib

    out = io.BytesIO()
    # Names come from outside: a dollar sign in one begins no formula, and a script that the font lacks is a box.
    plain_text = matplotlib.rc_context({"text.parse_math": False, "svg.hashsalt": "stream-ottt"})
    with plain_text, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = draw()
        if figure is None:
            return []
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()
    return [el("figure", el("img", src=source, alt=caption), el("figcaption", caption))]


def page(title: str, *content: Element) -> bytes:
    """A whole page, in UTF-8; it may load nothing and run nothing."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", STYLE),
    )
    html = el("html", head, el("body", *content), lang="en")
    return ("<!DOCTYPE html>\n" + as_text(html) + "\n").encode()
