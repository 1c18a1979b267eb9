"""Puts small pieces of a stream together, so that what follows handles few large packets instead of many small ones."""

from __future__ import annotations

from collections.abc import Iterator

from stream_ottt.errors import InputError
from stream_ottt.events.packet import PACKET_EVENTS, EventPacket, join_events


def gathered(packets: Iterator[EventPacket]) -> Iterator[EventPacket]:
    """The same events in packets of at least ``PACKET_EVENTS``, but for the last and where the sensor's size changes.

    Raises:
        InputError: when ``packets`` does, after everything that came before it.
    """
    held: list[EventPacket] = []
    count = 0
    damage: InputError | None = None
    while True:
        try:
            packet = next(packets, None)
        except InputError as e:
            packet, damage = None, e
        size = (held[0].width, held[0].height) if held else (0, 0)
        if held and (packet is None or count >= PACKET_EVENTS or (packet.width, packet.height) != size):
            yield EventPacket(join_events([p.events for p in held]), *size)
            held, count = [], 0
        if packet is None:
            break
        if len(packet):
            held.append(packet)
            count += len(packet)
    if damage is not None:
        raise damage
