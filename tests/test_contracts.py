"""The contract suites: our own sources, sinks and methods pass them, and what breaks a promise does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_recipes import FILES, STREAMS, some_events

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.events.timestep import StepResult
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.pipeline.source import BlockingSource, Source, SourceConfig
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.methods.ottt import OtttO
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.opening import open_source
from stream_ottt.testing import METHOD_CHECKS, SINK_CHECKS, SOURCE_CHECKS, check_method, check_sink, check_source


@pytest.mark.parametrize("name", [*FILES, *STREAMS])
def test_every_source_keeps_its_promises(name: str, tmp_path: Path) -> None:
    if name in STREAMS:
        folders = (tmp_path / str(n) for n in count())

        @asynccontextmanager
        async def started() -> Any:
            folder = next(folders)
            folder.mkdir()
            async with STREAMS[name].start(folder) as (source, _):
                yield source

        check_source(started)
        return
    recipe = FILES[name]
    path = tmp_path / f"recording{recipe.suffix}"
    recipe.write(path, some_events())
    check_source(lambda: open_source({"uri": str(path), "format": name, **recipe.options}))


SINKS = [
    "jsonl:{here}/{n}.jsonl",
    "csv:{here}/{n}.csv",
    "video:{here}/{n}.mp4",
    "record:{here}/{n}",
    "tensorboard:{here}/{n}",
    "terminal",
    "web:127.0.0.1:0",
    "zmq+pub://127.0.0.1:0",
    "zenoh://predictions/cam?listen=tcp/127.0.0.1:0",
]


@pytest.mark.parametrize("target", SINKS)
def test_every_sink_keeps_its_promises(target: str, tmp_path: Path) -> None:
    made = count()
    check_sink(lambda: open_sink(target.replace("{here}", str(tmp_path)).replace("{n}", str(next(made)))))


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.usefixtures("one_thread")
def test_every_method_keeps_its_promises(name: str) -> None:
    check_method(METHODS.get(name))


# --- broken ones -----------------------------------------------------------------------------------------------------


class Good(BlockingSource):
    """Two packets, and two labels."""

    name, Config, schemes = "good", SourceConfig, ("good",)

    def packets(self) -> Iterator[EventPacket]:
        yield EventPacket(make_events([1], [1], [5], [True]), 8, 8)
        yield EventPacket(make_events([2], [2], [9], [True]), 8, 8)

    @property
    def labels(self) -> list[LabelInterval]:
        return [LabelInterval(0, 5, 0), LabelInterval(5, 10, 1)]


def broken(**parts: Any) -> Callable[[], Source]:
    cls = type("Broken", (Good,), parts)
    return lambda: cls(SourceConfig())


def giving(*packets: EventPacket) -> Callable[[], Source]:
    return broken(packets=lambda self: iter(packets))


def nothing_twice() -> Callable[[], Source]:
    class Once(Good):
        def __init__(self) -> None:
            super().__init__(SourceConfig())
            self._left = list(Good.packets(self))

        def packets(self) -> Iterator[EventPacket]:
            while self._left:
                yield self._left.pop()

    return Once


class Lax(SourceConfig, extra="ignore"):
    pass


ONE = make_events([9], [1], [5], [True])

BROKEN_SOURCES: dict[str, list[Callable[[], Source]]] = {
    "says_what_it_is": [broken(name=""), broken(schemes=()), broken(schemes=("UPPER",)), broken(reads_files=True)],
    "an_unknown_option_names_the_near_miss": [broken(Config=Lax)],
    "packets_are_as_promised": [
        giving(),
        giving(EventPacket(ONE, 8, 8, well_formed=True)),
        giving(EventPacket(ONE[:0], 8, 8)),
        giving(EventPacket(ONE, 16, 8), EventPacket(ONE, 16, 9)),
        giving(EventPacket(np.repeat(ONE, 1 << 20), 16, 8)),
        giving(EventPacket(ONE["t"], 16, 8)),
    ],
    "its_labels_are_in_order": [
        broken(labels=[LabelInterval(0, 5, 0), LabelInterval(4, 9, 0)]),
        broken(labels=[LabelInterval(5, 5, 0)]),
        broken(class_names={0: "a"}),
    ],
    "another_pass_is_the_same": [nothing_twice()],
}


def test_a_good_source_passes_and_each_broken_one_is_caught() -> None:
    check_source(lambda: Good(SourceConfig()))
    for name, made in BROKEN_SOURCES.items():
        for make in made:
            with pytest.raises(AssertionError):
                SOURCE_CHECKS[name](make)


def test_what_it_tells_must_be_json() -> None:
    with pytest.raises(TypeError, match="JSON"):
        SOURCE_CHECKS["what_it_tells_is_json"](broken(describe=lambda self: {"a": {1}}))


class GoodSink(Sink):
    name = "good"

    async def consume(self, result: StepResult) -> None:
        pass


class Scribbler(GoodSink):
    async def consume(self, result: StepResult) -> None:
        result.timestep.frame[:] = 0


class LaxSinkConfig(SinkConfig, extra="ignore"):
    pass


@pytest.mark.parametrize(
    ("check", "parts"),
    [
        ("says_what_it_is", {"name": ""}),
        ("an_unknown_option_names_the_near_miss", {"Config": LaxSinkConfig}),
        ("it_changes_no_result", {"consume": Scribbler.consume}),
    ],
)
def test_a_broken_sink_is_caught(check: str, parts: dict[str, Any]) -> None:
    check_sink(lambda: GoodSink(SinkConfig()))
    cls = type("Broken", (GoodSink,), parts)
    with pytest.raises(AssertionError):
        SINK_CHECKS[check](lambda: cls(SinkConfig()))


class Forgetful(OtttO):
    """Learns nothing."""

    name = "forgetful"

    def learn(self, frames: Any, targets: Any) -> Any:
        return self.predict(frames)


@pytest.mark.parametrize("check", ["it_learns_a_batch", "what_was_learned_is_predicted_with"])
def test_a_method_that_learns_nothing_is_caught(check: str) -> None:
    with pytest.raises(AssertionError):
        METHOD_CHECKS[check](Forgetful)


def test_a_source_of_another_package_needs_no_place_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from stream_ottt.sources import SOURCES

    monkeypatch.setitem(SOURCES._targets, "good", f"{__name__}:Good")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Good.__module__])
    assert type(open_source("good:?tolerance=5ms")) is Good
    with pytest.raises(UsageError, match="good takes no address"):
        open_source("good:somewhere")
