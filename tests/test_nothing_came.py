"""A run to which nothing came says so in one line, and tells no figures of nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream_ottt.errors import INTERRUPTED, InputError
from stream_ottt.events.packet import Ledger
from stream_ottt.learning.snapshot import SessionSnapshot
from stream_ottt.pipeline.view import RunFacts, RunSnapshot
from stream_ottt.run.problems import TOO_MANY, remarks
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.run.stopping import Stopping
from stream_ottt.run.summary import NOTHING
from stream_ottt.sinks.terminal_report import report

NOBODY = "udp://127.0.0.1:0?width=8&height=8"


class AtOnce(Stopping):
    """Ctrl-C as soon as there is a run to end."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "act" and value is not None:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)


def test_ctrl_c_before_anything_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, summary = tmp_path / "m.safetensors", tmp_path / "s.json"
    with AtOnce() as stopping:
        run = Run(RunRequest(NOBODY, sinks=["terminal"], save=model, summary=summary), stopping)
        assert asyncio.run(run.go()) == INTERRUPTED
    out, err = capsys.readouterr()
    assert out.replace("waiting for the first events …\n", "") == f"stream-ottt  {NOBODY}\n"  # that, after a second
    assert err == (f"stream-ottt: {NOBODY}: no event came; see that something is sent there; {model} was not written\n")
    assert not model.exists() and json.loads(summary.read_text())["exit"]["code"] == INTERRUPTED


def test_nothing_within_the_time_that_was_given() -> None:
    run = Run(RunRequest(f"{NOBODY}&idle=10ms", sinks=[]))
    with pytest.raises(InputError, match="no event came; see that something is sent there"):
        asyncio.run(run.go())


# --- what is said of the rest ----------------------------------------------------------------------------------------


def said(snapshot: RunSnapshot) -> list[str]:
    return list(remarks(RunFacts("x.aedat4"), snapshot, labels=None, takes_labels=False))


def session(**changes: Any) -> SessionSnapshot:
    return replace(NOTHING, learning="on", **changes)


def test_dropped_events_and_refused_labels_are_said() -> None:
    assert said(RunSnapshot(session(), Ledger())) == []
    dropped = Ledger(read=10, binned=7, dropped={"overflow": 3})
    assert said(RunSnapshot(session(), dropped)) == [
        "x.aedat4: 3 of 10 events were dropped, since the learner was too slow"
    ]
    filtered = {"filter:hot": 2000, "filter:polarity": 8}
    assert said(RunSnapshot(session(), Ledger(read=2008, dropped=filtered))) == [
        "x.aedat4: the filters left nothing of its events (2,000 by hot, 8 by polarity); "
        "see their options in docs/filters.md"
    ]
    assert said(RunSnapshot(session(), Ledger(read=2009, binned=1, dropped=filtered))) == []
    refused = session(labels_refused=2, label_refusal="label 9: unknown class")
    assert said(RunSnapshot(refused, Ledger())) == [
        "x.aedat4: 2 labels were refused; the first: label 9: unknown class"
    ]
    assert said(RunSnapshot(session(), Ledger(), labels_refused=1)) == [
        f"x.aedat4: 1 label was refused; the first: {TOO_MANY}"
    ]


def test_labels_of_another_unit_are_said_though_the_first_of_them_meets_the_stream() -> None:
    spans: dict[str, Any] = {"label_span": (0, 130_000), "stream_span": (0, 134_000_000)}
    assert said(RunSnapshot(session(**spans, intervals_met=2), Ledger())) == [
        "x.aedat4: labels end early in the stream, and look like ms; write their times in µs"
    ]
    assert "their times look like ms" in said(RunSnapshot(session(**spans), Ledger()))[0]
    spans["label_span"] = (40, 50)
    assert said(RunSnapshot(session(**spans, labels_retracted=1), Ledger())) == []  # its only label was taken back
    spans["label_span"] = (0, 130_000_000_000)
    assert said(RunSnapshot(session(**spans, intervals_met=1), Ledger())) == [
        "x.aedat4: labels go on long after the stream, and look like ns; write their times in µs"
    ]
    spans["label_span"] = (0, 130_000_000)
    assert said(RunSnapshot(session(**spans, intervals_met=2), Ledger())) == []


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        ({"code": 130, "reason": "interrupted"}, "ended early: interrupted (exit code 130)"),
        ({"code": 3, "reason": "end"}, "all of it was seen, with problems (exit code 3)"),
    ],
)
def test_the_table_says_how_it_ended_and_what_was_refused(ended: dict[str, Any], line: str) -> None:
    console = Console(width=80)
    with console.capture() as drawn:
        console.print(
            report({"exit": ended, "labels": {"taken": 4, "refused": 1, "first_refusal": "label 9: unknown class"}})
        )
    assert line in drawn.get() and "4 taken, 1 refused; the first: label 9: unknown class" in drawn.get()


@pytest.mark.parametrize("timesteps", [0, 3])
def test_there_are_times_where_there_were_timesteps(timesteps: int) -> None:
    console = Console(width=80)
    with console.capture() as drawn:
        console.print(report({"exit": {"code": 0}, "timesteps": timesteps, "step_ms": {"p50": 1.0, "p99": 2.0}}))
    assert ("1.00 ms p50" in drawn.get()) == (timesteps > 0)
