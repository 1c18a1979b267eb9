"""AEDAT4 over TCP against the real dv-processing in another process, both ways."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, EventPacket, make_events
from stream_ottt.live.sockets import keep_alive
from stream_ottt.pipeline.source import Source
from stream_ottt.sinks.aedat4_tcp import TcpOutput
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer
from stream_ottt.sources.opening import open_source

LIMIT = 60.0

NETWORK_WRITER = """
import sys, socket, time, dv_processing as dv
probe = socket.socket(); probe.bind(("127.0.0.1", 0)); port = probe.getsockname()[1]; probe.close()
writer = dv.io.NetworkWriter("127.0.0.1", port, dv.io.Stream.EventStream(0, "events", "cam", (346, 260)))
print(port, flush=True)
while writer.getClientCount() == 0:
    time.sleep(0.005)
n = 0
for _ in range(20):
    store = dv.EventStore()
    for _ in range(500):
        store.push_back(n * 10, n * 7 % 346, n * 3 % 260, n % 3 == 0)
        n += 1
    writer.writeEvents(store)
while writer.getQueuedPacketCount():
    time.sleep(0.005)
sys.stdin.readline()
"""

NETWORK_READER = """
import sys, time, dv_processing as dv
reader = dv.io.NetworkReader("127.0.0.1", int(sys.argv[1]))
print(reader.getEventResolution(), reader.getCameraName())
n = t = x = y = p = 0
while n < int(sys.argv[2]):
    batch = reader.getNextEventBatch()
    if batch is None:
        time.sleep(0.002)
        continue
    a = batch.numpy()
    n, t, x, y = n + len(a), t + int(a["timestamp"].sum()), x + int(a["x"].sum()), y + int(a["y"].sum())
    p += int(a["polarity"].sum())
print(n, t, x, y, p)
"""


async def collect(source: Source) -> list[EventPacket]:
    async with asyncio.timeout(LIMIT):
        return [packet async for packet in source]


def joined(packets: list[EventPacket]) -> EventArray:
    return np.concatenate([p.events for p in packets])


def some_events(n: int, t0: int = 0) -> EventArray:
    i = np.arange(n)
    return make_events(i * 7 % 346, i * 3 % 260, t0 + i * 10, i % 3 == 0)


@asynccontextmanager
async def served(*connections: bytes) -> AsyncIterator[str]:
    """A server that says one thing to each client in turn, and closes."""
    waiting = list(connections)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(waiting.pop(0) if waiting else b"")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def recording(tmp_path: Path, events: EventArray) -> bytes:
    path = tmp_path / "recording.aedat4"
    with Aedat4Writer(path, 346, 260) as writer:
        writer.write(events)
    return path.read_bytes()


def test_a_network_writer_is_read() -> None:
    async def read(process: asyncio.subprocess.Process) -> list[EventPacket]:
        assert process.stdout is not None and process.stdin is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), LIMIT))
        packets: list[EventPacket] = []
        async with asyncio.timeout(LIMIT):
            async for packet in open_source(f"tcp://127.0.0.1:{port}"):
                packets.append(packet)
                if sum(map(len, packets)) == 10_000:
                    process.stdin.write(b"\n")  # it may close now, which ends the stream
        return packets

    async def both() -> list[EventPacket]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", NETWORK_WRITER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            packets = await read(process)
            assert await asyncio.wait_for(process.wait(), LIMIT) == 0
            return packets
        finally:
            if process.returncode is None:
                process.kill()

    packets = asyncio.run(both())
    assert np.array_equal(joined(packets), some_events(10_000))
    assert {(p.width, p.height) for p in packets} == {(346, 260)}


def test_a_network_reader_reads_what_is_published() -> None:
    events = some_events(25_000)

    async def both() -> str:
        output = TcpOutput("127.0.0.1", 0)
        await output.open()
        port = output.endpoint.rsplit(":", 1)[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", NETWORK_READER, port, str(len(events)), stdout=subprocess.PIPE
        )
        try:
            await output.wait_for_readers(1, LIMIT)
            for part in np.array_split(events, 7):
                await output.events(EventPacket(part, 346, 260))
            out, _ = await asyncio.wait_for(process.communicate(), LIMIT)
        finally:
            if process.returncode is None:
                process.kill()
            await output.end()
        return out.decode()

    size, sums = asyncio.run(both()).splitlines()
    assert size == "(346, 260) stream-ottt"
    expected = [len(events), *(int(events[k].astype(np.int64).sum()) for k in "txyp")]
    assert [int(s) for s in sums.split()] == expected


def test_a_recording_sent_as_it_is_is_read_too(tmp_path: Path) -> None:
    events = some_events(5_000)

    async def both() -> list[EventPacket]:
        async with served(recording(tmp_path, events)) as address:
            return await collect(open_source(address))

    assert np.array_equal(joined(asyncio.run(both())), events)


def test_what_was_good_before_the_damage_comes_first(tmp_path: Path) -> None:
    events = some_events(70_000)
    data = recording(tmp_path, events)

    async def both() -> tuple[list[EventPacket], InputError]:
        packets: list[EventPacket] = []
        async with served(data[: len(data) // 2]) as address, asyncio.timeout(LIMIT):
            with pytest.raises(InputError) as damage:
                async for packet in open_source(address):
                    packets.append(packet)
        return packets, damage.value

    with Aedat4Writer(tmp_path / "two.aedat4", 346, 260) as writer:
        writer.write(events)
    packets, damage = asyncio.run(both())
    assert "cut short" in str(damage)
    got = joined(packets) if packets else some_events(0)
    assert len(got) < len(events)
    assert np.array_equal(got, events[: len(got)])


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"#!AER-DA", bytes(100), b"\xff" * 4096])
def test_what_is_no_aedat4_is_refused(data: bytes) -> None:
    async def both() -> None:
        async with served(data) as address:
            await collect(open_source(address))

    with pytest.raises(InputError):
        asyncio.run(both())


def test_a_sender_that_comes_back_is_followed(tmp_path: Path) -> None:
    first, second = recording(tmp_path, some_events(100)), recording(tmp_path, some_events(50))

    async def both() -> tuple[list[EventPacket], dict[str, object]]:
        packets: list[EventPacket] = []
        async with served(first, b"", b"garbage, more than fourteen bytes of it", second) as address:
            source = open_source(f"{address}?follow&reconnect=10ms")
            async with asyncio.timeout(LIMIT), aclosing(aiter(source)) as stream:
                async for packet in stream:
                    packets.append(packet)
                    if len(packets) == 2:
                        break
        return packets, source.statistics()

    packets, facts = asyncio.run(both())
    assert [len(p) for p in packets] == [100, 50]
    assert np.all(np.diff(joined(packets)["t"]) > 0)
    assert facts["connections"] == 4
    assert facts["interruptions"] == 1
    assert len(facts["damage"]) == 1


def test_nobody_there_is_said_in_one_line() -> None:
    async def refuse() -> str:
        async with served() as address:
            pass
        await collect(open_source(address))
        return address

    with pytest.raises(InputError, match=r"no sender answers: .*\?follow"):
        asyncio.run(refuse())


@pytest.mark.parametrize("address", ["tcp://", "tcp://x", "tcp://x:70000", "tcp://x:1/y"])
def test_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        open_source(address)


@asynccontextmanager
async def silent(first: bytes) -> AsyncIterator[str]:
    """A server that says something, and then nothing, without closing."""
    over, closed = asyncio.Event(), asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await over.wait()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        try:
            yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            over.set()
            await closed.wait()


@pytest.mark.parametrize("said", [0, 5, 400])
def test_a_sender_that_falls_silent_is_waited_for_as_long_as_the_user_says(said: int, tmp_path: Path) -> None:
    async def go() -> None:
        async with silent(recording(tmp_path, some_events(100))[:said]) as address:
            await asyncio.wait_for(collect(open_source(f"{address}?idle=100ms")), LIMIT)

    with pytest.raises(InputError, match=r"nothing has come for 0\.1 s"):
        asyncio.run(go())


def test_a_packet_that_is_too_large_is_not_waited_for(tmp_path: Path) -> None:
    """The sender is cut off at the packet's header: nothing of it is kept."""
    data = recording(tmp_path, some_events(20_000))

    async def go() -> None:
        async with silent(data) as address:
            await asyncio.wait_for(collect(open_source(f"{address}?max_bytes=4096")), LIMIT)

    with pytest.raises(InputError, match="an event packet of"):
        asyncio.run(go())
    with pytest.raises(UsageError, match="max_bytes"):
        open_source("tcp://127.0.0.1:1?max_bytes=1TB")


def test_the_system_asks_whether_a_silent_sender_is_there() -> None:
    with socket.socket() as connection:
        keep_alive(connection, 0)
        assert not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        keep_alive(connection, 7_000_000)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
