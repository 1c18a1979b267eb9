"""Puts small pieces of a stream together, so that what follows handles few large packets instead of many small ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stream_ottt.errors import InputError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, join_events


def gathered(pieces: Iterable[EventArray]) -> Iterator[EventArray]:
    """The same events in arrays of at least ``PACKET_EVENTS``, but for the last.

    Raises:
        InputError: when ``pieces`` does, after everything that came before it.
    """
    held: list[EventArray] = []
    count = 0
    damage: InputError | None = None
    try:
        for piece in pieces:
            held.append(piece)
            count += len(piece)
            if count >= PACKET_EVENTS:
                yield join_events(held)
                held, count = [], 0
    except InputError as e:
        damage = e
    if count:
        yield join_events(held)
    if damage:
        raise damage
