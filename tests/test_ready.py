"""A run at a pace is ready before its stream begins, and being made ready changes none of its results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from helpers import LiveSource, labelled_events, pipeline_of, run, small_session
from test_filters_in_runs import run as command

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer


class Watched(LiveSource):
    """Says when it is read."""

    said: list[str]

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        self.said.append("read")
        async for packet in super().__aiter__():
            yield packet


def test_a_source_is_read_once_the_learner_is_prepared() -> None:
    source = Watched(labelled_events(0, 4))
    source.said = []
    pipeline = pipeline_of(
        source, [], small_session(None), policy="block", prepare=lambda: source.said.append("prepared")
    )
    assert run(pipeline).reason == "end"
    assert source.said == ["prepared", "read"]


def test_a_stop_while_it_is_prepared_ends_the_run_unread() -> None:
    source = Watched(labelled_events(0, 4))
    source.said = []
    pipeline = pipeline_of(source, [], small_session(None), policy="block", prepare=lambda: pipeline.stop())
    assert run(pipeline).reason == "interrupted"
    assert source.said == []


def test_what_goes_wrong_there_is_the_runs_error() -> None:
    def prepare() -> None:
        raise UsageError("no such device")

    source = Watched(labelled_events(0, 4))
    source.said = []
    outcome = run(pipeline_of(source, [], small_session(None), policy="block", prepare=prepare))
    assert outcome.reason == "failed" and isinstance(outcome.error, UsageError) and source.said == []


@pytest.mark.parametrize("size", ["8", "sensor"])
def test_results_are_those_of_a_run_that_was_not_prepared(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Aedat4Writer(tmp_path / "r.aedat4", 8, 8) as writer:
        writer.write(labelled_events(0, 8))
    (tmp_path / "l.csv").write_text("class,startTime_usec,endTime_usec\n1,0,20000\n2,20000,60000\n")
    seen = []
    for speed in ("max", "20x"):
        lines = tmp_path / f"{speed}.jsonl"
        code = command(
            monkeypatch, "run", "--source", f"{tmp_path}/r.aedat4", "--quiet", "--predictions", str(lines), "--speed",
            speed, "--labels", f"{tmp_path}/l.csv", "--label-delay", "0", "--rehearsal.mode", "off",
            "--binning.window", "1ms", "--binning.width", size, "--binning.height", size, "--network.layers", "4",
            "--network.dropout", "0.2",
        )  # fmt: skip
        assert code == 0
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        seen.append([{k: v for k, v in row.items() if k != "latency_ms"} for row in rows])
    assert seen[0] == seen[1] and any(row["learned"] for row in seen[0])
