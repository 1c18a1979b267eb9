"""A peer of a Zenoh network: its options, opening it, and the sending end of the feed over it (docs/feed.md).

A message of the feed is one payload, its frames joined (:func:`feed.join_frames`), under one key.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import InputError, OutputError, UsageError
from stream_ottt.live import feed
from stream_ottt.live.sockets import is_loopback
from stream_ottt.settings import Flag, Settings

if TYPE_CHECKING:
    import zenoh

SCHEME = "zenoh"
ENDPOINT = re.compile(r"tcp/(?P<host>\[[0-9a-fA-F:.%]+\]|[^/:\[\]?#]+):(?P<port>\d{1,5})")
RETRY = {"period_init_ms": 100, "period_max_ms": 5000, "period_increase_factor": 2}
"""Pauses between attempts to connect."""
MIN_BYTES = 1 << 16
"""What Zenoh sends in one piece; it cannot refuse a message that is smaller."""
LEAVE_S = 5.0
"""Longest wait at the end for readers to leave, which they do when they hear of it."""


class ZenohOptions(Settings):
    """Options of every Zenoh peer.

    Attributes:
        connect: ``tcp/HOST:PORT`` of a peer or router to go to; it is tried until it is there.
        listen: ``tcp/HOST:PORT`` to wait for others at; port 0 takes a free one.
        scout: find others, and be found, by multicast.
        insecure: allow listening beyond this machine, from where anybody can take part.
    """

    connect: str | None = None
    listen: str | None = None
    scout: Flag = False
    insecure: Flag = False


def check_address(address: str, options: ZenohOptions, *, writes: bool) -> str:
    """The key expression of ``zenoh://KEY/EXPR``.

    Args:
        address: the URI without its query.
        options: of the peer.
        writes: whether it must be one key, without wildcards.

    Raises:
        UsageError: no address, nobody to be reached, an open port without consent, or no eclipse-zenoh.
    """
    try:
        import zenoh
    except ImportError:
        raise UsageError(f"{address}: the package eclipse-zenoh is missing; pip install 'stream-ottt[zenoh]'") from None
    key = address.removeprefix(f"{SCHEME}:").removeprefix("//")
    try:
        zenoh.KeyExpr(key)
    except zenoh.ZError as e:
        raise UsageError(f"{address}: {_reason(e)}; write it as in zenoh://cameras/left") from None
    if writes and "*" in key:
        raise UsageError(f"{address}: messages are sent under one key; write it without '*'")
    for option in ("connect", "listen"):
        _check_endpoint(address, option, options)
    if not (options.connect or options.listen or options.scout):
        raise UsageError(
            f"{address}: nobody can be reached; say ?connect=tcp/HOST:PORT, ?listen=tcp/HOST:PORT or ?scout"
        )
    return key


def open_peer(address: str, options: ZenohOptions, *, writes: bool, max_bytes: int = 64 << 20) -> zenoh.Session:
    """Join the network, which blocks for up to a second.

    Args:
        address: for messages.
        options: how.
        writes: whether a failure is one of an output.
        max_bytes: larger messages are dropped by Zenoh before they are whole.

    Raises:
        InputError, OutputError: the port to listen at cannot be bound.
    """
    import zenoh

    config = zenoh.Config()
    settings: dict[str, Any] = {
        "mode": "peer",
        "scouting/multicast/enabled": options.scout,
        "scouting/gossip/enabled": options.scout,
        # Of its own accord a peer listens on all interfaces.
        "listen/endpoints": [options.listen] if options.listen else [],
        "listen/exit_on_failure": True,
        "connect/endpoints": [options.connect] if options.connect else [],
        "connect/exit_on_failure": False,
        "connect/timeout_ms": -1,
        "connect/retry": RETRY,
        "transport/link/rx/max_message_size": max_bytes,
    }
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))
    try:
        return zenoh.open(config)
    except zenoh.ZError as e:
        error = OutputError if writes else InputError
        raise error(f"{address}: cannot be opened: {_reason(e)}; choose another host or port") from e


class ZenohSender:
    """Sends messages of the feed under one key.

    A put waits while a reader is behind; Zenoh ends the connection of one that takes nothing for 5 s.

    Args:
        address: ``zenoh://KEY``.
        options: of the peer.

    Raises:
        UsageError, OutputError: the address cannot be used.
    """

    publishes = True

    def __init__(self, address: str, options: ZenohOptions) -> None:
        self.address = address
        self.endpoint = address
        key = check_address(address, options, writes=True)
        import zenoh

        self._session = open_peer(address, options, writes=True)
        # Any: its stub says of matching_status what it is not.
        self._publisher: Any = self._session.declare_publisher(key, congestion_control=zenoh.CongestionControl.BLOCK)

    async def wait_for_readers(self, count: int, topic: bytes, within: float) -> None:
        """Until there is a reader.

        Raises:
            UsageError: ``count`` is above 1, which nobody can know here.
            OutputError: none comes within ``within`` seconds.
        """
        if count > 1:
            raise UsageError(f"{self.address}: Zenoh tells only whether there is a reader; wait for 1")
        if count and not await self._until(True, within):
            raise OutputError(f"{self.address}: no reader came within {within:g} s; start it first, or wait longer")

    async def send(self, frames: Sequence[bytes | memoryview], within: float | None = None) -> None:
        """Send one message, waiting for room.

        Raises:
            OutputError: it cannot be sent.
        """
        import zenoh

        try:
            await asyncio.to_thread(self._publisher.put, feed.join_frames(frames))
        except zenoh.ZError as e:
            raise OutputError(f"{self.address}: cannot be sent: {_reason(e)}; check the network") from e

    async def send_last(self, frames: Sequence[bytes | memoryview], within: float | None) -> None:
        """Send the message that ends the stream, and wait up to ``within`` seconds for readers to leave."""
        await self.send(frames)
        await self._until(False, LEAVE_S if within is None else within)

    async def close(self, linger: float = LEAVE_S) -> None:
        """Leave the network, with what was put sent on."""
        await asyncio.to_thread(self._session.close)

    async def _until(self, matching: bool, within: float) -> bool:
        """Until there is a reader, or none; False after ``within`` seconds."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        listener = self._publisher.declare_matching_listener(lambda _: loop.call_soon_threadsafe(changed.set))
        try:
            async with asyncio.timeout(within):
                while self._publisher.matching_status.matching is not matching:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return False
        finally:
            listener.undeclare()
        return True


def _check_endpoint(address: str, option: str, options: ZenohOptions) -> None:
    endpoint = getattr(options, option)
    if endpoint is None:
        return
    match = ENDPOINT.fullmatch(endpoint)
    if not match or int(match["port"]) > 65535 or (option == "connect" and int(match["port"]) == 0):
        raise UsageError(f"{address}: {option}={endpoint} is no endpoint; write it as in tcp/127.0.0.1:7447")
    if option == "listen" and not options.insecure and not is_loopback(match["host"]):
        raise UsageError(
            f"{address}: listen={endpoint} would be open to everybody who reaches this machine; "
            "say ?insecure (--insecure), or listen at 127.0.0.1"
        )


def _reason(error: Exception) -> str:
    """Zenoh's words without the places in its source."""
    return str(error).partition(" at /")[0].rstrip(".")
