"""One small input for each source, and the events that are in it: what the test of the sources' contract reads."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aedat4_files import Aedat4File, info_xml, stream_xml
from ros_files import PACKET, mono, packet, ros1_bag

from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed
from stream_ottt.live.zenoh_peer import ZenohOptions, ZenohSender
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.pipeline.source import Source
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.camera import CameraConfig, CameraSource
from stream_ottt.sources.opening import open_source

SIDE = 34
"""Pixels along both sides: what every format can say, N-MNIST's included."""
N = 60
PER_PACKET = 8192
"""Events in a packet, where a format has packets."""
LIMIT = 60.0


def some_events(n: int = N) -> EventArray:
    i = np.arange(n)
    return make_events(i * 7 % SIDE, i * 5 % SIDE, 1000 + i * 10, i % 3 == 0)


@dataclass(frozen=True)
class FileRecipe:
    """A file of one format.

    Attributes:
        write: fills a file with events.
        suffix: of the file.
        size: sensor that the source must report.
        options: what the file does not say.
        cut: how many bytes to cut off, so that the last event is damaged or gone.
        kept: how many of the N events come before the damage. A bag ends with an index, which is not needed; NPZ and
            HDF5 are not read without what stands at their end.
        offset: whether the damage's place is known.
    """

    write: Callable[[Path, EventArray], None]
    suffix: str = ""
    size: tuple[int, int] = (SIDE, SIDE)
    options: dict[str, Any] = field(default_factory=dict)
    cut: int = 1
    kept: int = N - 1
    offset: bool = True


@dataclass(frozen=True)
class StreamRecipe:
    """Any other source.

    Attributes:
        start: given a folder, an open source that will end by itself, and the events expected from it (None: whatever
            the same options give).
        uri: of one that needs nothing but is not read.
        option: one of its options.
        size: sensor that the source must report.
        labels: what it must know of labels.
        ends: False when its end is an InputError.
    """

    start: Callable[[Path], Any]
    uri: str
    option: str
    size: tuple[int, int] = (SIDE, SIDE)
    labels: list[LabelInterval] | None = None
    ends: bool = True


def by_writer(name: str) -> Callable[[Path, EventArray], None]:
    def write(path: Path, events: EventArray) -> None:
        with WRITERS.get(name)(path, SIDE, SIDE) as writer:
            writer.write(events)

    return write


def write_aedat4(path: Path, events: EventArray) -> None:
    """Without a data table, so that the end of the last packet is the end of the file."""
    file = Aedat4File(xml=info_xml(stream_xml(0, "EVTS", (SIDE, SIDE))))
    for part in np.array_split(events, 2 + len(events) // PER_PACKET):
        file.events(part)
    path.write_bytes(file.unfinished())


def write_aedat2(path: Path, e: EventArray) -> None:
    words = np.empty((len(e), 2), ">u4")
    words[:, 0] = (127 - e["y"].astype(int)) << 8 | (127 - e["x"].astype(int)) << 1 | ~e["p"]
    words[:, 1] = e["t"]
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n" + words.tobytes())


def write_aedat31(path: Path, events: EventArray) -> None:
    data = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    for e in np.array_split(events, 2 + len(events) // PER_PACKET):
        words = np.empty((len(e), 2), "<u4")
        words[:, 0] = e["x"].astype(int) << 17 | e["y"].astype(int) << 2 | e["p"].astype(int) << 1 | 1
        words[:, 1] = e["t"]
        data += struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, len(e), len(e), len(e)) + words.tobytes()
    path.write_bytes(data)


def write_evt3(path: Path, e: EventArray) -> None:
    t, x, y, p = (e[k].astype(int) for k in "txyp")
    words = np.stack([0x8000 | t >> 12, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x], axis=1)
    header = f"% evt 3.0\n% geometry {SIDE}x{SIDE}\n% end\n".encode()
    path.write_bytes(header + words.astype("<u2").tobytes())


def write_npy(path: Path, events: EventArray) -> None:
    np.save(path, events)


def write_hdf5(path: Path, events: EventArray) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["width"] = file.attrs["height"] = SIDE
        for name in "xytp":
            file[f"events/{name}"] = events[name]


def write_mat(path: Path, events: EventArray) -> None:
    from scipy.io import savemat

    savemat(path, {name: events[name] for name in "xytp"}, appendmat=False)


def write_nmnist(path: Path, e: EventArray) -> None:
    t = e["t"] | e["p"].astype(int) << 23
    path.write_bytes(np.stack([e["x"], e["y"], t >> 16, t >> 8 & 0xFF, t & 0xFF], axis=1).astype(np.uint8).tobytes())


def write_rosbag(path: Path, events: EventArray) -> None:
    parts = np.array_split(events, 2 + len(events) // PER_PACKET)
    data = [packet(mono(part), "mono", size=(SIDE, SIDE)) for part in parts]
    ros1_bag(path, [("/events", PACKET, message) for message in data])


def write_evt21(path: Path, e: EventArray) -> None:
    t, x, y, p = (e[k].astype("<u8") for k in "txyp")
    head = np.stack([0x8 << 28 | t >> 6, p << 28 | (t & 0x3F) << 22 | x << 11 | y], axis=1)
    pixels = np.broadcast_to(np.array([0, 1], "<u8"), head.shape)
    header = f"% evt 2.1\n% geometry {SIDE}x{SIDE}\n% end\n".encode()
    path.write_bytes(header + (head << 32 | pixels).astype("<u8").tobytes())


def shifted(events: EventArray, t: int) -> EventArray:
    """The same events, the first at ``t``."""
    out = events.copy()
    out["t"] += t - out["t"][0]
    return out


SPAN = int(some_events()["t"][-1] - some_events()["t"][0]) + 1


@asynccontextmanager
async def from_folder(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    for name in ("a", "b"):
        (folder / name).mkdir()
        by_writer("es")(folder / name / "1.es", some_events())
    events = some_events()
    yield open_source(folder), np.concatenate([shifted(events, 0), shifted(events, SPAN)])


@asynccontextmanager
async def from_images(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    import cv2

    for name in ("a", "b"):
        (folder / name).mkdir()
        image = np.random.default_rng(ord(name)).integers(0, 256, (12, 12), np.uint8)
        for part in ("1", "2"):  # one to train, one to test
            cv2.imwrite(str(folder / name / f"{part}.png"), image)
    yield open_source(f"rcls:{folder}?size={SIDE}&loops=1&loop=16ms"), None


@asynccontextmanager
async def from_tonic(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    if find_spec("tonic") is None:
        pytest.skip("tonic is not installed")
    for name in ("3", "7"):
        (folder / "NMNIST" / "Test" / name).mkdir(parents=True)
        write_nmnist(folder / "NMNIST" / "Test" / name / "00001.bin", some_events())
    events = some_events()
    source = open_source(f"tonic:NMNIST?root={folder}&train=false")
    yield source, np.concatenate([shifted(events, 0), shifted(events, SPAN)])


@asynccontextmanager
async def from_scene(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    yield open_source("synthetic:?presentations=2&duration=100ms&pause=50ms"), None


@asynccontextmanager
async def from_stdin(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    write_aedat4(folder / "input", some_events())
    before = sys.stdin
    with (folder / "input").open() as sys.stdin:
        yield open_source("-?format=aedat4"), some_events()
    sys.stdin = before


@asynccontextmanager
async def from_zmq(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True))

    async def send() -> None:
        for seq, part in enumerate((some_events(), some_events(0))):
            await sender.send(feed.pack_events("cam", seq, part, SIDE, SIDE, eos=not len(part)), LIMIT)

    sending = asyncio.create_task(send())
    yield open_source(sender.endpoint.replace("tcp", "zmq+pull")), some_events()
    await sending
    await sender.close()


@asynccontextmanager
async def from_zenoh(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    endpoint = f"tcp/127.0.0.1:{free_port()}"
    sender = ZenohSender("zenoh://cams/left", ZenohOptions(listen=endpoint))

    async def send() -> None:
        await sender.wait_for_readers(1, b"", LIMIT)
        for seq, part in enumerate((some_events(), some_events(0))):
            await sender.send(feed.pack_events("cam", seq, part, SIDE, SIDE, eos=not len(part)))

    sending = asyncio.create_task(send())
    try:
        yield open_source(f"zenoh://cams/*?connect={endpoint}"), some_events()
        await sending
    finally:
        await sender.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has: a Zenoh peer does not tell which one it took."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def from_tcp(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    write_aedat4(folder / "sent", some_events())

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((folder / "sent").read_bytes())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield open_source(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"), some_events()


@asynccontextmanager
async def from_udp(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    source = open_source(f"udp://127.0.0.1:0?format=t64_x16_y16_on8&width={SIDE}&height={SIDE}&idle=300ms")

    async def send() -> None:
        while not source.port:  # type: ignore[attr-defined]  # noqa: ASYNC110 - until it is bound
            await asyncio.sleep(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            payload = feed.pack_events("cam", 0, some_events(), SIDE, SIDE)[2]
            sock.sendto(payload, ("127.0.0.1", source.port))  # type: ignore[attr-defined]

    sending = asyncio.create_task(send())
    yield source, some_events()
    await sending


class ListCamera:
    """Gives its events in two batches, a silence between, and is then gone."""

    name, size, lost = "list", (SIDE, SIDE), 0

    def __init__(self) -> None:
        self._batches = [*np.array_split(some_events(), 2)[:1], None, *np.array_split(some_events(), 2)[1:]]

    def batch(self) -> EventArray | None:
        return self._batches.pop(0) if self._batches else None

    def running(self) -> bool:
        return bool(self._batches)

    def close(self) -> None:
        self._batches = []


@asynccontextmanager
async def from_camera(folder: Path) -> AsyncIterator[tuple[Source, EventArray | None]]:
    yield CameraSource(CameraConfig(), lambda serial, driver: ListCamera()), some_events()


FILES = {
    "aedat4": FileRecipe(write_aedat4, kept=N // 2),
    "aedat2": FileRecipe(write_aedat2, size=(128, 128)),
    "aedat31": FileRecipe(write_aedat31, size=(128, 128)),
    "evt2": FileRecipe(by_writer("evt2")),
    "evt21": FileRecipe(write_evt21),
    "evt3": FileRecipe(write_evt3),
    "dat": FileRecipe(by_writer("dat"), ".dat"),
    "rosbag": FileRecipe(write_rosbag, ".bag", kept=N),
    "es": FileRecipe(by_writer("es")),
    "npz": FileRecipe(by_writer("npz"), ".npz", kept=0, offset=False),
    "npy": FileRecipe(write_npy, ".npy", options={"width": SIDE, "height": SIDE}),
    "hdf5": FileRecipe(write_hdf5, kept=0, offset=False),
    "mat": FileRecipe(write_mat, ".mat", options={"width": SIDE, "height": SIDE}, cut=20, kept=0, offset=False),
    "csv": FileRecipe(by_writer("csv"), cut=3),
    "nmnist": FileRecipe(write_nmnist),
}
STREAMS = {
    "synthetic": StreamRecipe(from_scene, "synthetic:", "seed", (128, 128)),
    "rcls": StreamRecipe(from_images, "rcls:.", "loops"),
    "folder": StreamRecipe(
        from_folder, ".?format=folder", "limit", labels=[LabelInterval(0, SPAN, 0), LabelInterval(SPAN, 2 * SPAN, 1)]
    ),
    "tonic": StreamRecipe(
        from_tonic, "tonic:NMNIST?root=.", "limit", labels=[LabelInterval(0, SPAN, 3), LabelInterval(SPAN, 2 * SPAN, 7)]
    ),
    "stdin": StreamRecipe(from_stdin, "-?format=aedat4", "stream"),
    "zmq": StreamRecipe(from_zmq, "zmq+pull://127.0.0.1:1", "topic"),
    "zenoh": StreamRecipe(from_zenoh, "zenoh://cams/left?connect=tcp/127.0.0.1:1", "topic"),
    "tcp": StreamRecipe(from_tcp, "tcp://127.0.0.1:1", "reconnect"),
    "udp": StreamRecipe(from_udp, "udp://127.0.0.1:0?width=1&height=1", "idle"),
    "camera": StreamRecipe(from_camera, "camera://", "driver", ends=False),
}
