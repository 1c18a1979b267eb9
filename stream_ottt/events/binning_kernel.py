"""The compiled walk of :class:`stream_ottt.events.binning.Binner` through the events of one window."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import jit

INDEX = np.uintp  # an index that may be negative would be tried for it


@jit
def walk(
    events: Any,
    at: int,
    columns: Any,
    rows: Any,
    plane: int,
    start: int,
    end: int,
    silence: int,
    newest: int,
    room: int,
    counts: Any,
    pixels: Any,
    times: Any,
) -> tuple[int, int, int]:
    """Put events into the open window: up to its end, to a silence, or until it is full.

    Args:
        events: [n] of ``EVENT_DTYPE``, well-formed.
        at: index of the first event to take.
        columns: intp [sensor width], what x adds to the index of a pixel in the flattened frame.
        rows: intp [sensor height], what y adds.
        plane: what a polarity of ON adds.
        start: of the window, µs; an event before it is late.
        end: of the window, µs; it is over with the first event whose time, or that of one before it, is not before.
        silence: µs; a gap of at least this between ``newest`` and an event ends the walk, too.
        newest: latest time seen, µs.
        room: how many events still fit.
        counts: int32 [pixels], to which the events are added; or empty.
        pixels, times: [n], filled from the front with the indices of the pixels and the times, where ``counts`` is
            empty.

    Returns:
        Index behind the last event taken, the latest time seen, and how many were taken that were not late.

    Raises:
        ValueError: an event lies outside the sensor.
    """
    n, kept, counting = len(events), 0, counts.size > 0
    for i in range(at, n):
        event = events[INDEX(i)]
        t = event.t
        if t > newest:
            if t >= end or t - newest >= silence:
                return i, newest, kept
            newest = t
        if t < start:
            continue
        x, y = np.uint16(event.x), np.uint16(event.y)
        if x >= len(columns) or y >= len(rows):
            raise ValueError("an event lies outside the sensor; leave such events out first")
        pixel = rows[INDEX(y)] + columns[INDEX(x)] + (plane if event.p else 0)
        if counting:
            counts[INDEX(pixel)] += np.int32(1)
        else:
            pixels[INDEX(kept)] = pixel
            times[INDEX(kept)] = t
        kept += 1
        if kept == room:
            return i + 1, newest, kept
    return n, newest, kept


@jit
def take(counts: Any, frame: Any) -> None:
    """Move counts int32 [pixels] into ``frame`` float32 [pixels]; they are zero afterwards."""
    for i in range(counts.size):
        frame[i] = counts[i]
        counts[i] = 0
