"""A live source goes on while nobody looks: the resumed run keeps what was learned, and says the gap."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import LiveSource, labelled_events
from resumed import SMALL

from stream_ottt.cli.resume import resumable
from stream_ottt.errors import UsageError
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.config import merge
from stream_ottt.run.request import RunRequest
from stream_ottt.run.resume import find
from stream_ottt.run.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

EVENTS = labelled_events(0, 12)


class Waiting(LiveSource):
    """A live source that ends the run once some of what it sent was predicted."""

    def __init__(self) -> None:
        super().__init__(EVENTS, cut=100)
        self.pipeline: Any = None

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        seen, enough = 0, threading.Event()

        def count(*_: object) -> bool:
            nonlocal seen
            seen += 1
            if seen == 60:
                enough.set()
            return True

        async for packet in super().__aiter__():
            yield packet
            await asyncio.to_thread(self.pipeline.learning.ready.wait)
            if packet.events["t"][0] == EVENTS["t"][0]:
                await asyncio.wrap_future(self.pipeline.learning.watch(count))
        await asyncio.to_thread(enough.wait)
        self.pipeline.stop()
        await asyncio.Event().wait()


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "s.json").read_text())


def until_stopped(request: RunRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    source = Waiting()
    monkeypatch.setattr("stream_ottt.run.opening.open_sources", lambda *_, **__: source)
    make = Run._make_pipeline

    def make_and_tell(self: Run) -> Any:
        source.pipeline = make(self)
        return source.pipeline

    monkeypatch.setattr(Run, "_make_pipeline", make_and_tell)
    made = Run(request)
    assert asyncio.run(made.go()) == 0
    monkeypatch.setattr(Run, "_make_pipeline", make)
    return made


def test_a_live_run_goes_on_with_what_it_had_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = merge(SMALL, {"labels": {"classes": [1, 2]}, "binning": {"window": "1ms"}})
    request = RunRequest(
        "camera", overrides=settings, sinks=["jsonl:p.jsonl"], summary=Path("s.json"), checkpoints=Path("checkpoints")
    )
    first = until_stopped(request, monkeypatch)
    before = summary_of(tmp_path)
    assert first.assembly.learner is not None and before["timesteps"] > 10
    weights = {k: v.clone() for k, v in first.assembly.learner.network.parameters.items()}
    found = find(tmp_path / "checkpoints")
    assert found.request is not None
    saved = found.request.saved
    assert saved is not None and saved.manifest.timesteps == before["timesteps"]
    for name, value in weights.items():
        assert np.array_equal(saved.state[f"learning/learner/weights/{name}"], value)
    second = until_stopped(found.request, monkeypatch)
    after = summary_of(tmp_path)
    (gap,) = after["checkpoints"]["gaps"]
    assert gap["lost"] is True and gap["timesteps"] == before["timesteps"]
    assert after["timesteps"] > before["timesteps"] and after["labels"]["refused"] == 0
    events = after["events"]
    counted = events["binned"] + events["late"] + events["malformed"] + sum(events["dropped"].values())
    assert events["read"] == counted == 2 * len(EVENTS) and events["in_hand"] == 0
    steps = [json.loads(line)["step"] for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert len(steps) == len(set(steps)) == after["timesteps"] and steps == sorted(steps)
    assert second.folder is not None and second.folder.numbers()


@pytest.mark.parametrize("max_steps", [None, 5])
def test_a_live_source_that_ends_may_come_back(
    max_steps: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a run that was told how long to last has finished."""
    monkeypatch.setattr("stream_ottt.run.opening.open_sources", lambda *_, **__: LiveSource(EVENTS, cut=100))
    settings = merge(SMALL, {"labels": {"classes": [1, 2]}, "binning": {"window": "1ms"}})
    settings["stream"] = settings["stream"] | {"max_steps": max_steps}
    folder = tmp_path / "checkpoints"
    made = Run(RunRequest("camera", overrides=settings, sinks=[], checkpoints=folder))
    assert asyncio.run(made.go()) == 0
    assert resumable(folder) == folder
    finished = CheckpointFolder(folder).finished()
    assert (finished is None) == (max_steps is None)


def test_where_nothing_was_left_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert resumable(tmp_path) is None and resumable(tmp_path / "none") is None
    with pytest.raises(UsageError, match="name the folder with --checkpoint"):
        resumable(None)
