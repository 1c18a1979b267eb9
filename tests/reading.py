"""Reading a source to its end, or to its error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, EventPacket, split_well_formed
from stream_ottt.sources.opening import open_source

Rows = list[tuple[int, int, int, bool]]
"""x, y, t (µs) and polarity of each event."""


def drain(source: Any) -> tuple[EventArray, InputError | None]:
    """All events that a source, or what a path names, gives before its end or its error.

    On the way: no packet is empty, what is said to be well-formed is, and an error is one line.
    """
    if isinstance(source, str | Path):
        source = open_source(source)
    found = [np.empty(0, EVENT_DTYPE)]
    try:
        for packet in source.packets():
            assert packet.events.dtype == EVENT_DTYPE and len(packet)
            _, malformed = split_well_formed(EventPacket(packet.events, packet.width, packet.height))
            assert not packet.well_formed or malformed == 0
            found.append(packet.events)
    except InputError as e:
        assert "\n" not in str(e)
        return np.concatenate(found), e
    return np.concatenate(found), None


def drain_rows(source: Any) -> tuple[Rows, InputError | None]:
    """:func:`drain`, with the events as tuples."""
    events, error = drain(source)
    return events.tolist(), error
