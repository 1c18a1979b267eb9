"""``stream-ottt info``: what is in a recording, in one pass and without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.clock import Clock
from stream_ottt.events.misfits import Misfits
from stream_ottt.events.packet import EventArray
from stream_ottt.pipeline.source import BlockingSource, Source
from stream_ottt.pipeline.verdict import size_note, unusable
from stream_ottt.progress import Bar
from stream_ottt.sources.opening import open_source

DATED_FROM_US = 10**15
DATED_TO_US = 4 * 10**15
"""Times between these are shown with a date: µs since 1970, of the years 2001 to 2096."""

TITLES = {
    "size_from": "size from",
    "malformed": "left out",
    "wrong_times": "of them for their times",
    "epochs": "epochs of the clock",
    "t_first": "first event",
    "t_last": "last event",
    "duration_us": "duration",
    "time_step_us": "times told apart by",
}
"""Names of facts in text, where they are not the key's own."""

NUMBERS_OF_PARTS = ("id", "stream", "seed", "version")
"""Numbers that count nothing."""

UNITS = {
    **dict.fromkeys(("t_first", "t_last", "before", "after", "at", "time_step_us"), "µs"),
    **dict.fromkeys(("width", "height"), "pixels"),
    **dict.fromkeys(("malformed", "wrong_times", "on", "off"), "events"),
    "rate": "events/s",
    "labels": "intervals",
}


def show(uri: str, *, as_json: bool) -> int:
    """Print the facts; the exit code is 3 when the recording is damaged, holds no events, or few that can be used."""
    source = open_source(uri)
    with Bar(f"reading {uri}") as bar:
        facts, error = examine(source, bar.at)
    if error is not None and not facts["events"] and not as_json:
        raise error  # there is nothing to say of the recording
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


def examine(
    source: Source, at: Callable[[float | None, str], None] = lambda share, told: None
) -> tuple[dict[str, Any], InputError | None]:
    """Read a source to its end, and say ``at`` how far one has come.

    Returns:
        The facts, JSON-ready: ``format, width, height, size_from, events, malformed`` (of which ``wrong_times``),
        ``epochs`` of the clock, ``t_first, t_last`` (µs, None without events), ``duration_us, rate`` (events per
        second), ``on, off``, and what the format knows beside. And the damage that ended the reading, or why most
        events cannot be used.
    """
    if not isinstance(source, BlockingSource):
        raise InputError(f"{type(source).name} is a live source, without an end; use 'listen' to watch it")
    clock, misfits = Clock(source.config.tolerance), Misfits()
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
                events, malformed = misfits.sift(packet)
                outside += malformed
                yield clock.feed(events)
                at(source.share_read(int(packet.events["t"][-1]) if len(packet) else 0), f"{read:,} events")
        except InputError as e:
            error = e
        yield clock.flush(ended=True)

    for events in filter(len, usable()):
        first = int(events["t"][0]) if first is None else first
        last = int(events["t"][-1])
        on += int(np.count_nonzero(events["p"]))
        good += len(events)
    path = getattr(source.config, "path", None)
    if error is None and not read:
        error = InputError("the recording holds no events", path=path)
    elif error is None and (why := unusable(source, read, outside, clock.left_out, (width, height), misfits)):
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
        name = TITLES.get(key, key)
        if isinstance(value, dict) and value:
            yield f"{name}:"
            yield from (f"  {inner}" for inner in lines(value))
        elif isinstance(value, list) and value:
            yield f"{name}:"
            for item in value:
                told = item.items() if isinstance(item, dict) else ()
                parts = [f"{k} {_shown(k, v)}" for k, v in told if v is not None]
                yield "  " + (", ".join(parts) if parts else str(item))
        elif value not in (None, "", {}, []):
            yield f"{name}: {_shown(key, value)}"


def _shown(key: str, value: object) -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    unit = UNITS.get(key, "")
    if key == "duration_us":
        return f"{value / 1e6:,.6f} s"
    text = str(value) if unit == "pixels" or key in NUMBERS_OF_PARTS else f"{value:,}"
    if unit == "µs" and DATED_FROM_US <= value < DATED_TO_US:
        seconds, micro = divmod(int(value), 1_000_000)
        return f"{text} µs ({datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micro:06} UTC)"
    return f"{text} {unit}".rstrip()
