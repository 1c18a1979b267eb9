"""``stream-ottt listen``: print what passes on an address, or out of any source."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import zmq

from stream_ottt.cli.listen_text import ListenText
from stream_ottt.errors import UsageError
from stream_ottt.live import feed, topics
from stream_ottt.live.zmq_socket import FeedSocket, parse_address
from stream_ottt.pipeline.source import Source
from stream_ottt.registry import split_uri
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.zmq import ZmqConfig

Line = tuple[str, dict[str, Any]]
"""Topic (empty for a source that has none) and what the message says."""


def listen(uri: str, *, as_json: bool, count: int | None) -> int:
    """Print one line a message, until ``count`` have come or the stream ends.

    Raises:
        StreamOtttError: an address that cannot be used; damage.
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_listen(uri, as_json=as_json, count=count))
    return 0


async def _listen(uri: str, *, as_json: bool, count: int | None) -> None:
    scheme, rest, options = split_uri(uri)
    if scheme is not None and scheme.startswith("zmq+"):
        config = ZmqConfig.load({"address": f"{scheme}:{rest}", **options}, where="source")
        lines = _messages(config)
    else:
        lines = _packets(open_source(uri))
    text = ListenText(grouped=sys.stdout.isatty())
    async with aclosing(lines):
        async for topic, values in lines:
            print(json.dumps({"topic": topic, **values}) if as_json else text.of(topic, values), flush=True)
            if count is not None:
                count -= 1
                if count <= 0:
                    return


async def _messages(config: ZmqConfig) -> AsyncGenerator[Line, None]:
    """All messages of the wanted source, of every kind; those missing by number in lines of their own."""
    if parse_address(config.address)[0] not in ("sub", "pull"):
        raise UsageError(f"{config.address}: listen with zmq+sub:// or zmq+pull://")
    link = FeedSocket(config.address, config, max_bytes=config.max_bytes)
    expected: dict[str, int] = {}
    try:
        if link.kind == "sub":
            for kind in topics.KINDS:
                link.socket.subscribe(f"{kind}/{config.topic or ''}".encode())
        while await link.wait(zmq.POLLIN, None if config.idle is None else config.idle / 1e6):
            frames = link.socket.recv_multipart()
            try:
                kind, source = topics.split_topic(frames[0])
                if config.topic is not None and source != config.topic:
                    continue
                if len(frames) != feed.count_frames(kind):
                    raise topics.FeedError(f"{len(frames)} frames, where {kind} have {feed.count_frames(kind)}")
                if kind == "events":
                    feed.unpack_events(frames[1], frames[2])
                values = feed.unpack_json(frames[1])
            except topics.FeedError as e:
                yield "malformed", {"error": str(e)}
                continue
            topic = f"{kind}/{source}"
            seq = values.get("seq")
            if isinstance(seq, int):
                missing = seq - expected.get(topic, seq)
                expected[topic] = seq + 1
                if missing > 0:
                    yield topic, {"lost_messages": missing}
            yield topic, values
            if values.get("eos") is True and not config.follow:
                return
    finally:
        link.close()


async def _packets(source: Source) -> AsyncGenerator[Line, None]:
    async for packet in source:
        t = packet.events["t"]
        n = len(packet)
        yield (
            "",
            {
                "n": n,
                "t0": int(t[0]) if n else None,
                "t1": int(t[-1]) if n else None,
                "width": packet.width,
                "height": packet.height,
            },
        )
