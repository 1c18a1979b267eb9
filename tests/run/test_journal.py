"""The log of a run says each thing once, when it is first seen."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from stream_ottt import log
from stream_ottt.events.packet import Ledger
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.run.journal import Journal
from stream_ottt.run.summary import NOTHING
from stream_ottt.run.watching import Watching


def test_each_thing_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("json")
    journal = Journal()

    def said(rollbacks: int, warnings: tuple[str, ...], epochs: int, lost: int) -> list[str]:
        session = replace(NOTHING, rollbacks=rollbacks, warnings=warnings, timesteps=7)
        clock = {"epochs": epochs, "jumps": [{"before": k, "after": 0, "at": k} for k in range(1, epochs)]}
        for _ in range(2):
            journal.look(RunSnapshot(session, Ledger(), clock=clock, transport={"lost_messages": lost}))
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert all(line["timesteps"] == 7 for line in lines)
        return [f"{line['event']} {line.get('rollbacks') or line.get('epochs') or line.get('lost') or line['message']}"
                for line in lines]  # fmt: skip

    try:
        assert said(0, (), 1, 0) == []
        assert said(1, ("hot",), 1, 0) == ["warning hot", "rollback 1"]
        assert said(1, ("hot", "cold"), 2, 3) == ["warning cold", "epoch 2", "gap 3"]
        assert said(3, ("hot", "cold"), 4, 5) == ["rollback 3", "epoch 4", "gap 2"]
        journal.look(RunSnapshot(None, Ledger()))  # before the first pass
    finally:
        log.set_up("text")


def test_a_look_that_fails_ends_no_run_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    looked = asyncio.Event()

    def broken() -> RunSnapshot:
        looked.set()
        raise ArithmeticError("no such figure")

    async def go() -> None:
        async with Watching(RunView(RunFacts("x"), broken)):
            await looked.wait()

    log.set_up("text")
    asyncio.run(go())
    assert "the run could not be looked at: ArithmeticError: no such figure; it goes on" in capsys.readouterr().err
