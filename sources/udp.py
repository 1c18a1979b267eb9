"""Events in UDP datagrams: SPIF's words, as AEStream sends them, and faery's two records.

A datagram carries no sensor size, so the user says it. Layouts (little-endian):

- ``spif``: 32-bit words. Bit 31 set: one event a word, without a time; the time of arrival is taken. Bit 31 clear: the
  next word is the time, µs. Bits 30–16: x. Bit 15: polarity. Bits 14–0: y.
- ``t64_x16_y16_on8``: 13-byte records.
- ``t32_x16_y15_on1``: 8-byte records; the last 16 bits are y · 2 + polarity.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket, make_events
from stream_ottt.live import feed
from stream_ottt.live.sockets import is_loopback, readable
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.settings import Duration, Flag
from stream_ottt.sources.aedat4.header import MAX_SIDE
from stream_ottt.sources.senders import Senders
from stream_ottt.sources.tcp import split_address
from stream_ottt.sources.unwrap import Clock32

Format = Literal["spif", "t64_x16_y16_on8", "t32_x16_y15_on1"]

MAX_DATAGRAM = 65536
MAX_DRAINED = 1000
"""Datagrams that are read at once."""
BUFFER_BYTES = 8 << 20
"""Asked of the system for datagrams that wait; beyond it, they are lost."""
SO_RXQ_OVFL = 40
"""Linux: deliver with each datagram how many were lost for want of room."""
SHORT = np.dtype([("t", "<u4"), ("x", "<u2"), ("yp", "<u2")])


class UdpConfig(SourceConfig):
    """Options of :class:`UdpSource`.

    Attributes:
        address: ``udp://HOST:PORT``, to bind to; port 0 takes a free one.
        format: layout of a datagram.
        width: sensor width, pixels.
        height: sensor height, pixels.
        idle: end after so long without a datagram; None waits for ever.
        insecure: allow binding beyond this machine, from where anybody can send events.
    """

    address: str
    format: Format = "spif"
    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)
    idle: Duration | None = None
    insecure: Flag = False


class UdpSource(Source):
    """Events of whoever sends datagrams to an address, one sender at a time.

    UDP loses datagrams without a word, and has no end: what the system says of losses is in the statistics.
    """

    name = "udp"
    schemes = ("udp",)
    Config = UdpConfig
    live = True
    config: UdpConfig

    def __init__(self, config: UdpConfig) -> None:
        super().__init__(config)
        self.size_from = "option"
        self.host, self.port = split_address(config.address)
        if not config.insecure and not is_loopback(self.host):
            raise UsageError(
                f"{config.address}: anybody who reaches this machine could send events; "
                "say ?insecure, or bind to 127.0.0.1"
            )
        self.datagrams = 0
        self.malformed = 0
        self.repeated = 0
        self.lost = 0
        self._decode = {
            "spif": self._spif,
            "t64_x16_y16_on8": self._long,
            "t32_x16_y15_on1": self._short,
        }[config.format]
        self._senders = Senders()
        self._began: float | None = None
        self._clock = Clock32()
        self._previous = np.empty(0, "<u4")

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        config = self.config
        await asyncio.to_thread(feed.warm_up)
        with self._bound() as sock:
            idle = None if config.idle is None else config.idle / 1e6
            while await readable(sock.fileno(), idle):
                parts = self._drain(sock)
                if parts:
                    yield EventPacket(np.concatenate(parts), config.width, config.height)

    def statistics(self) -> dict[str, Any]:
        return {
            "datagrams": self.datagrams,
            "malformed_datagrams": self.malformed,
            "repeated_events": self.repeated,
            "lost_datagrams": self.lost,
            "refused_datagrams": self._senders.refused,
        }

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            if sys.platform == "linux":
                sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            sock.bind((self.host, self.port))
        except OSError as e:
            sock.close()
            reason = e.strerror or e
            raise InputError(f"cannot be bound: {reason}; choose another port", path=self.config.address) from e
        self.port = sock.getsockname()[1]
        return sock

    def _drain(self, sock: socket.socket) -> list[EventArray]:
        """Events of the datagrams that wait, up to the size of a packet."""
        parts: list[EventArray] = []
        n = 0
        for _ in range(MAX_DRAINED):  # a flood of what is of no use must not hold up the event loop
            if n >= PACKET_EVENTS:
                break
            try:
                data, notes, _, sender = sock.recvmsg(MAX_DATAGRAM, socket.CMSG_SPACE(4))
            except (BlockingIOError, InterruptedError):
                break
            for level, kind, value in notes:
                if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
                    self.lost = max(self.lost, struct.unpack("=I", value[:4])[0])
            if not self._senders.takes(sender):
                continue
            self.datagrams += 1
            events = self._decode(data)
            if events is None:
                self.malformed += 1
            elif len(events):
                parts.append(events)
                n += len(events)
        return parts

    def _long(self, data: bytes) -> EventArray | None:
        if len(data) % feed.WIRE_DTYPE.itemsize:
            return None
        return feed.from_wire(np.frombuffer(data, feed.WIRE_DTYPE))

    def _short(self, data: bytes) -> EventArray | None:
        if len(data) % SHORT.itemsize:
            return None
        records = np.frombuffer(data, SHORT)
        y, on = records["yp"] >> 1, (records["yp"] & 1).astype(bool)
        return make_events(records["x"], y, self._clock(records["t"]), on)

    def _spif(self, data: bytes) -> EventArray | None:
        if len(data) % 4:
            return None
        words = np.frombuffer(data, "<u4")
        if not len(words):
            return make_events([], [], [], [])
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if not words[0] >> 31:
            if len(words) % 2 or (words[::2] >> 31).any():
                return None
            words = self._without_repeats(words)
            times, words = self._clock(words[1::2]), words[::2]
        elif not (words >> 31).all():
            return None
        else:
            times = np.full(len(words), round((now - self._began) * 1e6), np.int64)
        return make_events((words >> 16) & 0x7FFF, words & 0x7FFF, times, (words >> 15 & 1).astype(bool))

    def _without_repeats(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Without what AEStream 0.6.4 appends to its last datagram, which is twice as long as what it has to say.

        Its second half is then whatever the datagram before had in these places.
        """
        half, previous = len(words) // 2, self._previous
        self._previous = words
        if half % 2 == 0 and len(words) < len(previous) and (words[half:] == previous[half : len(words)]).all():
            self.repeated += half // 2
            return words[:half]
        return words
