"""A file that is held, stepped and played at another speed gives the same results; what is live cannot be held."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from threading import Event
from typing import Any

import numpy as np
import pytest
import zmq
from helpers import SIZE, ListSink, ListSource, LiveSource, labelled_events, pipeline_of, small_session, to_the_end

from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.live.inputs import LiveInputs
from stream_ottt.pipeline.pace import JUMP_US, PACE_US
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.playback import Playback

pytestmark = pytest.mark.usefixtures("one_thread")

EVENTS = labelled_events(0, 40)  # 400 timesteps of 1 ms
Say = Callable[..., Awaitable[dict[str, Any]]]


def asked(endpoint: str, name: str, **fields: object) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(endpoint)
        client.send(json.dumps({"v": 1, "command": name, **fields}).encode())
        assert client.poll(60_000), "no answer"
        return json.loads(client.recv())


def with_commands(pipeline: Pipeline, act: Callable[[Say], Awaitable[None]]) -> None:
    """Run, and say commands to the control socket meanwhile."""

    async def go() -> None:
        inputs = LiveInputs(pipeline, key_span=1, labels=False, save=None, status=lambda _: {})
        endpoint = inputs.open_control("zmq+rep://127.0.0.1:0")

        async def say(name: str, **fields: object) -> dict[str, Any]:
            return await asyncio.to_thread(asked, endpoint, name, **fields)

        running = asyncio.create_task(to_the_end(pipeline))
        try:
            await act(say)
        finally:
            pipeline.stop()
            await running
            await inputs.close()

    asyncio.run(asyncio.wait_for(go(), 60))


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def logits(sink: ListSink) -> list[list[float]]:
    return [result.prediction.logits.tolist() for result in sink.results]


def test_held_stepped_and_let_go_it_gives_what_it_gives_at_once() -> None:
    plain, played = ListSink(), ListSink()
    asyncio.run(to_the_end(pipeline_of(ListSource(EVENTS, cut=700), [plain], small_session(None))))
    pipeline = pipeline_of(ListSource(EVENTS, cut=700), [played], small_session(None), speed=0.02)
    playback, learning = pipeline.reader.playback, pipeline.learning
    assert playback is not None

    async def act(say: Say) -> None:
        await until(lambda: learning.timesteps > 2)
        assert (await say("step"))["ok"]  # stands still after it
        await until(lambda: playback.held and not playback._steps)
        assert pipeline.snapshot().held
        for _ in range(5):
            before = pipeline.binner.made()
            await say("step")
            await until(lambda before=before: learning.timesteps > before and not playback._steps)  # type: ignore[misc]
            assert pipeline.binner.made() == learning.timesteps == before + 1
        assert (await say("hold", value="off"))["ok"]
        assert (await say("speed", value="max"))["ok"]
        await until(lambda: learning.timesteps == 400)

    with_commands(pipeline, act)
    assert logits(played) == logits(plain)
    assert not pipeline.snapshot().held


def test_a_hold_ends_with_the_run() -> None:
    pipeline = pipeline_of(ListSource(EVENTS), [], small_session(None), speed=1.0)

    async def act(say: Say) -> None:
        await until(lambda: pipeline.learning.timesteps > 2)
        await say("hold")

    with_commands(pipeline, act)
    ledger = pipeline.snapshot().ledger
    assert ledger.in_hand == 0 and ledger.binned < len(EVENTS)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("speed", None, "expected 'max' or a factor"),
        ("speed", "fast", "expected 'max' or a factor"),
        ("speed", -1, "expected 'max' or a factor"),
        ("speed", 1e9, "expected a number from 0"),
        ("hold", "perhaps", "expected on or off"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, value: object, why: str) -> None:
    pipeline = pipeline_of(ListSource(EVENTS), [], small_session(None), speed=1.0)

    async def act(say: Say) -> None:
        answer = await say(name, value=value)
        assert not answer["ok"] and why in answer["error"]

    with_commands(pipeline, act)


@pytest.mark.parametrize(("name", "value"), [("hold", True), ("step", None), ("speed", 2)])
def test_what_is_live_is_not_held(name: str, value: object) -> None:
    pipeline = pipeline_of(LiveSource(EVENTS), [], small_session(None), policy="drop-oldest")
    assert pipeline.reader.playback is None

    async def act(say: Say) -> None:
        assert "what comes live" in (await say(name, value=value))["error"]

    with_commands(pipeline, act)
    assert pipeline.view.controls.hold is None and pipeline.view.controls.speed is None


# --- the clock of it -------------------------------------------------------------------------------------------------


def packet(*times: int) -> EventPacket:
    n = len(times)
    return EventPacket(make_events([0] * n, [0] * n, list(times), [1] * n), SIZE, SIZE)


def test_parts_hold_every_event_once_and_span_what_is_waited_for() -> None:
    rng = np.random.default_rng(0)
    whole = packet(*np.sort(rng.integers(0, 40_000, 300)).tolist())
    for playback, span in (
        (Playback(1.0, Event()), PACE_US),
        (Playback(None, Event()), 10**9),
        (Playback(1.0, Event()), 700),
    ):
        if span == 700:
            playback.hold(True)
            playback.span = span
        parts = list(playback.parts(whole))
        assert np.array_equal(np.concatenate([p.events for p in parts]), whole.events)
        assert all(p.events["t"][-1] - p.events["t"][0] < span for p in parts)
        assert len(parts) >= 40_000 // span // 2
        assert [len(p) for p in playback.parts(packet())] == [0]


def test_a_part_is_due_at_its_own_pace_from_where_the_speed_changed() -> None:
    playback = Playback(1.0, Event())
    assert playback.wait(packet(0))
    began = playback.due
    for t in (10_000, 5_000, 20_000):  # the second is late, and due at once
        assert playback.wait(packet(t))
    assert playback.due - began == pytest.approx(0.02)
    before = time.perf_counter()
    playback.set_speed(0.5)
    after = time.perf_counter()
    assert playback.wait(packet(30_000))
    assert before <= playback.due - 0.02 <= after
    assert playback.wait(packet(10**9))  # a jump of the clock
    playback.set_speed(None)
    assert playback.wait(packet(10**9 + 5_000_000))


def test_after_a_jump_of_the_clock_it_goes_on_from_there() -> None:
    """Forwards or backwards, and at the beginning of another pass: the time after it is played at its own pace."""
    playback = Playback(1.0, Event())
    for t in (0, 5 * JUMP_US, 0):
        assert playback.wait(packet(t))
        jumped = playback.due
        assert playback.wait(packet(t + 10_000))
        assert playback.due - jumped == pytest.approx(0.01)
    playback.begin()
    assert playback.wait(packet(0))
    began = playback.due
    assert playback.wait(packet(10_000))
    assert playback.due - began == pytest.approx(0.01)


def test_as_many_steps_as_were_asked_for() -> None:
    """Those that are asked for at once are made one after the other; a hold takes back those that are left."""
    playback, made = Playback(1.0, Event()), 7
    playback.made = lambda: made
    playback.hold(True)
    assert playback._stands()
    for _ in range(3):
        playback.step()
    for _ in range(3):
        assert not playback._stands() and not playback._stands()
        made += 1
    assert playback._stands()
    playback.step()
    playback.hold(True)
    assert playback._stands()


def test_a_reader_that_is_woken_goes_back_to_the_same_part() -> None:
    playback = Playback(1.0, Event())
    playback.hold(True)
    playback.wake()
    assert not playback.wait(packet(5))
    playback.hold(False)
    assert playback.wait(packet(5))
