"""Packets that are made synchronously, for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from stream_ottt.events.packet import EventPacket


async def off_the_loop(packets: Iterator[EventPacket]) -> AsyncGenerator[EventPacket, None]:
    """Iterate in worker threads, one packet after the other, so that the event loop is not held up."""
    reading: asyncio.Future[EventPacket | None] | None = None
    try:
        while True:
            reading = asyncio.ensure_future(asyncio.to_thread(next, packets, None))
            # A thread cannot be cancelled: it finishes its packet, and only then may the iterator be closed.
            packet = await asyncio.shield(reading)
            if packet is None:
                return
            yield packet
    finally:
        if reading is not None and not reading.done():
            await asyncio.wait([reading])
        close = getattr(packets, "close", None)
        if close is not None:
            close()
