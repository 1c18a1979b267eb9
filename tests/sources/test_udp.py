"""UDP datagrams from the real AEStream and the real faery, and from sockets of the test's own."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Awaitable, Callable
from pathlib import Path

import faery
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.udp import UdpSource
from stream_ottt.sources.unwrap import Clock32

LIMIT = 60.0
Send = Callable[[int], Awaitable[None]]


def some_events(n: int, t0: int = 0) -> EventArray:
    i = np.arange(n)
    return make_events(i * 7 % 346, i * 3 % 260, t0 + i * 10, i % 3 == 0)


def receive(send: Send, n: int | None, format: str = "spif", query: str = "") -> tuple[EventArray, UdpSource]:
    """The first ``n`` events (or all until half a second of silence) that come from ``send``, given the port."""

    async def both() -> tuple[EventArray, UdpSource]:
        uri = f"udp://127.0.0.1:0?format={format}&width=346&height=260{query}" + ("" if n else "&idle=500ms")
        source = open_source(uri)
        assert isinstance(source, UdpSource)
        packets = [make_events([], [], [], [])]

        async def read() -> None:
            async for packet in source:
                assert (packet.width, packet.height) == (346, 260)
                packets.append(packet.events)
                if n is not None and sum(map(len, packets)) >= n:
                    return

        reading = asyncio.create_task(read())
        async with asyncio.timeout(LIMIT):
            while not source.port:  # noqa: ASYNC110 - until it is bound
                await asyncio.sleep(0)
            await send(source.port)
            await reading
        return np.concatenate(packets), source

    return asyncio.run(both())


def datagrams(*data: bytes) -> Send:
    async def send(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for one in data:
                sock.sendto(one, ("127.0.0.1", port))

    return send


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # faery leaves its socket open
@pytest.mark.parametrize("form", ["t64_x16_y16_on8", "t32_x16_y15_on1"])
def test_faery_sends(form: str) -> None:
    events = some_events(1234, t0=2**32 - 6000)  # over the end of 32 bits
    theirs = np.zeros(len(events), faery.EVENTS_DTYPE)
    for ours, name in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        theirs[name] = events[ours]

    async def send(port: int) -> None:
        stream = faery.events_stream_from_array(theirs, (346, 260))
        await asyncio.to_thread(stream.to_udp, ("127.0.0.1", port), format=form)

    got, source = receive(send, len(events), form)
    assert np.array_equal(got, events)
    assert source.statistics()["datagrams"] == 13


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info >= (3, 12), reason="AEStream 0.6.4 has no builds for this system"
)
@pytest.mark.parametrize("n", [1, 64, 203])
@pytest.mark.parametrize("times", [True, False])
def test_aestream_sends(tmp_path: Path, n: int, times: bool) -> None:
    events = some_events(n, t0=1000)
    with Aedat4Writer(tmp_path / "a.aedat4", 346, 260) as writer:
        writer.write(events)
    program = shutil.which("aestream", path=sysconfig.get_path("scripts"))
    assert program is not None

    async def send(port: int) -> None:
        command = [program, "input", "file", str(tmp_path / "a.aedat4"), "output", "udp", "127.0.0.1", str(port)]
        if times:
            command += ["--include-timestamp", "true"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        try:
            assert await asyncio.wait_for(process.wait(), LIMIT) == 0
        finally:
            if process.returncode is None:
                process.kill()

    got, source = receive(send, None)
    if times and n % 32 > 0 and n < 32:
        got = got[:n]  # nothing was before, so what it appends to its only datagram cannot be told from events
    assert len(got) == n
    for name in "xyp" + "t" * times:
        assert np.array_equal(got[name], events[name])
    assert np.all(np.diff(got["t"]) >= 0)
    assert source.statistics()["malformed_datagrams"] == 0


def test_spif_by_hand() -> None:
    timed = struct.pack("<IIII", 5 << 16 | 1 << 15 | 6, 77, 345 << 16 | 259, 78)
    got, _ = receive(datagrams(timed), 2)
    assert got.tolist() == [(5, 6, 77, True), (345, 259, 78, False)]
    got, _ = receive(datagrams(struct.pack("<I", 1 << 31 | 5 << 16 | 1 << 15 | 6)), 1)
    assert got[["x", "y", "p"]].tolist() == [(5, 6, True)]


def test_what_is_no_datagram_of_the_format_is_counted() -> None:
    good = struct.pack("<II", 5 << 16 | 6, 9)
    wrong = [b"x", bytes(6), bytes(12), struct.pack("<II", 1 << 31, 1), struct.pack("<IIII", 0, 0, 1 << 31, 0)]
    got, source = receive(datagrams(*wrong, b"", good), 1)
    assert got.tolist() == [(5, 6, 9, False)]
    assert source.statistics()["malformed_datagrams"] == len(wrong)


@pytest.mark.parametrize(("form", "size"), [("t64_x16_y16_on8", 13), ("t32_x16_y15_on1", 8)])
def test_half_a_record_is_malformed(form: str, size: int) -> None:
    got, source = receive(datagrams(bytes(size + 1), bytes(size)), 1, form)
    assert len(got) == 1
    assert source.statistics()["malformed_datagrams"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how many datagrams it threw away")
def test_datagrams_that_found_no_room_are_counted() -> None:
    sent, after = 30_000, 30
    payload = bytes(13 * 40)

    async def flood(port: int) -> None:
        # Without giving the reader a turn, so that the system's buffer overflows.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(sent):
                sock.sendto(payload, ("127.0.0.1", port))
            for _ in range(after):  # one that finds room again brings the count
                await asyncio.sleep(0.02)
                sock.sendto(payload, ("127.0.0.1", port))

    got, source = receive(flood, None, "t64_x16_y16_on8")
    facts = source.statistics()
    assert facts["lost_datagrams"] > 0
    assert facts["datagrams"] + facts["lost_datagrams"] == sent + after
    assert len(got) == 40 * facts["datagrams"]


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40), st.integers(1, 5))
def test_32_bits_run_on(steps: list[int], parts: int) -> None:
    true = np.cumsum(steps)
    clock = Clock32()
    given_times = np.array_split((true & (2**32 - 1)).astype(np.uint32), parts)
    assert np.concatenate([clock(part) for part in given_times]).tolist() == true.tolist()


def test_disorder_over_the_end_of_32_bits() -> None:
    clock = Clock32()
    assert clock(np.array([2**32 - 5, 3, 2**32 - 2, 4], np.uint32)).tolist() == [
        2**32 - 5,
        2**32 + 3,
        2**32 - 2,
        2**32 + 4,
    ]


def test_addresses() -> None:
    with pytest.raises(UsageError, match="insecure"):
        open_source("udp://0.0.0.0:3333?width=1&height=1")
    open_source("udp://0.0.0.0:3333?width=1&height=1&insecure")
    with pytest.raises(UsageError, match=r"source\.width"):
        open_source("udp://127.0.0.1:3333?height=1")
    with pytest.raises(UsageError, match="format"):
        open_source("udp://127.0.0.1:3333?width=1&height=1&format=x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        uri = f"udp://127.0.0.1:{other.getsockname()[1]}?width=1&height=1"

        async def read() -> None:
            async for _ in open_source(uri):
                pass

        with pytest.raises(InputError, match="cannot be bound"):
            asyncio.run(read())


@pytest.mark.parametrize("name", ["tcp", "udp"])
def test_pyzmq_is_not_needed(name: str) -> None:
    code = (
        "import sys; sys.modules['zmq'] = None\n"
        "from stream_ottt.sources.opening import open_source\n"
        f"open_source('{name}://127.0.0.1:1?{'width=1&height=1' if name == 'udp' else ''}')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
