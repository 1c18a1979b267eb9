"""``stream-ottt convert``: any recording into another event file format, packet by packet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import numpy as np

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, Ledger, split_well_formed
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.registry import split_uri
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sinks.writers.base import EventWriter
from stream_ottt.sources.opening import open_source


def convert(source_uri: str, target: str) -> int:
    """Convert to the end.

    Args:
        source_uri: any source that has an end.
        target: a file whose ending names the format, or ``FILE?format=NAME``.

    Returns:
        The exit code: 0, or 3 when the recording was damaged or held events that were left out (all good ones were
        written).

    Raises:
        UsageError: a source without an end, or a target of no known format.
        OutputError: the target cannot be written, or cannot hold an event.
    """
    source = open_source(source_uri)
    if not isinstance(source, BlockingSource):
        raise UsageError(f"{source_uri}: a live source has no end; record it with its own tools first")
    path, writer_class = _writer_for(target)
    if path.exists() and path.resolve() == Path(split_uri(source_uri)[1]).resolve():
        raise UsageError(f"{target}: source and target are the same file; name another target")
    ledger = Ledger()
    newest = 0
    writer: EventWriter | None = None
    error: InputError | None = None
    try:
        for packet in source.excerpt():
            if writer is None:
                writer = writer_class(path, packet.width, packet.height)
            ledger.read += len(packet)
            events, malformed = split_well_formed(packet)
            ledger.malformed += malformed
            events, newest = _in_order(events, newest, ledger)
            writer.write(events)
            ledger.binned += len(events)
    except InputError as e:
        error = e
    finally:
        if writer is not None:
            writer.close()
    if writer is None and error is None:
        error = InputError("the recording holds no events; nothing was written", path=source_uri)
    if error is not None:
        print(f"stream-ottt: {error}", file=sys.stderr)
    left_out = ledger.malformed + ledger.late
    if left_out:
        print(
            f"stream-ottt: {source_uri}: {ledger.malformed} events outside the sensor and {ledger.late} whose time "
            "runs backwards were left out",
            file=sys.stderr,
        )
    if writer is not None:
        print(f"{target}: {ledger.binned:,} events, {path.stat().st_size:,} bytes")
    return InputError.exit_code if error is not None or left_out else 0


def _in_order(events: EventArray, newest: int, ledger: Ledger) -> tuple[EventArray, int]:
    """The events that are not older than one before them, and the newest time; the others are counted as late."""
    if not len(events):
        return events, newest
    t = events["t"]
    reached = np.maximum(np.maximum.accumulate(t), newest)
    in_order = t >= reached
    if not in_order.all():
        ledger.late += int(len(events) - np.count_nonzero(in_order))
        events = events[in_order]
    return events, int(reached[-1])


def _writer_for(target: str) -> tuple[Path, type[EventWriter]]:
    """The path and the writer that a target means."""
    _, rest, options = split_uri(target)
    path = Path(rest)
    name = options.pop("format", None)
    if options:
        raise UsageError(f"{target}: unknown option {next(iter(options))!r}; only 'format' is known")
    if name is not None:
        return path, cast("type[EventWriter]", WRITERS.get(name))
    for known in WRITERS.names():
        writer = cast("type[EventWriter]", WRITERS.get(known))
        if path.name.lower().endswith(writer.suffixes):
            return path, writer
    raise UsageError(f"{target}: no writer for this ending; add ?format=NAME ({', '.join(WRITERS.names())})")
