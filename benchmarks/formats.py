"""Every format that is measured: what writes its file, what reads it here, and which other packages do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from text_readers import TEXT

from stream_ottt.events.packet import EventArray, make_events, split_well_formed
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.prophesee.base import parse_header

WIDTH, HEIGHT = 346, 260
Reader = Callable[[Path], int]
"""Reads a whole file into event arrays, one piece after the other, and returns how many events it held."""


def recording(n: int) -> EventArray:
    """``n`` events of edges that sweep over the sensor, with noise, at a million events a second."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.integers(0, 3, n)) + 1_000_000
    edge = t // 500 + rng.integers(-3, 4, n)
    noise = rng.random(n) < 0.1
    x = np.where(noise, rng.integers(0, WIDTH, n), edge % WIDTH)
    return make_events(x, rng.integers(0, HEIGHT, n), t, rng.random(n) < 0.5)


def ours(path: Path) -> int:
    """Read with stream_ottt and validate, as a run does before binning."""
    sized = path.suffix in (".npy", ".h5")
    source = open_source({"uri": str(path), **({"width": WIDTH, "height": HEIGHT} if sized else {})})
    assert isinstance(source, BlockingSource)
    return sum(len(split_well_formed(packet)[0]) for packet in source.packets())


def aedat(path: Path) -> int:
    """Read AEDAT4 with the package aedat."""
    import aedat

    return sum(len(packet["events"]) for packet in aedat.Decoder(str(path)) if "events" in packet)


def faery(path: Path) -> int:
    """Read with the package faery."""
    import faery

    return sum(len(packet) for packet in faery.events_stream_from_file(path))


def dv_processing(path: Path) -> int:
    """Read AEDAT4 with the package dv-processing."""
    import dv_processing

    recording = dv_processing.io.MonoCameraRecording(str(path))
    n = 0
    while (batch := recording.getNextEventBatch()) is not None:
        n += len(batch.numpy())
    return n


def expelliarmus(path: Path) -> int:
    """Read EVT 2.0 or DAT with the package expelliarmus, in pieces of its own default size."""
    from expelliarmus import Wizard

    return sum(map(len, Wizard("dat" if path.suffix == ".dat" else "evt2", path).read_chunk()))


def expelliarmus_64k(path: Path) -> int:
    """The same in pieces of 65536 events, where it is fastest."""
    from expelliarmus import Wizard

    encoding = "dat" if path.suffix == ".dat" else "evt2"
    return sum(map(len, Wizard(encoding, path, chunk_size=1 << 16, buff_size=1 << 16).read_chunk()))


def expelliarmus_whole(path: Path) -> int:
    """The same into one array."""
    from expelliarmus import Wizard

    return len(Wizard("dat" if path.suffix == ".dat" else "evt2").read(path))


def evt3_columns(path: Path) -> int:
    """Read EVT 3.0 with the package evt3 in pieces, into four separate arrays."""
    import evt3

    decoder = evt3.Decoder()
    with path.open("rb") as file:
        file.seek(parse_header(file.read(1 << 16)).size)
        return sum(len(decoder.feed(data)) for data in iter(lambda: file.read(1 << 16), b""))


def evt3_whole(path: Path) -> int:
    """Read EVT 3.0 with the package evt3 into one set of arrays."""
    import evt3

    return len(evt3.decode_file(str(path)))


def event_stream(path: Path) -> int:
    """Read Event Stream with the package event_stream."""
    import event_stream

    with event_stream.Decoder(str(path)) as decoder:
        return sum(len(packet) for packet in decoder)


def numpy_npy(path: Path) -> int:
    """Read NPY with numpy, into one array."""
    return len(np.load(path))


def numpy_npz(path: Path) -> int:
    """Read NPZ with numpy, into one array a column."""
    with np.load(path) as file:
        return min(len(file[name]) for name in "txyp")


def h5py_columns(path: Path) -> int:
    """Read HDF5 with h5py in pieces, into four separate arrays."""
    import h5py

    with h5py.File(path) as file:
        group = file["events"]
        n = len(group["t"])
        for start in range(0, n, 1 << 16):
            for name in "txyp":
                group[name][start : start + (1 << 16)]
    return n


def tonic_mnist(path: Path) -> int:
    """Read N-MNIST's records with tonic, into one array."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tonic.io import read_mnist_file

        return len(read_mnist_file(str(path), np.dtype([("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])))


def write_evt3(path: Path, events: EventArray) -> None:
    """Write EVT 3.0 with the package faery, which packs neighbouring pixels together."""
    import faery

    theirs = np.zeros(len(events), faery.EVENTS_DTYPE)
    for key, ours_key in (("t", "t"), ("x", "x"), ("y", "y"), ("on", "p")):
        theirs[key] = events[ours_key]
    faery.events_stream_from_array(theirs, (WIDTH, HEIGHT)).to_file(path, version="evt3")


def write_evt21(path: Path, events: EventArray) -> None:
    """A word for each event, and one before it where the time's upper part changes."""
    t, x, y, p = (events[name].astype("<u8") for name in "txyp")
    changes = np.diff(t >> 6, prepend=np.uint64(0)) != 0
    at = np.arange(len(t)) + np.cumsum(changes)
    words = np.empty(int(at[-1]) + 1, "<u8")
    words[at] = (p << 28 | (t & 0x3F) << 22 | (x & ~np.uint64(31)) << 11 | y) << 32 | np.uint64(1) << (x & 31)
    words[at[changes] - 1] = (0x8 << 28 | (t >> 6)[changes]) << 32
    header = f"% evt 2.1\n% geometry {WIDTH}x{HEIGHT}\n% end\n"
    path.write_bytes(header.encode() + words.tobytes())


EVENT_PACKET = "event_camera_msgs/msg/EventPacket"


def ros_types() -> Any:
    """The package rosbags' types of ROS 1, with that of event cameras' messages."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    fields = "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"
    types = get_typestore(Stores.ROS1_NOETIC)
    types.register(get_types_from_msg(f"{fields}bool is_bigendian\nuint8[] events\n", EVENT_PACKET))
    return types


def write_rosbag(path: Path, events: EventArray) -> None:
    """A bag of ROS 1 with messages of 8,192 words of EVT 3.0, as cameras' drivers record it."""
    from rosbags.rosbag1 import Writer

    raw = path.with_suffix(".raw")
    write_evt3(raw, events)
    data = np.fromfile(raw, np.uint8)[parse_header(raw.read_bytes()).size :]
    types = ros_types()
    stamp = types.types["builtin_interfaces/msg/Time"](0, 0)
    header = types.types["std_msgs/msg/Header"](0, stamp, "camera")
    with Writer(path) as bag:
        connection = bag.add_connection("/events", EVENT_PACKET, typestore=types)
        for i in range(0, len(data), 1 << 14):
            message = types.types[EVENT_PACKET](header, HEIGHT, WIDTH, i, 0, "evt3", False, data[i : i + (1 << 14)])
            bag.write(connection, i, types.serialize_ros1(message, EVENT_PACKET))


def rosbags_and_evt3(path: Path) -> int:
    """Read a bag of EVT 3.0 with the packages rosbags and evt3, into four separate arrays."""
    import evt3
    from rosbags.rosbag1 import Reader

    types, decoder, n = ros_types(), evt3.Decoder(), 0
    with Reader(path) as bag:
        for connection, _, data in bag.messages():
            n += len(decoder.feed(types.deserialize_ros1(data, connection.msgtype).events.tobytes()))
    return n


def write_aedat2(path: Path, e: EventArray) -> None:
    """A DVS128's words; coordinates are taken modulo its 128 pixels."""
    words = np.empty((len(e), 2), ">u4")
    words[:, 0] = (127 - e["y"] % 128).astype(int) << 8 | (127 - e["x"] % 128).astype(int) << 1 | ~e["p"]
    words[:, 1] = e["t"]
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n" + words.tobytes())


def write_aedat31(path: Path, events: EventArray) -> None:
    """A DAVIS346's packets of 8192 events."""
    with path.open("wb") as file:
        file.write(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DAVIS346\r\n#!END-HEADER\r\n")
        for start in range(0, len(events), 8192):
            e = events[start : start + 8192]
            words = np.empty((len(e), 2), "<u4")
            words[:, 0] = e["x"].astype(int) << 17 | e["y"].astype(int) << 2 | e["p"].astype(int) << 1 | 1
            words[:, 1] = e["t"]
            file.write(struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, len(e), len(e), len(e)) + words.tobytes())


def write_npy(path: Path, events: EventArray) -> None:
    """The events as they are in memory."""
    np.save(path, events)


def write_hdf5(path: Path, events: EventArray) -> None:
    """DSEC's layout, not packed."""
    import h5py

    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", data=events[name], chunks=(1 << 16,))


def write_nmnist(path: Path, events: EventArray) -> None:
    """40-bit records on 34×34 pixels; every 4096 events time begins again, as in its short samples."""
    t = np.arange(len(events)) % 4096 | events["p"].astype(int) << 23
    columns = [events["x"] % 34, events["y"] % 34, t >> 16, t >> 8 & 0xFF, t & 0xFF]
    path.write_bytes(np.stack(columns, axis=1).astype(np.uint8).tobytes())


def aedat4_with(compression: str) -> Callable[[Path, EventArray], None]:
    """A writer of AEDAT4 with another compression than its usual LZ4."""

    def write(path: Path, events: EventArray) -> None:
        with WRITERS.get("aedat4")(path, WIDTH, HEIGHT, compression=compression) as out:
            out.write(events)

    return write


@dataclass(frozen=True)
class Format:
    """One line of the table's subject.

    Attributes:
        suffix: of its file's name.
        rivals: who else reads it.
        write: what writes the file; None for this package's own writer.
    """

    suffix: str
    rivals: tuple[Reader, ...] = ()
    write: Callable[[Path, EventArray], None] | None = None

    def make(self, name: str, path: Path, events: EventArray) -> None:
        """Write ``events`` as format ``name``."""
        if self.write is not None:
            self.write(path, events)
            return
        with WRITERS.get(name)(path, WIDTH, HEIGHT) as out:
            out.write(events)


AEDAT4 = (aedat, faery, dv_processing)
EXPELLIARMUS = (expelliarmus, expelliarmus_64k, expelliarmus_whole)

FORMATS = {
    "aedat4": Format(".aedat4", AEDAT4),
    "aedat4-zstd": Format(".aedat4", AEDAT4, aedat4_with("zstd")),
    "aedat4-none": Format(".aedat4", AEDAT4, aedat4_with("none")),
    "aedat31": Format(".aedat", (), write_aedat31),
    "aedat2": Format(".aedat", (), write_aedat2),
    "evt2": Format(".raw", (*EXPELLIARMUS, faery)),
    "evt21": Format(".raw", (), write_evt21),
    "evt3": Format(".raw", (evt3_columns, evt3_whole, faery), write_evt3),
    "rosbag": Format(".bag", (rosbags_and_evt3,), write_rosbag),
    "dat": Format(".dat", (*EXPELLIARMUS, faery)),
    "es": Format(".es", (event_stream, faery)),
    "csv": Format(".csv", (faery, *TEXT)),
    "npy": Format(".npy", (numpy_npy,), write_npy),
    "npz": Format(".npz", (numpy_npz,)),
    "hdf5": Format(".h5", (h5py_columns,), write_hdf5),
    "nmnist": Format(".bin", (tonic_mnist,), write_nmnist),
}
