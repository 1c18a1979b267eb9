"""The sinks of a run are opened and closed together: whoever cannot be done without ends it before it begins."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from helpers import ListSink, ListSource, labelled_events, pipeline_of, run, small_session

from stream_ottt.errors import OutputError
from stream_ottt.pipeline.view import RunView

EVENTS = labelled_events(0, 6)


class Noting(ListSink):
    """Notes in a list of all sinks when it is opened and closed; may fail as it is opened."""

    def __init__(self, name: str, notes: list[str], *, error: Exception | None = None, **kind: Any) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        self.notes, self.error = notes, error
        for key, value in kind.items():
            setattr(self, key, value)

    async def open(self, run: RunView) -> None:
        self.notes.append(f"open {self.name}")
        if self.error is not None:
            raise self.error

    async def close(self, summary: dict[str, Any] | None) -> None:
        self.notes.append(f"close {self.name} {summary}")


def test_addresses_are_opened_before_files_and_a_refusal_closes_what_was_opened() -> None:
    notes: list[str] = []
    sinks = [
        Noting("file", notes),
        Noting("port", notes, schemes=("a",)),
        Noting("taken", notes, schemes=("b",), error=OutputError("taken")),
    ]
    pipeline = pipeline_of(ListSource(EVENTS), sinks, small_session(None))
    with pytest.raises(OutputError, match="taken"):
        run(pipeline)
    assert notes == ["open port", "open taken", "close port None"]


def test_a_sink_that_was_given_nothing_has_its_time_to_close() -> None:
    class Slow(Noting):
        async def close(self, summary: dict[str, Any] | None) -> None:
            await asyncio.sleep(0.3)
            await super().close(summary)

    notes: list[str] = []
    said: list[str] = []
    sinks = [Slow("slow", notes, schemes=("a",)), Noting("taken", notes, error=OutputError("taken"))]
    pipeline = pipeline_of(
        ListSource(EVENTS), sinks, small_session(None), grace=60.0, say=lambda text, *_, **__: said.append(text)
    )
    with pytest.raises(OutputError, match="taken"):
        run(pipeline)
    assert notes == ["open slow", "open taken", "close slow None"] and not said


@pytest.mark.parametrize("error", [OutputError("no display"), RuntimeError("a fault")])
def test_a_run_goes_on_without_what_only_shows_but_not_over_a_fault(error: Exception) -> None:
    notes: list[str] = []
    said: list[str] = []
    shows = Noting("window", notes, optional=True, error=error)
    pipeline = pipeline_of(
        ListSource(EVENTS),
        [shows, kept := ListSink()],
        small_session(None),
        say=lambda text, *_, **__: said.append(text),
    )
    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError, match="a fault"):
            run(pipeline)
        return
    assert run(pipeline).reason == "end"
    assert len(kept.results) == 60 and not shows.results
    assert "sink window: no display; carrying on without it" in said
    assert list(pipeline.snapshot().sinks) == ["list"]


def test_two_of_a_kind_are_told_apart() -> None:
    sinks = [ListSink(), ListSink(), Noting("other", [])]
    for sink, target in zip(sinks, ("a", "b", "c"), strict=True):
        sink.config = sink.config.model_copy(update={"target": target})
    pipeline = pipeline_of(ListSource(EVENTS), sinks, small_session(None))
    assert [writer.name for writer in pipeline.writers] == ["list:a", "list:b", "other"]


def test_whoever_takes_events_gets_those_of_the_first_pass() -> None:
    class Taking(ListSink):
        takes_events = True

        def __init__(self) -> None:
            super().__init__()
            self.taken: list[Any] = []

        def take_events(self, events: Any, size: tuple[int, int]) -> None:
            self.taken.append(events.copy())

    sink = Taking()
    assert run(pipeline_of(ListSource(EVENTS), [sink], small_session(None), passes=2)).reason == "end"
    assert np.array_equal(np.concatenate(sink.taken), EVENTS) and len(sink.results) == 120
