"""The control socket under commands that are none, and what each command does to a run."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq
from helpers import (
    WINDOW,
    ListSink,
    ListSource,
    LiveSource,
    intervals,
    labelled_events,
    pipeline_of,
    small_session,
    to_the_end,
)

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.session import Session
from stream_ottt.live.commands import COMMANDS
from stream_ottt.live.control import ControlServer
from stream_ottt.live.inputs import LiveInputs
from stream_ottt.pipeline.live_reader import MAX_LABELS
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.tasks import MAX_TASKS

HOSTILE = [
    b"",
    b"[]",
    b"{}",
    b'{"v":1}',
    b'{"v":1,"command":["save"]}',
    b'{"v":1,"command":{}}',
    b'{"v":1,"command":null}',
    b'{"v":1,"command":1e999}',
    b'{"v":1,"command":"\\ud800"}',
    b'{"v":1,"command":"\\u0000"}',
    b'{"v":"\\ud800","command":"status"}',
    b'{"v":1e400,"command":"status"}',
    b"\xff\xfe",
    b"[" * 3000,
    b'{"v":1,"command":"broken"}',
    b'{"v":1,"command":"surrogate"}',
    b'{"v":1,"command":"unsayable"}',
]


def asked(endpoint: str, *frames: bytes) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(endpoint)
        client.send_multipart(frames)
        assert client.poll(60_000), "no answer"
        return json.loads(client.recv())


def command(name: str) -> bytes:
    return json.dumps({"v": 1, "command": name}).encode()


def test_whatever_is_sent_is_answered_and_the_next_command_too() -> None:
    async def go() -> None:
        async def status(_: dict[str, Any]) -> dict[str, Any]:
            return {"status": 1}

        async def broken(_: dict[str, Any]) -> dict[str, Any]:
            raise ZeroDivisionError("in the command")

        async def surrogate(_: dict[str, Any]) -> dict[str, Any]:
            return {"status": "\ud800"}

        async def unsayable(_: dict[str, Any]) -> dict[str, Any]:
            return {"status": {1, 2}}

        commands = {"status": status, "broken": broken, "surrogate": surrogate, "unsayable": unsayable}
        server = ControlServer("zmq+rep://127.0.0.1:0", commands)
        server.start()
        for message in HOSTILE:
            answer = await asyncio.to_thread(asked, server.endpoint, message)
            assert answer["ok"] is (b"surrogate" in message), message
        assert not (await asyncio.to_thread(asked, server.endpoint, b"{}", b"{}"))["ok"]
        assert (await asyncio.to_thread(asked, server.endpoint, command("status")))["status"] == 1
        await server.close()

    asyncio.run(asyncio.wait_for(go(), 60))


class Gate(ListSink):
    """Tells the test of its n-th result."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.there = at, threading.Event()

    async def consume(self, result: StepResult) -> None:
        await super().consume(result)
        if len(self.results) == self.at:
            self.there.set()


class Held:
    """Holds the learner's thread before the ``at``-th timestep, until what was asked of the run is done."""

    def __init__(self, session: Session, at: int) -> None:
        self.process, self.at, self.there, self.release = session.process, at, threading.Event(), threading.Event()
        session.process = self  # type: ignore[assignment, method-assign]

    def __call__(self, timestep: Timestep) -> StepResult:
        if timestep.index == self.at:
            self.there.set()
            assert self.release.wait(60)
        return self.process(timestep)


def inputs_of(pipeline: Pipeline, saved: list[str], *, labels: bool = True) -> LiveInputs:
    def save() -> str:
        saved.append(threading.current_thread().name)
        return "m.safetensors"

    return LiveInputs(
        pipeline,
        key_span=10 * WINDOW,
        labels=labels,
        save=save,
        status=lambda s: {"read": s.ledger.read},
    )


def test_commands_do_what_they_say() -> None:
    """Each acts between two timesteps, in the learner's thread."""
    session = small_session(LabelTimeline(intervals(60)))
    rested: list[str] = []
    reset = session.reset

    def reset_and_look() -> None:
        reset()
        rested.append(threading.current_thread().name)

    session.reset = reset_and_look  # type: ignore[method-assign]
    saved: list[str] = []
    holding = {"reset": Held(session, 25), "save": Held(session, 40)}
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [], session)

    async def go() -> None:
        inputs = inputs_of(pipeline, saved)
        endpoint = inputs.open_control("zmq+rep://127.0.0.1:0")

        async def say(name: str) -> dict[str, Any]:
            return await asyncio.to_thread(asked, endpoint, command(name))

        assert (await say("zzzzzz"))["error"].endswith(f"; known: {', '.join(sorted(COMMANDS))}")
        assert "has not begun" in (await say("pause"))["error"]
        assert (await say("status"))["status"] == {"read": 0}
        running = asyncio.create_task(to_the_end(pipeline))
        for name, held in holding.items():
            assert await asyncio.to_thread(held.there.wait, 60)
            asking = asyncio.create_task(say(name))
            while len(pipeline.learning._tasks) < 1:  # noqa: ASYNC110 - until it waits
                await asyncio.sleep(0.001)
            held.release.set()
            assert (await asking)["ok"]
        await running
        await inputs.close()

    asyncio.run(asyncio.wait_for(go(), 60))
    assert rested == saved == ["learner"]


def test_pausing_stops_learning_and_resuming_goes_on() -> None:
    session = small_session(LabelTimeline(intervals(60)))
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [], session)
    updates: list[int] = []
    process = session.process

    def process_and_toggle(timestep: Timestep) -> StepResult:
        result = process(timestep)
        updates.append(session.counters.updates.live)
        if timestep.index in (100, 200):
            inputs.toggle()
        return result

    session.process = process_and_toggle  # type: ignore[method-assign]
    inputs = inputs_of(pipeline, [])
    asyncio.run(asyncio.wait_for(to_the_end(pipeline), 60))
    assert updates[101:201] == [updates[100]] * 100
    assert updates[-1] == updates[200] + len(updates) - 201


def test_a_late_label_over_many_waiting_timesteps_delays_no_command() -> None:
    """Six hundred timesteps become due at once; a command is done after one of them, not after all."""
    session = small_session(LabelTimeline(), late_labels=True)
    done_after: list[int] = []
    learn_due = session.learn_due

    def learn_and_ask() -> bool:
        if session.counters.updates.deferred == 1 and not done_after:
            pipeline.do(lambda s: done_after.append(s.counters.updates.deferred))
        return learn_due()

    session.learn_due = learn_and_ask  # type: ignore[method-assign]

    class Labelled(ListSource):
        @property
        def synchronous(self) -> bool:
            return False

        async def __aiter__(self):
            async for packet in super().__aiter__():
                yield packet
            pipeline.add_label(LabelInterval(0, 600 * WINDOW, 1))

    pipeline = pipeline_of(Labelled(labelled_events(0, 60)), [], session)
    asyncio.run(asyncio.wait_for(to_the_end(pipeline), 60))
    assert done_after == [2] and session.counters.updates.deferred == 599  # all but the window that is still open


def test_no_prediction_of_a_live_stream_waits_for_what_is_due() -> None:
    """Labels come at the end of each interval; all timesteps wait already, so that what is due comes after the last."""
    events = labelled_events(0, 20)
    session = small_session(LabelTimeline(intervals(20), delay="end"))
    pieces_before: list[int] = []
    process = session.process
    pause = threading.Event()

    def slowly(timestep: Timestep) -> StepResult:
        while not len(pipeline.learning.queue) and not pipeline.learning.queue.exhausted:
            pause.wait(0.001)  # until the next one waits, or none comes any more
        pieces_before.append(session.counters.updates.deferred)
        return process(timestep)

    session.process = slowly  # type: ignore[method-assign]
    sink = ListSink()
    pipeline = pipeline_of(LiveSource(events, cut=len(events)), [sink], session, policy="drop-oldest")
    asyncio.run(asyncio.wait_for(to_the_end(pipeline), 60))
    assert len(sink.results) == 200
    updates = session.counters.updates
    assert updates.deferred + updates.live == 200  # in the end all are learned
    assert pieces_before == [0] * 200


# --- bounds --------------------------------------------------------------------------------------------------------


def test_labels_and_tasks_that_wait_are_bounded() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    held = Held(session, 3)

    class Pouring(LiveSource):
        async def __aiter__(self):
            async for packet in super().__aiter__():
                yield packet
                await asyncio.sleep(0)
            assert await asyncio.to_thread(held.there.wait, 60)
            for i in range(MAX_LABELS + 500):
                pipeline.add_label(LabelInterval(10**9 + i, 10**9 + i + 1, 1))
            futures = [pipeline.do(lambda s: None) for _ in range(MAX_TASKS + 10)]
            refused.extend(f for f in futures if f.done() and isinstance(f.exception(), UsageError))
            held.release.set()

    refused: list[Any] = []
    pipeline = pipeline_of(Pouring(labelled_events(0, 1)), [], session, policy="drop-oldest")
    asyncio.run(asyncio.wait_for(to_the_end(pipeline), 60))
    snapshot = pipeline.snapshot()
    assert len(refused) == 10
    assert snapshot.labels_refused > 0
    assert snapshot.labels_refused + session.counters.labels_taken == MAX_LABELS + 500


@pytest.mark.parametrize("where", ["before", "after"])
def test_what_is_asked_outside_a_run_is_refused(where: str, tmp_path: Path) -> None:
    pipeline = pipeline_of(ListSource(labelled_events(0, 1)), [], small_session(None))
    if where == "after":
        asyncio.run(to_the_end(pipeline))
    with pytest.raises(UsageError, match="has not begun" if where == "before" else "is ending"):
        pipeline.do(lambda s: None).result(5)


def test_a_class_is_added_and_a_label_corrected_by_commands() -> None:
    session = small_session(LabelTimeline(intervals(60)))
    gate = Gate(14)
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [gate], session, speed=0.02)  # 50 ms a timestep

    async def go() -> list[dict[str, Any]]:
        inputs = inputs_of(pipeline, [])
        endpoint = inputs.open_control("zmq+rep://127.0.0.1:0")
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(gate.there.wait, 60)
        answers = []
        for said in (
            {"command": "add_class", "class": "mug"},
            {"command": "add_class", "class": 7},
            {"command": "correct", "class": "mug", "t": 12_000},
            {"command": "label", "class": "mug", "last": "2s"},
            {"command": "label", "class": "mug", "last": 0},
            {"command": "label", "class": "cup"},
            {"command": "label"},
            {"command": "add_class", "class": "mug"},
            {"command": "add_class"},
            {"command": "correct", "class": True},
            {"command": "correct", "class": 1, "t": "now"},
            {"command": "correct", "class": "cube"},
            {"command": "retract", "t": "now"},
            {"command": "retract", "t": 999_000},
            {"command": "retract", "t": 2_000},
        ):
            answers.append(await asyncio.to_thread(asked, endpoint, json.dumps({"v": 1, **said}).encode()))
        pipeline.stop()
        await running
        await inputs.close()
        return answers

    answers = asyncio.run(asyncio.wait_for(go(), 60))
    assert answers[:3] == [
        {"v": 1, "ok": True, "label": 3},
        {"v": 1, "ok": True, "label": 7},
        {"v": 1, "ok": True, "t0": 10_000, "t1": 20_000},
    ]
    wrong = (
        "whole number of µs",
        "whole number of µs above 0",
        "'cup'",
        "name or number",
        "already",
        "name or number",
        "name or number",
        "whole number of µs",
        "'cube'",
        "whole number of µs",
        "no label at 999000",
    )
    assert all(text in answer["error"] for text, answer in zip(wrong, answers[3:-1], strict=True))
    assert answers[-1] == {"v": 1, "ok": True, "t0": 0, "t1": 10_000}
    assert session.counters.labels_retracted == 1
    assert pipeline.view.facts.classes == (1, 2, 3, 7) and pipeline.view.facts.class_names == {3: "mug"}
    assert session.evaluator.presentations.margins()[0][3] == 1


def test_a_label_is_given_to_the_last_so_much_by_a_command() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    gate = Gate(14)
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [gate], session, speed=0.02)

    async def go() -> dict[str, Any]:
        inputs = inputs_of(pipeline, [])
        endpoint = inputs.open_control("zmq+rep://127.0.0.1:0")
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(gate.there.wait, 60)
        said = {"v": 1, "command": "label", "class": "2", "last": 5 * WINDOW}
        answer = await asyncio.to_thread(asked, endpoint, json.dumps(said).encode())
        while not session.learner.counts.learned and not running.done():
            await asyncio.wrap_future(pipeline.learning.fresh())  # the learner answers between two pieces of work
        pipeline.stop()
        await running
        await inputs.close()
        return answer

    answer = asyncio.run(asyncio.wait_for(go(), 60))
    assert answer == {"v": 1, "ok": True, "timesteps": 5}
    assert session.counters.labels_taken == 1
    assert session.learner.counts.learned > 0


def test_a_run_that_takes_no_labels_neither_takes_nor_corrects_one_by_a_command() -> None:
    session = small_session(LabelTimeline(intervals(60)))
    gate = Gate(14)
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [gate], session, speed=0.02)

    async def go() -> list[dict[str, Any]]:
        inputs = inputs_of(pipeline, [], labels=False)
        endpoint = inputs.open_control("zmq+rep://127.0.0.1:0")
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(gate.there.wait, 20)
        answers = []
        for name in ("label", "correct"):
            said = {"v": 1, "command": name, "class": 2}
            answers.append(await asyncio.to_thread(asked, endpoint, json.dumps(said).encode()))
        pipeline.stop()
        await running
        await inputs.close()
        return answers

    for name, answer in zip(("label", "correct"), asyncio.run(asyncio.wait_for(go(), 60)), strict=True):
        assert not answer["ok"] and answer["error"].startswith(f"{name}: this run takes no labels")
    assert session.counters.labels_corrected == 0
