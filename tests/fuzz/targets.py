"""What is fuzzed: each reader of the program takes bytes or refuses them in one line, from inputs that are good.

The inputs to begin with are made by the tests' own writers. What once was a fault lies in ``corpus/``, in a folder of
its target.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from aedat4_files import Aedat4File, info_xml, stream_xml
from ros_files import ARRAY, PACKET, ROS2, array, db3, mcap_file, mono, packet
from source_recipes import FILES, SIDE, FileRecipe, some_events

from stream_ottt.errors import InputError, ModelError, UsageError
from stream_ottt.events.packet import split_well_formed
from stream_ottt.labels.alignment import misfit, shift_of
from stream_ottt.labels.merging import merge_labels
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.live import feed
from stream_ottt.live.commands import COMMANDS
from stream_ottt.live.control import ControlServer
from stream_ottt.run.config import RunConfig
from stream_ottt.run.presets import REPLAYS, RUNS, TABLES
from stream_ottt.sources.aedat4.decoder import Aedat4Decoder
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.udp import UdpSource
from stream_ottt.sources.zmq import ZmqSource

CORPUS = Path(__file__).parent / "corpus"
REFUSALS = (InputError, UsageError, ModelError)
MOST_PACKETS = 10_000

Reader = Callable[[bytes], None]


class Target(NamedTuple):
    """A reader.

    Attributes:
        seeds: good inputs, made in an empty folder.
        reader: what reads an input, with a folder of its own; raises REFUSALS.
    """

    seeds: Callable[[Path], list[bytes]]
    reader: Callable[[Path], AbstractContextManager[Reader]]

    def inputs(self, name: str, folder: Path) -> list[bytes]:
        """The seeds, and what lies in the corpus."""
        return [*self.seeds(folder), *(file.read_bytes() for file in sorted((CORPUS / name).glob("*")))]


def refuses(read: Reader, data: bytes) -> bool:
    """Whether an input is refused, in one line; anything else that is raised is a fault."""
    try:
        read(data)
    except REFUSALS as e:
        assert "\n" not in str(e), str(e)
        return True
    return False


# --- recordings ----------------------------------------------------------------------------------------------------


def written(write: Callable[[Path], Any], path: Path) -> bytes:
    write(path)
    return path.read_bytes()


def by_recipe(recipe: FileRecipe, folder: Path) -> list[bytes]:
    return [written(lambda path: recipe.write(path, some_events()), folder / f"seed{recipe.suffix}")]


@contextmanager
def read_recording(folder: Path, *, suffix: str = "", **options: Any) -> Iterator[Reader]:
    path = folder / f"recording{suffix}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = open_source({"uri": str(path), **options})
        with closing(source.excerpt()) as packets:  # type: ignore[attr-defined]
            for number, each in enumerate(packets):
                split_well_formed(each)
                assert number < MOST_PACKETS

    yield read


def aedat4s(folder: Path) -> list[bytes]:
    files = [Aedat4File(compression, info_xml(stream_xml(0, "EVTS", (SIDE, SIDE)))) for compression in range(5)]
    return [file.events(some_events()).finished() for file in files] + by_recipe(FILES["aedat4"], folder)


def mcaps(folder: Path) -> list[bytes]:
    size = {"types": ROS2, "size": (SIDE, SIDE)}
    packets = [("/events", PACKET, packet(mono(some_events()), "mono", **size))]
    arrays = [("/events", ARRAY, array(some_events(), **size))]
    return [
        written(lambda path: mcap_file(path, packets, compression="zstd"), folder / "a.mcap"),
        written(lambda path: mcap_file(path, arrays, chunk_size=0), folder / "b.mcap"),
    ]


def db3s(folder: Path) -> list[bytes]:
    message = packet(mono(some_events()), "mono", types=ROS2, size=(SIDE, SIDE))
    return [written(lambda path: db3(path, [("/events", PACKET, message)]), folder / "a.db3")]


def packed(folder: Path) -> list[bytes]:
    """A recording in each packing; which format it is, is found out."""
    inside = by_recipe(FILES["es"], folder)[0]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("events.es", inside)
    packings = gzip.compress(inside, mtime=0), bz2.compress(inside), lzma.compress(inside), zstandard.compress(inside)
    return [archive.getvalue(), *packings]


def unknown(folder: Path) -> list[bytes]:
    return [seed for recipe in FILES.values() for seed in by_recipe(recipe, folder)]


# --- what comes over sockets -----------------------------------------------------------------------------------------


def framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def unframed(data: bytes) -> Iterator[bytes]:
    """What :func:`framed` joined; one input is several messages, as what comes first decides over the rest."""
    while data:
        end = 2 + int.from_bytes(data[:2], "little")
        yield data[2:end]
        data = data[end:]


def feeds(folder: Path) -> list[bytes]:
    events, label = some_events(), LabelInterval(1000, 1100, 1, "cup")
    halves = feed.pack_events("cam", 0, events[:30], SIDE, SIDE), feed.pack_events("cam", 1, events[30:], SIDE, SIDE)
    end = feed.pack_events("cam", 2, events[:0], SIDE, SIDE, eos=True)
    named = feed.pack_events("cam", 5, events[:5], SIDE, SIDE, sender=feed.new_sender())
    labels = feed.pack_label("cam", label), feed.pack_label("cam", LabelInterval(5, 6, -1, "cup"), sender="ab")
    said = feed.pack_prediction("cam", {"label": 1})
    streams = (halves[0], labels[0], halves[1], end), (halves[0], named, labels[1], said)
    return [framed(*(feed.join_frames(message) for message in stream)) for stream in streams]


@contextmanager
def read_feed(folder: Path) -> Iterator[Reader]:
    def read(data: bytes) -> None:
        source = ZmqSource.from_options(address="zmq+pull://127.0.0.1:1")
        source.on_label = str
        for message in unframed(data):
            try:
                frames = feed.split_frames(message)
            except feed.FeedError as e:
                source.refuse(e)
                continue
            taken, _ = source.take(frames)
            if taken is not None:
                split_well_formed(taken)
        json.dumps(source.statistics())

    yield read


@contextmanager
def read_datagrams(folder: Path) -> Iterator[Reader]:
    formats = "spif", "t64_x16_y16_on8", "t32_x16_y15_on1"

    def read(data: bytes) -> None:
        for name in formats:
            source = UdpSource.from_options(address="udp://127.0.0.1:0", format=name, width=SIDE, height=SIDE)
            for datagram in unframed(data):
                source._decode(datagram)

    yield read


def datagrams(folder: Path) -> list[bytes]:
    words = [b"\0\0\0\0" + (1000).to_bytes(4, "little"), b"\1\0\1\x80" * 2, b"\1\0\0\0\1\0\2\0"]
    return [framed(bytes(feed.to_wire(some_events(3)).tobytes())), framed(*words), framed(*words, *words)]


@contextmanager
def read_network(folder: Path) -> Iterator[Reader]:
    """AEDAT4 as it comes over TCP, in two pieces."""

    def read(data: bytes) -> None:
        decoder = Aedat4Decoder("tcp://127.0.0.1:1", None, 1 << 20)
        for piece in data[: len(data) // 2], data[len(data) // 2 :]:
            for events in decoder.feed(piece):
                assert len(events) < 1 << 20
        decoder.close()

    yield read


def commands(folder: Path) -> list[bytes]:
    asked = {"class": "cup", "last": 1000, "t": 5, "value": "2x"}
    return [json.dumps({"v": 1, "command": name, **asked}).encode() for name in COMMANDS]


@contextmanager
def read_command(folder: Path) -> Iterator[Reader]:
    """The control socket's answers; the run has not begun, so what would be done is refused at last."""
    from helpers import ListSource, labelled_events, pipeline_of, small_session

    from stream_ottt.live.inputs import LiveInputs

    pipeline = pipeline_of(ListSource(labelled_events(0, 1)), [], small_session(LabelTimeline()))
    inputs = LiveInputs(pipeline, key_span=1000, labels=True, save=str, status=lambda _: {})

    async def begin() -> ControlServer:
        inputs.open_control("zmq+rep://127.0.0.1:0")
        assert inputs._control is not None
        return inputs._control

    def read(data: bytes) -> None:
        answer = runner.run(server._answer([data]))
        json.dumps(answer)
        if not answer["ok"]:
            assert not answer["error"].startswith("the command failed"), answer
            raise UsageError(answer["error"])

    with asyncio.Runner() as runner:
        server = runner.run(begin())
        yield read
        runner.run(inputs.close())


# --- other files -----------------------------------------------------------------------------------------------------


def label_files(folder: Path) -> list[bytes]:
    head = b"class,startTime_usec,endTime_usec"
    return [head + b"\n1,1000,2000\r\n\n2,3000.0,4000\n", head + b",name\ncup,1,2\n", head + b',name\n1,1,2,"a, b"\n']


@contextmanager
def read_labels(folder: Path) -> Iterator[Reader]:
    path = folder / "labels.csv"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        intervals = read_label_csv(path).intervals
        timeline = LabelTimeline(intervals, name="labels.csv")
        merge_labels([intervals, list(timeline)])
        span = timeline.span
        if span is not None:
            for stream in (0, None), (10**15, None), (10**6, 2 * 10**6):
                misfit(span, stream, name="labels.csv")
            timeline.shifted(shift_of("auto", span, 10**6, name="labels.csv")).boundaries()

    yield read


def presets(kind: Any, folder: Path) -> list[bytes]:
    return [kind.find(name).read_bytes() for name in kind.names()]


@contextmanager
def read_settings(kind: Any, folder: Path) -> Iterator[Reader]:
    from stream_ottt.replay.config import ReplayConfig
    from stream_ottt.replay.tables import Table

    path = folder / "settings.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        if kind is TABLES:
            Table.named(str(path))
        else:
            (RunConfig if kind is RUNS else ReplayConfig).load(kind.read(str(path)))
        kind.title(str(path))

    yield read


def models(folder: Path) -> list[bytes]:
    from stream_ottt.learning.build import build_learner
    from stream_ottt.learning.config import LearnerConfig
    from stream_ottt.network.config import NetworkConfig
    from stream_ottt.network.topologies import build_network
    from stream_ottt.run.models import save_model

    out = []
    for rule in ({}, {"optimizer": "adam", "average": 10}):
        config = NetworkConfig(layers=(2, "AP2"))
        network = build_network(config, input_shape=(2, 4, 4), classes=2)
        learner = build_learner(network, config=LearnerConfig(**rule), classes=[0, 1])
        save_model(folder / "m", learner, network=config, class_names={0: "cup", 1: "mug"})
        out.append((folder / "m").read_bytes())
    return out


@contextmanager
def read_model(folder: Path) -> Iterator[Reader]:
    from stream_ottt.run.models import load_model

    path = folder / "m.safetensors"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        load_model(path)

    yield read


TARGETS = {
    **{
        name: Target(
            aedat4s if name == "aedat4" else partial(by_recipe, recipe),
            partial(read_recording, suffix=recipe.suffix, format=name, **recipe.options),
        )
        for name, recipe in FILES.items()
    },
    "mcap": Target(mcaps, partial(read_recording, suffix=".mcap", format="rosbag")),
    "db3": Target(db3s, partial(read_recording, suffix=".db3", format="rosbag")),
    "packed": Target(packed, read_recording),
    "unknown": Target(unknown, read_recording),
    "feed": Target(feeds, read_feed),
    "datagrams": Target(datagrams, read_datagrams),
    "network": Target(aedat4s, read_network),
    "commands": Target(commands, read_command),
    "labels": Target(label_files, read_labels),
    "run-settings": Target(partial(presets, RUNS), partial(read_settings, RUNS)),
    "replay-settings": Target(partial(presets, REPLAYS), partial(read_settings, REPLAYS)),
    "tables": Target(partial(presets, TABLES), partial(read_settings, TABLES)),
    "model": Target(models, read_model),
}
