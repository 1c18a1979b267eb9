"""Predictions over Zenoh, read back by a plain subscriber; and a stream that is published."""

from __future__ import annotations

import asyncio
import json
import queue
import struct
import sys
from typing import Any

import numpy as np
import pytest
import zenoh
from source_recipes import free_port

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.live.zenoh_peer import ZenohOptions, ZenohSender
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.opening import open_source
from stream_ottt.testing.sinks import results, view

LIMIT = 60.0


def plain_reader(endpoint: str, key: str, got: queue.Queue[Any]) -> zenoh.Session:
    """A subscriber that knows nothing of this project but docs/feed.md."""
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5("connect/endpoints", json.dumps([endpoint]))
    config.insert_json5("connect/exit_on_failure", "false")
    config.insert_json5("connect/timeout_ms", "-1")
    session = zenoh.open(config)

    def take(sample: zenoh.Sample) -> None:
        payload, frames = sample.payload.to_bytes(), []
        while payload:
            (n,) = struct.unpack("<I", payload[:4])
            frames.append(payload[4 : 4 + n])
            payload = payload[4 + n :]
        got.put((str(sample.key_expr), frames))

    session.declare_subscriber(key, take)
    return session


def test_what_a_plain_subscriber_gets() -> None:
    endpoint, got = f"tcp/127.0.0.1:{free_port()}", queue.Queue[Any]()

    async def go() -> list[Any]:
        sink = open_sink(f"zenoh://out/predictions?listen={endpoint}&wait=true&wait_for=20s&topic=cam")
        reader = plain_reader(endpoint, "out/**", got)
        try:
            await sink.open(view())
            for result in results():
                await sink.consume(result)
            closing = asyncio.create_task(sink.close(None))
            messages = [await asyncio.to_thread(got.get, timeout=LIMIT) for _ in range(len(results()) + 1)]
        finally:
            reader.close()
        await closing
        return messages

    messages = asyncio.run(go())
    assert {(key, frames[0]) for key, frames in messages} == {("out/predictions", b"predictions/cam")}
    heads = [json.loads(frames[1]) for _, frames in messages]
    assert [head["seq"] for head in heads] == list(range(len(heads)))
    assert heads[-1].items() >= {"v": 1, "seq": len(results()), "eos": True}.items()
    for head, result in zip(heads, results(), strict=False):
        assert (head["class"], head["t0"], head["t1"]) == (
            result.prediction.label,
            result.timestep.t_start,
            result.timestep.t_end,
        )
        assert np.allclose(head["logits"], result.prediction.logits)


def test_no_reader_fails_in_words() -> None:
    sink = open_sink("zenoh://out?listen=tcp/127.0.0.1:0&wait=true&wait_for=50ms")
    with pytest.raises(OutputError, match=r"zenoh://out: no reader came within 0.05 s"):
        asyncio.run(sink.open(view()))


def test_only_one_key_is_sent_under() -> None:
    with pytest.raises(UsageError, match=r"without '\*'"):
        open_sink("zenoh://out/*?scout=true")


def test_more_than_one_reader_cannot_be_waited_for() -> None:
    async def go() -> None:
        sender = ZenohSender("zenoh://out", ZenohOptions(listen="tcp/127.0.0.1:0"))
        try:
            with pytest.raises(UsageError, match="wait for 1"):
                await sender.wait_for_readers(2, b"", LIMIT)
        finally:
            await sender.close()

    asyncio.run(go())


def test_a_published_scene_is_what_the_source_gives() -> None:
    scene, endpoint = "synthetic:?presentations=2&duration=100ms", f"tcp/127.0.0.1:{free_port()}"

    async def all_of(uri: str) -> list[EventPacket]:
        async with asyncio.timeout(LIMIT):
            return [packet async for packet in open_source(uri)]

    async def go() -> tuple[list[EventPacket], list[EventPacket]]:
        reading = asyncio.create_task(all_of(f"zenoh://cams/*?connect={endpoint}"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stream_ottt", "publish", scene, "--to", f"zenoh://cams/left?listen={endpoint}"
        )
        try:
            received = await reading
            assert await asyncio.wait_for(process.wait(), LIMIT) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return received, await all_of(scene)

    received, made = asyncio.run(go())
    assert np.array_equal(*(np.concatenate([p.events for p in packets]) for packets in (received, made)))
