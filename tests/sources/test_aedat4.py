"""AEDAT4: golden bytes, all compressions and streams, other packages' files, growing files, all kinds of damage."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard
from aedat4_files import Aedat4File, events_flatbuffer, events_of, flatbuffer, info_xml, stream_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray, EventPacket
from stream_ottt.sources.aedat4.decoder import Aedat4Decoder
from stream_ottt.sources.aedat4.kernel import copy_events
from stream_ottt.sources.aedat4.source import Aedat4Source
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.reach import Reach

FOUR_STREAMS = info_xml(
    stream_xml(0, "FRME"), stream_xml(2, "EVTS", (16, 12)), stream_xml(3, "IMUS", None), stream_xml(7, "EVTS", (8, 6))
)


def source_of(path: Path, data: bytes, **options: object) -> Aedat4Source:
    path.write_bytes(data)
    source = open_source({"uri": str(path), "format": "aedat4", **options})
    assert isinstance(source, Aedat4Source)
    return source


def read(path: Path, data: bytes, **options: object) -> EventArray:
    events, error = drain(source_of(path, data, **options))
    assert error is None
    return events


def fed(data: bytes) -> tuple[EventArray, InputError | None]:
    decoder = Aedat4Decoder("fed")
    pieces = [np.empty(0, EVENT_DTYPE)]
    try:
        pieces.extend(decoder.feed(data))
        decoder.close()
    except InputError as e:
        return np.concatenate(pieces), e
    return np.concatenate(pieces), None


def test_golden_bytes(tmp_path: Path) -> None:
    """One event, written down by hand from the format's description."""
    event = bytes.fromhex("4046 4c39 0000 000003000b0001abcdef")  # padding may hold anything
    body = struct.pack("<I4s2xHHHiII", 16, b"EVTS", 6, 8, 4, 6, 4, 1) + event
    file = Aedat4File(compression=0).add(0, struct.pack("<I", len(body)) + body)
    assert read(tmp_path / "a", file.finished()).tolist() == [(3, 11, 0x394C4640, True)]


@pytest.mark.parametrize("compression", range(5))
def test_all_compressions(tmp_path: Path, compression: int) -> None:
    a, b = events_of(700, 1), events_of(1, 2)
    file = Aedat4File(compression).events(a).events(events_of(0)).events(b)
    for data in (file.finished(), file.unfinished(-1), file.unfinished(0), file.unfinished() + file.table_bytes):
        assert np.array_equal(read(tmp_path / "a", data), np.concatenate([a, b]))
    assert (
        source_of(tmp_path / "a", file.finished()).describe()["compression"]
        == (("none", "lz4", "lz4-high", "zstd", "zstd-high")[compression])
    )


def test_events_of_one_packet_are_cut_and_of_many_put_together(tmp_path: Path) -> None:
    records = np.zeros(PACKET_EVENTS + 5, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?"), ("pad", "V3")])
    records["t"] = np.arange(len(records))
    records["p"] = records["t"] % 3 == 0
    records["x"], records["y"] = records["t"] % 11, records["t"] % 7
    large = flatbuffer(b"EVTS", len(records), records.tobytes())
    source = source_of(tmp_path / "a", Aedat4File().add(0, large).finished())
    assert [len(p) for p in source.packets()] == [PACKET_EVENTS, 5]
    events, _ = drain(source)
    for name in "xytp":
        assert np.array_equal(events[name], records[name])
    file = Aedat4File()
    for i in range(50):
        file.events(events_of(10, i))
    assert [len(p) for p in source_of(tmp_path / "b", file.finished()).packets()] == [500]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 2**32 - 1))
def test_copying(n: int, seed: int) -> None:
    """Any bytes as records: the compiled copy agrees with a copy field by field."""
    raw = np.random.default_rng(seed).bytes(16 * n)
    fields = np.frombuffer(raw, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("pad", "V3")])
    reach = Reach()
    out = np.zeros(n, EVENT_DTYPE)
    copy_events(raw, out, reach)
    assert all(np.array_equal(out[name], fields[name]) for name in "xyt")
    assert np.array_equal(out["p"].view(np.uint8), fields["p"] != 0)
    x, y = fields["x"].view("<u2").max(initial=0), fields["y"].view("<u2").max(initial=0)
    assert (reach.values[:2] == (x, y)).all() and (reach.values[2] < 0) == (fields["t"] < 0).any()


def test_packets_of_all_compressions_are_known_to_be_well_formed(tmp_path: Path) -> None:
    for compression in range(5):
        a = events_of(300)
        file = Aedat4File(compression).events(a).events(a)
        assert all(p.well_formed for p in source_of(tmp_path / "a", file.finished()).packets())
        assert np.array_equal(read(tmp_path / "a", file.finished()), np.concatenate([a, a]))


def test_several_streams(tmp_path: Path) -> None:
    a, b, c = events_of(30, 1), events_of(20, 2, 8, 6), events_of(10, 3)
    file = Aedat4File(xml=FOUR_STREAMS)
    file.add(0, b"no event packet").events(b, 7).events(a, 2).raw(3, b"").raw(3, b"junk").events(c, 2)
    data = file.finished()
    assert np.array_equal(read(tmp_path / "a", data), np.concatenate([a, c]))
    assert np.array_equal(read(tmp_path / "a", data, stream=2), np.concatenate([a, c]))
    other = source_of(tmp_path / "a", data, stream="7")
    packet = next(other.packets())
    assert np.array_equal(packet.events, b) and (packet.width, packet.height) == (8, 6)
    drain(other)
    described = other.describe()
    assert described["camera"] == "Cam_7" and described["stream"] == 7
    assert [(s["id"], s["type"], s["packets"]) for s in described["streams"]] == [
        (0, "FRME", 1), (2, "EVTS", 2), (3, "IMUS", 2), (7, "EVTS", 1)
    ]  # fmt: skip
    for wrong in (0, 5):
        with pytest.raises(UsageError, match=rf"no event stream {wrong}; .*2 \(EVTS 16×12\), 7 \(EVTS 8×6\)"):
            drain(source_of(tmp_path / "a", data, stream=wrong))


def test_no_event_stream(tmp_path: Path) -> None:
    file = Aedat4File(xml=info_xml(stream_xml(0, "FRME", (2, 2)), stream_xml(1, "IMUS", None))).add(0, b"frame")
    _, error = drain(source_of(tmp_path / "a", file.finished()))
    assert "no event stream in it, only 0 (FRME 2×2), 1 (IMUS)" in str(error)
    _, error = drain(source_of(tmp_path / "a", Aedat4File(xml="<dv/>").finished()))
    assert "only none at all" in str(error)


@pytest.mark.parametrize("size", [None, (0, 12), (16, -3), (16, 40000), ("1e3", 12), ("9" * 5000, 12)])
def test_size_missing_or_impossible(tmp_path: Path, size: tuple[int, int] | None) -> None:
    file = Aedat4File(xml=info_xml(stream_xml(0, "EVTS", size))).events(events_of(3))
    _, error = drain(source_of(tmp_path / "a", file.finished()))
    assert "width=…&height=…" in str(error)
    packet = next(source_of(tmp_path / "a", file.finished(), width="40", height=30).packets())
    assert (packet.width, packet.height) == (40, 30)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("compression", [0, 1, 3])
def test_truncated_at_every_byte(tmp_path: Path, compression: int, finished: bool) -> None:
    file = Aedat4File(compression, xml=FOUR_STREAMS)
    parts = [events_of(3, 1), events_of(0), events_of(2, 2)]
    file.events(parts[0], 2).add(0, b"frame").raw(3, b"").events(parts[2], 2)
    data = file.finished() if finished else file.unfinished()
    bounds = [*file.starts, file.table]
    counts = [0, 3, 3, 3, 5]
    for cut in range(len(data)):
        near = any(abs(cut - b) < 2 for b in bounds)
        events, error = drain(source_of(tmp_path / "a", data[:cut])) if near else fed(data[:cut])
        whole = sum(b <= cut for b in bounds) - 1
        assert len(events) == (counts[whole] if whole >= 0 else 0)
        assert np.array_equal(events, np.concatenate(parts)[: len(events)])
        if not finished and cut in bounds:
            assert error is None  # a recorder that was killed between two packets
        else:
            assert error is not None and error.offset == (bounds[whole] if whole >= 0 else 0)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), compression=st.sampled_from([0, 1, 2, 3, 4]))
def test_flipped_bits(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, compression: int) -> None:
    """Only errors for the user come out, and what stands before the damage is read as it was."""
    file = Aedat4File(compression)
    parts = [events_of(4, 1), events_of(4, 2)]
    file.events(parts[0]).events(parts[1])
    good = bytearray(file.finished())
    at = data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=3))
    for i in at:
        good[i] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped"
    try:
        events, error = drain(source_of(path, bytes(good)))
    except UsageError:
        return
    if min(at) >= file.starts[1]:
        assert np.array_equal(events[:4], parts[0])
    assert error is None or error.offset is not None or "no event stream" in str(error) or "sizeX" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 4))
def test_any_bytes_for_a_packet(tmp_path_factory: pytest.TempPathFactory, junk: bytes, compression: int) -> None:
    file = Aedat4File(compression).events(events_of(2)).add(0, junk).raw(0, junk)
    path = tmp_path_factory.getbasetemp() / "junk"
    events, error = drain(source_of(path, file.finished()))
    assert len(events) >= 2 and error is not None and error.offset in file.starts[1:]


def bombs() -> dict[str, tuple[int, bytes]]:
    zeros = bytes(80 << 20)
    sized = bytearray(lz4.frame.compress(bytes(1000)))
    sized[6:14] = (1 << 40).to_bytes(8, "little")
    writer = zstandard.ZstdCompressor(write_content_size=False)
    return {
        "lz4": (1, lz4.frame.compress(zeros, store_size=False)),
        "lz4 that says so": (1, lz4.frame.compress(zeros)),
        "lz4 that claims a tebibyte": (1, bytes(sized)),
        "zstd": (3, writer.compress(zeros)),
        "zstd that says so": (3, zstandard.ZstdCompressor().compress(zeros)),
    }


@pytest.fixture(scope="module")
def packed_bombs() -> dict[str, tuple[int, bytes]]:
    return bombs()


@pytest.mark.parametrize("kind", ["lz4", "lz4 that says so", "lz4 that claims a tebibyte", "zstd", "zstd that says so"])
def test_decompression_bomb(tmp_path: Path, packed_bombs: dict[str, tuple[int, bytes]], kind: str) -> None:
    compression, packed = packed_bombs[kind]
    good = events_of(5)
    source = source_of(tmp_path / "a", Aedat4File(compression).events(good).raw(0, packed).finished())
    tracemalloc.start()
    try:
        events, error = drain(source)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert np.array_equal(events, good)
    assert error is not None and "damaged" in str(error)


def test_many_bombs_of_the_largest_size(tmp_path: Path) -> None:
    """Each may be read; together they must not stand in memory."""
    n = (16 << 20) // 16 - 8
    packed = zstandard.ZstdCompressor().compress(flatbuffer(b"EVTS", n, bytes(16 * n)))
    file = Aedat4File(3)
    for _ in range(4):
        file.raw(0, packed)
    source = source_of(tmp_path / "a", file.finished())
    tracemalloc.start()
    try:
        assert sum(len(p) for p in source.packets()) == 4 * n
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    file = Aedat4File(0)
    packet = events_flatbuffer(events_of(1000))
    one = Aedat4File(0).add(0, packet).body
    (tmp_path / "a").write_bytes(file.head() + one * 2000)
    source = open_source(tmp_path / "a")
    assert isinstance(source, Aedat4Source)
    next(iter(source.packets()))  # numba, and the compiled loop, are in memory from now on
    tracemalloc.start()
    try:
        assert sum(len(p) for p in source.packets()) == 2_000_000
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (struct.pack("<ii", 0, 2**31 - 1), "2047 MiB"),
        (struct.pack("<ii", 0, -5), "-5 bytes"),
        (struct.pack("<ii", 9, 5) + bytes(20), "stream 9"),
        (Aedat4File(0).add(0, flatbuffer(b"EVTS", 2**32 - 1, bytes(16))).body, "leads out of its buffer"),
        (Aedat4File(0).add(0, flatbuffer(b"EVTS", 1, b"")).body, "leads out of its buffer"),
        (Aedat4File(0).add(0, flatbuffer(b"FRME", 1, bytes(16))).body, "expected a 'EVTS'"),
        (Aedat4File(0).add(0, struct.pack("<II4s", 8, 2**31, b"EVTS")).body, "outside"),
        (Aedat4File(0).add(0, struct.pack("<II4si", 12, 8, b"EVTS", 99)).body, "outside"),
        (Aedat4File(0).add(0, struct.pack("<II4si", 12, 8, b"EVTS", -99)).body, "outside"),
        (Aedat4File(0).add(0, struct.pack("<II4s", 9, 0, b"EVTS")).body, "size field"),
    ],
)
def test_impossible_sizes(tmp_path: Path, tail: bytes, message: str) -> None:
    file = Aedat4File(0).events(events_of(4))
    events, error = drain(source_of(tmp_path / "a", file.unfinished() + tail))
    assert np.array_equal(events, events_of(4))
    assert error is not None and message in str(error) and error.offset == file.table


def test_impossible_data_table(tmp_path: Path) -> None:
    file = Aedat4File().events(events_of(4))
    for position, read_before in ((file.table - 1, 0), (file.table + 3, 4), (file.table + 1000, 4)):
        events, error = drain(source_of(tmp_path / "a", file.unfinished(position) + file.table_bytes))
        assert len(events) == read_before
        assert error is not None and error.offset == (file.table if read_before else file.starts[0])
    events, error = drain(source_of(tmp_path / "a", file.unfinished(file.table) + bytes(80)))
    assert len(events) == 4 and "all events were read" in str(error)


def test_another_layout_of_the_same_flatbuffer(tmp_path: Path) -> None:
    """The vtable behind the vector: the reader follows the offsets, not the usual places."""
    event = struct.pack("<qhh?3x", 77, 5, 6, True)
    table, vector = 12, 20
    vtable = vector + 4 + len(event)
    buffer = struct.pack("<I4s", table - 4, b"EVTS") + struct.pack("<iI", table - vtable, vector - table - 4)
    buffer += struct.pack("<I", 1) + event + struct.pack("<HHH", 6, 8, 4)
    data = Aedat4File(0).add(0, struct.pack("<I", len(buffer)) + buffer).finished()
    assert read(tmp_path / "a", data).tolist() == [(5, 6, 77, True)]
    no_field = struct.pack("<I4sHHi", 12, b"EVTS", 4, 4, 4)
    assert not len(read(tmp_path / "a", Aedat4File(0).add(0, struct.pack("<I", len(no_field)) + no_field).finished()))


@pytest.mark.parametrize(
    ("xml", "compression", "message"),
    [
        ('<!DOCTYPE dv [<!ENTITY a "x">]><dv>&a;</dv>', 1, "DOCTYPE"),
        ("<dv><node>", 1, "no XML"),
        ("", 1, "no XML"),
        ("<dv/>", 5, "compression 5"),
        ("<dv/>", -1, "compression -1"),
    ],
)
def test_bad_header(tmp_path: Path, xml: str, compression: int, message: str) -> None:
    events, error = drain(source_of(tmp_path / "a", Aedat4File(compression, xml).head()))
    assert not len(events) and message in str(error)


def test_header_beyond_its_limit_and_no_header(tmp_path: Path) -> None:
    _, error = drain(source_of(tmp_path / "a", b"#!AER-DAT4.0\r\n\xff\xff\xff\xff" + bytes(50)))
    assert "the header claims 4294967295 bytes" in str(error)
    _, error = drain(source_of(tmp_path / "a", b"#!AER-DAT2.0\r\n" + bytes(50)))
    assert "expected AEDAT4" in str(error)
    _, error = drain(source_of(tmp_path / "a", Aedat4File().head(20)))
    assert "inside the header" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.booleans())
def test_bytes_in_pieces_of_any_size(sizes: list[int], finished: bool) -> None:
    a, b = events_of(40, 1), events_of(3, 2)
    file = Aedat4File(xml=FOUR_STREAMS).events(a, 2).add(0, bytes(range(200))).events(b, 2)
    data = file.finished() if finished else file.unfinished()
    decoder = Aedat4Decoder("feed")
    found: list[EventArray] = []
    at = 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        found += decoder.feed(data[at : at + size])
        at += size
    decoder.close()
    assert np.array_equal(np.concatenate(found), np.concatenate([a, b]))
    assert decoder.finished is finished and decoder.position == file.table


def following(path: Path) -> Aedat4Source:
    source = open_source(f"{path}?format=aedat4&follow")
    assert isinstance(source, Aedat4Source) and source.config.follow
    return source


async def take(packets: AsyncIterator[EventPacket], n: int) -> EventArray:
    """The next ``n`` events."""
    pieces: list[EventArray] = []
    while sum(map(len, pieces)) < n:
        pieces.append((await asyncio.wait_for(anext(packets), 10)).events)
    return np.concatenate(pieces)


@pytest.mark.parametrize("compression", [0, 1, 3])
@pytest.mark.parametrize("rewrites_header", [True, False])
def test_growing_file(tmp_path: Path, compression: int, rewrites_header: bool) -> None:
    parts = [events_of(30, i) for i in range(3)]
    file = Aedat4File(compression)
    for part in parts:
        file.events(part)
    data = file.unfinished()
    cuts = [0, 9, file.starts[0] + 5, file.starts[1], file.starts[2] + 20, len(data)]
    path = tmp_path / "a"
    path.write_bytes(b"")

    async def run() -> None:
        packets = aiter(following(path))
        with path.open("ab") as out:
            for expected, (start, end) in zip([None, None, parts[0], parts[1], parts[2]], pairwise(cuts), strict=True):
                out.write(data[start:end])
                out.flush()
                if expected is not None:
                    assert np.array_equal(await take(packets, 30), expected)
            out.write(file.table_bytes)
        if rewrites_header:
            with path.open("r+b") as out:
                out.write(file.head(file.table))
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(packets), 10)

    asyncio.run(run())


def test_following_ends_at_damage_shrinking_and_cancellation(tmp_path: Path) -> None:
    file = Aedat4File().events(events_of(30))
    path = tmp_path / "a"

    async def damaged() -> None:
        path.write_bytes(file.unfinished() + struct.pack("<ii", 8, 8) + bytes(12))
        packets = aiter(following(path))
        await take(packets, 30)
        with pytest.raises(InputError, match="stream 8"):
            await asyncio.wait_for(anext(packets), 10)

    async def shrinking() -> None:
        path.write_bytes(file.unfinished())
        packets = aiter(following(path))
        await take(packets, 30)
        path.write_bytes(b"#!AER")
        with pytest.raises(InputError, match="shorter"):
            await asyncio.wait_for(anext(packets), 10)

    async def cut_although_complete() -> None:
        data = file.unfinished() + struct.pack("<ii", 0, 500) + bytes(100)
        path.write_bytes(data)
        packets = aiter(following(path))
        await take(packets, 30)
        with path.open("r+b") as out:
            out.write(file.head(len(data)))
        with pytest.raises(InputError, match="cut short") as caught:
            await asyncio.wait_for(anext(packets), 10)
        assert caught.value.offset == file.table

    async def cancelled() -> None:
        path.write_bytes(file.unfinished())
        packets = aiter(following(path))
        await take(packets, 30)
        waiting = asyncio.ensure_future(anext(packets))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    for case in (damaged, shrinking, cut_although_complete, cancelled):
        asyncio.run(asyncio.wait_for(case(), 20))


def test_reading_on_the_event_loop(tmp_path: Path) -> None:
    a = events_of(50)
    source = source_of(tmp_path / "a", Aedat4File().events(a).finished())

    async def run() -> EventArray:
        return np.concatenate([p.events async for p in source])

    assert np.array_equal(asyncio.run(run()), a)
    assert np.array_equal(asyncio.run(run()), a)  # another pass


def test_not_closed_to_the_end(tmp_path: Path) -> None:
    """Abandoning the iterator leaves no open file and no thread behind; warnings are errors here."""
    packets = source_of(tmp_path / "a", Aedat4File().events(events_of(50)).finished()).packets()
    next(packets)
    packets.close()  # type: ignore[attr-defined]


WRITE_WITH_DV = """
import sys, dv_processing as dv, numpy as np
path, compression = sys.argv[1:]
config = dv.io.MonoCameraWriter.Config("cam")
config.addEventStream((346, 260)); config.addImuStream(); config.addTriggerStream()
config.compression = getattr(dv.CompressionType, compression)
writer = dv.io.MonoCameraWriter(path, config)
for k in range(3):
    store = dv.EventStore()
    for i in range(2000):
        store.push_back(10**15 + 10000 * k + i, i % 346, i % 260, i % 3 == 0)
    writer.writeEvents(store)
    writer.writeTrigger(dv.Trigger(10**15 + 10000 * k, dv.TriggerType.TIMESTAMP_RESET))
"""


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH"])
def test_files_of_dv_processing(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "dv.aedat4"
    subprocess.run([sys.executable, "-c", WRITE_WITH_DV, str(path), compression], check=True, timeout=60)
    source = open_source(path)
    assert isinstance(source, Aedat4Source)
    events, error = drain(source)
    i = np.tile(np.arange(2000), 3)
    assert error is None
    assert np.array_equal(events["t"], 10**15 + i + np.repeat([0, 10000, 20000], 2000))
    assert np.array_equal(events["x"], i % 346) and np.array_equal(events["y"], i % 260)
    assert np.array_equal(events["p"], i % 3 == 0)
    assert {s["type"]: s["packets"] for s in source.describe()["streams"]} == {"EVTS": 3, "IMUS": 0, "TRIG": 1}


@pytest.mark.parametrize(
    ("name", "size", "sums"),
    [
        ("davis346", (346, 260), (78830, 2359945, 90875505184, 14861513, 15061593, 41257)),
        ("dvs320x240", (320, 240), (111954, 589917, 31685685498, 18342405, 15105898, 55023)),
    ],
)
def test_real_recordings(recordings: Path, name: str, size: tuple[int, int], sums: tuple[int, ...]) -> None:
    source = open_source(recordings / f"{name}.aedat4")
    assert isinstance(source, Aedat4Source)
    e, error = drain(source)
    assert error is None
    t = e["t"] - e["t"][0]
    columns = (len(e), t.max(), t.sum(), e["x"].sum(dtype=int), e["y"].sum(dtype=int), e["p"].sum())
    assert tuple(map(int, columns)) == sums
    packet = next(source.packets())
    assert (packet.width, packet.height) == size


def test_real_recording_without_events(recordings: Path) -> None:
    source = open_source(recordings / "frames_only.aedat4")
    assert isinstance(source, Aedat4Source)
    with pytest.raises(InputError, match=r"no event stream in it, only 0 \(FRME 2×2\)"):
        next(source.packets())


@pytest.mark.parametrize("option", ["from", "to", "shift", "sort"])
def test_a_followed_file_refuses_the_options_of_time(tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"'{option}' is not for a recording that is followed"):
        Aedat4Source.from_options(path=tmp_path / "a", follow=True, **{option: "true" if option == "sort" else "1s"})
