"""``stream-ottt info``: what is in a recording, in one pass and without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.clock import Clock
from stream_ottt.events.packet import EventArray, split_well_formed
from stream_ottt.pipeline.source import BlockingSource, Source
from stream_ottt.pipeline.verdict import size_note, unusable
from stream_ottt.sources.opening import open_source

DATED_FROM_US = 10**15
DATED_TO_US = 4 * 10**15
"""Times between these are shown with a date: µs since 1970, of the years 2001 to 2096."""

UNITS = {"t_first": "µs", "t_last": "µs", "rate": "events/s", "width": "pixels", "height": "pixels"}


def show(uri: str, *, as_json: bool) -> int:
    """Print the facts; the exit code is 3 when the recording is damaged, holds no events, or few that can be used."""
    source = open_source(uri)
    facts, error = examine(source)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(uri)
        for line in lines(facts):
            print(f"  {line}")
    size = facts["width"], facts["height"]
    note = size_note(source, size) if facts["events"] else None
    for text in (note, str(error) if error is not None else None):
        if text:
            print(f"stream-ottt: {text}", file=sys.stderr)
    return 0 if error is None else error.exit_code


def examine(source: Source) -> tuple[dict[str, Any], InputError | None]:
    """Read a source to its end.

    Returns:
        The facts, JSON-ready: ``format, width, height, size_from, events, malformed`` (of which ``wrong_times``),
        ``epochs`` of the clock, ``t_first, t_last`` (µs, None without events), ``duration_us, rate`` (events per
        second), ``on, off``, and what the format knows beside. And the damage that ended the reading, or why most
        events cannot be used.
    """
    if not isinstance(source, BlockingSource):
        raise InputError(f"{type(source).name} is a live source, without an end; use 'listen' to watch it")
    clock = Clock(source.config.tolerance)
    read = outside = on = good = width = height = 0
    first: int | None = None
    last: int | None = None
    error: InputError | None = None

    def usable() -> Iterator[EventArray]:
        nonlocal read, outside, width, height, error
        try:
            for packet in source.excerpt():
                width, height = packet.width, packet.height
                read += len(packet)
                events, malformed = split_well_formed(packet)
                outside += malformed
                yield clock.feed(events)
        except InputError as e:
            error = e
        yield clock.flush()

    for events in filter(len, usable()):
        first = int(events["t"][0]) if first is None else first
        last = int(events["t"][-1])
        on += int(np.count_nonzero(events["p"]))
        good += len(events)
    path = getattr(source.config, "path", None)
    if error is None and not read:
        error = InputError("the recording holds no events", path=path)
    elif error is None and (why := unusable(source, read, outside, clock.left_out, (width, height))):
        error = InputError(why, path=path)
    duration = 0 if first is None or last is None else last - first
    facts: dict[str, Any] = {
        "format": type(source).name,
        "width": width,
        "height": height,
        "size_from": source.size_from,
        "events": read,
        "malformed": outside + clock.left_out,
        "wrong_times": clock.left_out,
        "epochs": clock.epochs,
        "t_first": first,
        "t_last": last,
        "duration_us": duration,
        "rate": round(good / duration * 1e6, 1) if duration else None,
        "on": on,
        "off": good - on,
        **source.describe(),
    }
    if clock.epochs > 1:
        facts["jumps"] = clock.facts()["jumps"]
    labels = source.labels
    if labels is not None:
        facts["labels"] = len(labels)
    return facts, error


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as text, with units; what holds several things is indented below its name."""
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            yield f"{key}:"
            yield from (f"  {inner}" for inner in lines(value))
        elif isinstance(value, list) and value:
            yield f"{key}:"
            for item in value:
                yield "  " + (", ".join(f"{k} {v}" for k, v in item.items()) if isinstance(item, dict) else str(item))
        elif value is not None and value != {} and value != []:
            yield f"{key}: {_shown(key, value)}"


def _shown(key: str, value: object) -> str:
    text = f"{value:,}" if isinstance(value, (int, float)) and key not in ("width", "height") else str(value)
    if key == "duration_us" and isinstance(value, int):
        return f"{text} µs ({value / 1e6:,.6f} s)"
    if key in ("t_first", "t_last") and isinstance(value, int) and DATED_FROM_US <= value < DATED_TO_US:
        seconds, micro = divmod(value, 1_000_000)
        return f"{text} µs ({datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micro:06} UTC)"
    return f"{text} {UNITS[key]}" if key in UNITS else text
