"""What the time options of a recording do to its packets: put in order, cut out, moved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.clock import Clock
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket, join_events

MAX_SORTED = 1 << 28
"""Events that are sorted in memory, 3.4 GB."""
BEYOND = 4096
"""So many events in a row at or after the end of an excerpt end the reading: a few wrong times do not."""
DECIDED = 4096
"""Among so many events it is known which are left over from another session."""
BELOW_ZERO_US = 2**51
"""What times that are negative, since the stream is yet to be moved, lie below 0 by at most: 71 years."""

UNTIMED = -1
"""Time of events that come before a recording says any time."""


def first_time(packet: EventPacket) -> int | None:
    """Time of the first event that has one, µs; None without such events."""
    t = packet.events["t"]
    known = t if len(t) and t[0] != UNTIMED else t[t != UNTIMED]
    return int(known[0]) if len(known) else None


class Options(Protocol):
    """The options of time: see :class:`stream_ottt.pipeline.source.FileConfig`."""

    @property
    def shift(self) -> int | Literal["auto"] | None: ...
    @property
    def from_(self) -> int | None: ...
    @property
    def to(self) -> int | None: ...
    @property
    def sort(self) -> bool: ...
    @property
    def tolerance(self) -> int: ...


def as_asked(packets: Iterator[EventPacket], options: Options, origin: int | None, path: Path) -> Iterator[EventPacket]:
    """Packets, sorted, cut out and moved.

    Args:
        options: of time.
        origin: time of the recording's first event, µs; None where it is to be found among the packets.
        path: of the recording, for messages.
    """
    if options.sort:
        packets = in_order(packets, path)
    if options.from_ is not None or options.to is not None:
        if origin is None:
            origin, packets = from_its_first(packets, options.tolerance)
        stop = None if options.to is None else origin + options.to
        packets = cut_out(packets, origin + (options.from_ or 0), stop, origin, path)
    if options.shift == "auto":
        first, packets = from_its_first(packets, options.tolerance)
        packets = moved(packets, -first)
    elif options.shift is not None:
        packets = moved(packets, options.shift)
    return packets


def from_its_first(packets: Iterator[EventPacket], tolerance: int) -> tuple[int, Iterator[EventPacket]]:
    """Time of the first event that the clock does not leave out (µs, 0 without events), and all packets.

    Args:
        packets: of a recording; damage is raised where the packets come to it.
        tolerance: the clock's, µs.
    """
    clock, before, times = Clock(tolerance), [], []
    line, count = np.empty(0, np.int64), 0
    damage: InputError | None = None
    try:
        for packet in packets:
            before.append(packet)
            events = packet.events[packet.events["t"] != UNTIMED]
            times.append(events["t"].copy())
            count += len(events)
            with np.errstate(over="ignore"):
                events["t"] += BELOW_ZERO_US
            line = clock.feed(events)["t"]
            if len(line) or count >= DECIDED:
                break
    except InputError as e:
        damage = e
    known = np.concatenate([line[:0], *times])
    if not len(line):
        line = clock.flush()["t"]
    # In the order of the file: what comes late within the tolerance does not count as the first.
    near = np.abs(known - (line[0] - BELOW_ZERO_US)) <= tolerance if len(line) else np.ones(len(known), bool)
    return int(known[near.argmax()]) if len(known) else 0, chain(before, _rest(packets, damage))


def _rest(packets: Iterator[EventPacket], damage: InputError | None) -> Iterator[EventPacket]:
    if damage:
        raise damage
    yield from packets


def in_order(packets: Iterator[EventPacket], path: Path) -> Iterator[EventPacket]:
    """All events of a recording in order of their times; those of one time keep their order. Held in memory.

    Raises:
        InputError: the recording is damaged (after the events before the damage), or has too many events.
    """
    parts: list[EventArray] = []
    damage: InputError | None = None
    width = height = count = 0
    well_formed = True
    try:
        for packet in packets:
            parts.append(np.ascontiguousarray(packet.events))
            count += len(packet)
            width, height = packet.width, packet.height
            well_formed &= packet.well_formed
            if count > MAX_SORTED:
                raise InputError(
                    f"more than {MAX_SORTED:,} events are not sorted in memory; use ?tolerance=, such as 10ms, "
                    "or sort a part with ?from= and ?to=",
                    path=path,
                )
    except InputError as e:
        damage = e
    if count and (damage is None or count <= MAX_SORTED):
        events = join_events(parts)
        parts.clear()
        order = np.argsort(events["t"], kind="stable")
        for at in range(0, count, PACKET_EVENTS):
            yield EventPacket(events[order[at : at + PACKET_EVENTS]], width, height, well_formed)
    if damage:
        raise damage


def cut_out(
    packets: Iterator[EventPacket], start: int, stop: int | None, origin: int, path: Path
) -> Iterator[EventPacket]:
    """The events with ``start`` ≤ t < ``stop`` (µs). Reading ends soon after ``stop``.

    Raises:
        InputError: there are none, though the recording, which begins at ``origin`` (µs), has some.
    """
    beyond, newest, empty = 0, -1, True
    for packet in packets:
        t = packet.events["t"]
        newest = max(newest, int(t.max(initial=-1)))
        inside = t >= start
        if stop is not None:
            before_stop = t < stop
            inside &= before_stop
            beyond = 0 if before_stop.any() else beyond + len(packet)
        empty &= not inside.any()
        if inside.all():
            yield packet
        elif inside.any():
            yield EventPacket(packet.events[inside], packet.width, packet.height, packet.well_formed)
        if beyond >= BEYOND:
            break
    if empty and (newest >= origin or origin > 0):
        last = f"its last event comes {(newest - origin) / 1e6:,.6f} s after its first"
        known = origin <= newest < start  # an index may have led behind all events
        raise InputError(f"no events in this part; {last if known else 'say another with from= and to='}", path=path)


def moved(packets: Iterator[EventPacket], shift: int) -> Iterator[EventPacket]:
    """``shift`` (µs) added to all times."""
    for packet in packets:
        if not shift:
            yield packet
            continue
        events = packet.events.copy()
        with np.errstate(over="ignore"):
            events["t"] += shift
        yield EventPacket(events, packet.width, packet.height)
