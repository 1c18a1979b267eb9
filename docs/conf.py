"""Builds the site: ``make docs``. Pages of the repository outside of docs/ are pages of the site, too."""

from __future__ import annotations

import os
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUTSIDE = {
    "architecture": "ARCHITECTURE.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "benchmarks": "benchmarks/README.md",
}
"""Page → the file whose text it shows; docs/PAGE.md is a stub that points there."""
LINK = re.compile(r"(\]\()([^)#:\s]+\.\w+)((?:#[^)]*)?\))")

project = "stream-ottt"
release = version_of("stream-ottt")
copyright = "the authors of stream-ottt, GPL-3.0-or-later"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"stream-ottt {release}"
html_show_sphinx = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # three dots in JSON


def read(app: Any, page: str, source: list[str]) -> None:
    """The text of a page: that of its file, with links that lead from page to page."""
    at = HERE / f"{page}.md"
    if page in OUTSIDE:
        at = HERE.parent / OUTSIDE[page]
        source[0] = at.read_text(encoding="utf-8")
    if page == "index":
        named = set(re.findall(r"^(?:.*<)?([\w-]+)>?$", source[0], re.MULTILINE))
        others = sorted(p.stem for p in HERE.glob("*.md") if p.stem not in named | {"index"})
        source[0] = source[0].replace("REST", "\n".join(others))
    source[0] = LINK.sub(lambda m: m[1] + target(at, m[2]) + m[3], source[0])


def target(page: Path, link: str) -> str:
    """A link of a file, as the site has it; a file that no page shows stays as it is, and is reported."""
    there = (page.parent / link).resolve()
    for name, file in OUTSIDE.items():
        if there == HERE.parent / file:
            return f"{name}.md"
    return os.path.relpath(there, HERE) if there.exists() else link


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
