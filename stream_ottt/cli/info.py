"""``stream-ottt info``: what is in a recording, in one pass and without torch."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import Ledger, split_well_formed
from stream_ottt.pipeline.source import BlockingSource, Source
from stream_ottt.sources.opening import open_source


def show(uri: str, *, as_json: bool) -> int:
    """Print the facts; the exit code is 3 when the recording is damaged or holds no events."""
    source = open_source(uri)
    facts, error = examine(source)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        _print(uri, facts)
    if error is not None:
        print(f"stream-ottt: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def examine(source: Source) -> tuple[dict[str, Any], InputError | None]:
    """Read a source to its end.

    Returns:
        The facts, JSON-ready: ``format, width, height, events, malformed, t_first, t_last`` (µs, None without events),
        ``duration_us, rate`` (events per second), ``on, off``, and what the format knows beside. And the damage that
        ended the reading, if any.
    """
    if not isinstance(source, BlockingSource):
        raise InputError(f"{type(source).name} is a live source, without an end; use 'listen' to watch it")
    ledger = Ledger()
    width = height = on = 0
    first: int | None = None
    last: int | None = None
    error: InputError | None = None
    try:
        for packet in source.excerpt():
            width, height = packet.width, packet.height
            ledger.read += len(packet)
            events, malformed = split_well_formed(packet)
            ledger.malformed += malformed
            if not len(events):
                continue
            t = events["t"]
            low, high = int(t.min()), int(t.max())
            first = low if first is None else min(first, low)
            last = high if last is None else max(last, high)
            on += int(np.count_nonzero(events["p"]))
    except InputError as e:
        error = e
    if error is None and not ledger.read:
        error = InputError("the recording holds no events", path=getattr(source.config, "path", None))
    good = ledger.read - ledger.malformed
    duration = 0 if first is None or last is None else last - first
    facts: dict[str, Any] = {
        "format": type(source).name,
        "width": width,
        "height": height,
        "events": ledger.read,
        "malformed": ledger.malformed,
        "t_first": first,
        "t_last": last,
        "duration_us": duration,
        "rate": round(good / duration * 1e6, 1) if duration else None,
        "on": on,
        "off": good - on,
        **source.describe(),
    }
    labels = source.labels
    if labels is not None:
        facts["labels"] = len(labels)
    return facts, error


def _print(uri: str, facts: dict[str, Any]) -> None:
    print(uri)
    for key, value in facts.items():
        if isinstance(value, list):
            print(f"  {key}:")
            for item in value:
                text = ", ".join(f"{k} {v}" for k, v in item.items()) if isinstance(item, dict) else item
                print(f"    {text}")
        else:
            shown = f"{value:,}" if isinstance(value, int) and key not in ("width", "height") else value
            print(f"  {key}: {shown}")
