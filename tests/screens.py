"""Runs with something in every counter, and what a terminal of some size gets of a picture."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType

from stream_ottt.events.packet import Ledger
from stream_ottt.learning.snapshot import Durations

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def rendered(renderable: RenderableType, width: int, colour: str | None = None) -> list[str]:
    """Lines as a terminal of that width gets them."""
    console = Console(width=width, color_system=colour, force_terminal=colour is not None, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return [ANSI.sub("", line) for line in capture.get().splitlines()]


def busy(view: Callable, **changes: object) -> Any:
    """A run with something in every counter."""
    return view(
        [(0, 0), (1, 1), (1, 1), (2, 0)],
        **{
            "sensor": (346, 260),
            "network": "16-32-AP2-64",
            "parameters": 57_384,
            "started": time.perf_counter() - 20,
            "ledger": Ledger(12_345_678, 12_340_000, 78, 500, {"overflow": 5000}),
            "updates": {"live": 1200, "deferred": 1800, "rehearsed": 9300},
            "timesteps": 3120,
            "stream_us": 62_400_000,
            "step_ms": Durations(1, 0.0042, 4.2, 6.1),
            "latency": Durations(1, 0.0042, 8.4, 9.9),
            **changes,
        },
    )
