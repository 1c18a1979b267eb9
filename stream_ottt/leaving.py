"""What is to be undone however the program ends, also where it ends at once: a terminal's settings."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import suppress

_UNDO: list[Callable[[], None]] = []


def on_leaving(undo: Callable[[], None]) -> None:
    """Call ``undo`` when the program ends; from any thread, at most once."""
    _UNDO.append(undo)


def forget(undo: Callable[[], None]) -> None:
    """It was undone already."""
    with suppress(ValueError):
        _UNDO.remove(undo)


def leave() -> None:
    """Undo all there is, the latest first; also called by whoever ends the program without Python's own end."""
    while _UNDO:
        with suppress(Exception):
            _UNDO.pop()()


atexit.register(leave)
