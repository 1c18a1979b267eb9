"""What a summary says of the sinks."""

from __future__ import annotations

from stream_ottt.events.packet import Ledger
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, SinkState
from stream_ottt.run.summary import summarize


def test_sinks_that_failed_or_missed_something_are_named() -> None:
    sinks = {"good": SinkState(), "full": SinkState("no space", 3, False), "back": SinkState("was away", 0, True)}
    found = summarize(RunFacts("x"), RunSnapshot(None, Ledger(), sinks=sinks), seed=0, code=0, reason="end")
    assert found["sinks"] == {"failures": {"full": "no space", "back": "was away"}, "missed": {"full": 3}}
