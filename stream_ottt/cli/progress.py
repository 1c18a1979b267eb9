"""Lines about the progress of a long command, on stderr."""

from __future__ import annotations

import sys


def progress(line: str) -> None:
    """One line, seen at once."""
    print(line, file=sys.stderr, flush=True)


def loading(what: str) -> None:
    """Say on a terminal that libraries are being loaded, which takes seconds."""
    if sys.stderr.isatty():
        progress(f"stream-ottt: loading {what} …")
