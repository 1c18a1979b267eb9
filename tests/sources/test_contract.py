"""What every source promises, checked on every source in the registry. A new one needs a recipe in source_recipes."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from contextlib import aclosing, nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from source_recipes import FILES, LIMIT, STREAMS, FileRecipe, some_events

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray, EventPacket, split_well_formed
from stream_ottt.pipeline.source import FileSource, Source, SourceConfig
from stream_ottt.sources import SOURCES
from stream_ottt.sources.opening import open_source

MANY = 150_000


def written(folder: Path, name: str, events: EventArray | None = None) -> Path:
    recipe = FILES[name]
    path = folder / f"recording{recipe.suffix}"
    recipe.write(path, some_events() if events is None else events)
    return path


def opened(path: Path, name: str) -> Source:
    return open_source({"uri": str(path), "format": name, **FILES[name].options})


async def read(source: Source, *, ends: bool = True) -> list[EventPacket]:
    packets: list[EventPacket] = []
    async with asyncio.timeout(LIMIT), aclosing(aiter(source)) as stream:  # type: ignore[type-var]
        with nullcontext() if ends else pytest.raises(InputError):
            async for packet in stream:
                packets.append(packet)
    return packets


def checked(packets: list[EventPacket], size: tuple[int, int]) -> EventArray:
    """The events of some packets, each of which is as it should be."""
    for packet in packets:
        assert isinstance(packet, EventPacket) and 0 < len(packet) <= 2 * PACKET_EVENTS
        assert packet.events.dtype == EVENT_DTYPE and packet.events.ndim == 1
        assert (packet.width, packet.height) == size
        _, malformed = split_well_formed(EventPacket(packet.events, *size))
        assert not packet.well_formed or not malformed
    return np.concatenate([np.empty(0, EVENT_DTYPE), *(p.events for p in packets)])


def nothing_is_open_in(folder: Path) -> bool:
    if sys.platform != "linux":
        return True
    links = (str(f.readlink()) for f in Path("/proc/self/fd").iterdir() if f.exists())
    return not any(link.startswith(str(folder)) for link in links)


def failure(source: Source) -> tuple[list[EventPacket], InputError]:
    """What comes before the InputError, and it."""
    packets: list[EventPacket] = []

    async def drain() -> None:
        async with aclosing(aiter(source)) as stream:  # type: ignore[type-var]
            async for packet in stream:
                packets.append(packet)

    with pytest.raises(InputError) as error:
        asyncio.run(drain())
    assert "\n" not in str(error.value)
    return packets, error.value


def test_every_source_has_a_recipe() -> None:
    assert sorted([*FILES, *STREAMS]) == sorted(SOURCES.names())


@pytest.mark.parametrize("name", SOURCES.names())
class TestEverySource:
    def test_says_what_it_is(self, name: str) -> None:
        cls = SOURCES.get(name)
        assert issubclass(cls, Source) and cls.name == name
        assert issubclass(cls.Config, SourceConfig) and cls.Config.model_config["frozen"]
        assert cls.reads_files == issubclass(cls, FileSource)
        assert isinstance(cls.schemes, tuple) and bool(cls.schemes) != cls.reads_files
        assert isinstance(cls.live, bool) and not (cls.live and cls.reads_files)
        others = {s for n in SOURCES.names() if n != name for s in SOURCES.get(n).schemes}
        assert not others & set(cls.schemes)

    def test_an_unknown_option_is_an_error_that_names_the_near_miss(self, name: str, tmp_path: Path) -> None:
        option = STREAMS[name].option if name in STREAMS else list(SOURCES.get(name).Config.model_fields)[-1]
        uri = STREAMS[name].uri if name in STREAMS else f"{tmp_path / 'x'}?format={name}"
        uri += ("&" if "?" in uri else "?") + f"{option}x=1"
        with pytest.raises(UsageError, match=f"did you mean '{option}'"):
            open_source(uri)


@pytest.mark.parametrize("name", list(FILES))
class TestEveryFormat:
    def test_reads_the_events_and_again(self, name: str, tmp_path: Path) -> None:
        path = written(tmp_path, name)
        source = opened(path, name)
        for _ in range(2):
            packets = asyncio.run(read(source))
            assert np.array_equal(checked(packets, FILES[name].size), some_events())
            assert isinstance(json.dumps(source.describe()), str) and source.labels is None
        assert isinstance(json.dumps(source.statistics()), str)
        assert nothing_is_open_in(tmp_path)

    def test_packets_are_bounded(self, name: str, tmp_path: Path) -> None:
        events = some_events(MANY)
        packets = asyncio.run(read(opened(written(tmp_path, name, events), name)))
        assert len(packets) > 1
        assert np.array_equal(checked(packets, FILES[name].size), events)

    def test_is_recognised_by_its_content_and_by_no_other(self, name: str, tmp_path: Path) -> None:
        path = written(tmp_path, name)
        head = path.read_bytes()[:4096]
        assert [n for n in SOURCES.names() if SOURCES.get(n).sniff(head, path)] == [name]
        assert type(open_source(path)) is SOURCES.get(name)

    def test_truncated(self, name: str, tmp_path: Path) -> None:
        recipe: FileRecipe = FILES[name]
        path = written(tmp_path, name)
        size = path.stat().st_size - recipe.cut
        os.truncate(path, size)
        packets, error = failure(opened(path, name))
        assert np.array_equal(checked(packets, recipe.size), some_events()[: recipe.kept])
        assert error.path is not None and Path(error.path) == path and str(path) in str(error)
        assert not recipe.offset or (error.offset is not None and 0 <= error.offset <= size)
        assert nothing_is_open_in(tmp_path)

    def test_nothing_to_read(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        (tmp_path / "folder").mkdir()
        for what in ("empty", "missing", *(() if name == "nmnist" else ("folder",))):
            packets, error = failure(opened(tmp_path / what, name))
            assert not packets and error.path is not None and Path(error.path) == tmp_path / what
        with pytest.raises(InputError, match="empty"):
            open_source(tmp_path / "empty")

    def test_not_allowed_to_read(self, name: str, tmp_path: Path) -> None:
        path = written(tmp_path, name)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("the superuser may read everything")
        assert "cannot be read" in str(failure(opened(path, name))[1])

    def test_cancelled_in_the_middle_it_closes_its_file(self, name: str, tmp_path: Path) -> None:
        source = opened(written(tmp_path, name, some_events(MANY)), name)

        async def cancel() -> None:
            begun = asyncio.Event()

            async def iterate() -> None:
                async with aclosing(aiter(source)) as stream:  # type: ignore[type-var]
                    async for _ in stream:
                        begun.set()

            task = asyncio.create_task(iterate())
            async with asyncio.timeout(LIMIT):
                await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert nothing_is_open_in(tmp_path)

        asyncio.run(cancel())
        gc.collect()  # a file that was left open warns here, and warnings are errors


@pytest.mark.parametrize("name", list(STREAMS))
class TestEveryStream:
    def test_reads_the_events(self, name: str, tmp_path: Path) -> None:
        recipe = STREAMS[name]

        async def both() -> None:
            async with recipe.start(tmp_path) as (source, expected):
                assert type(source) is SOURCES.get(name)
                events = checked(await read(source, ends=recipe.ends), recipe.size)
                if expected is None:  # whatever it is, the same options give the same
                    assert len(events) and np.all(np.diff(events["t"]) >= 0)
                    expected = checked(await read(type(source)(source.config)), recipe.size)
                assert np.array_equal(events, expected)
                assert isinstance(json.dumps(source.statistics()), str)
                if name != "stdin":
                    assert isinstance(json.dumps(source.describe()), str)
                labels = source.labels
                assert recipe.labels is None or labels == recipe.labels
                if labels is not None:
                    assert all(a.t_end <= b.t_start for a, b in pairwise(labels))
                    assert all(a.t_start < a.t_end for a in labels)
                    assert set(source.class_names) >= {a.label for a in labels}
                    again = checked(await read(source), recipe.size)
                    assert np.array_equal(again, events)

        asyncio.run(both())

    def test_cancelled_in_the_middle_it_closes_what_it_opened(self, name: str, tmp_path: Path) -> None:
        async def cancel() -> None:
            async with (
                STREAMS[name].start(tmp_path) as (source, _),
                asyncio.timeout(LIMIT),
                aclosing(aiter(source)) as stream,
            ):
                assert len(await anext(stream))
            assert nothing_is_open_in(tmp_path)

        asyncio.run(cancel())
        gc.collect()
