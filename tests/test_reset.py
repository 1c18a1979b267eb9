"""The command `reset` puts the network at rest: the next prediction is that of a network that has seen nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import numpy as np
import zmq
from helpers import (
    ListSink,
    ListSource,
    labelled_events,
    pipeline_of,
    small_learner,
    small_session,
    timesteps,
    to_the_end,
)

from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.live.inputs import LiveInputs

AT = 12
EVENTS = labelled_events(0, 3)
STEPS = timesteps(EVENTS)


def ask(endpoint: str, name: str) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(endpoint)
        client.send(json.dumps({"v": 1, "command": name}).encode())
        assert client.poll(60_000), "no answer"
        found: dict[str, Any] = json.loads(client.recv())
        return found


def test_the_command_puts_the_network_at_rest() -> None:
    session, sink = small_session(None), ListSink()
    there, asked = threading.Event(), threading.Event()
    process = session.process

    def held(timestep: Timestep) -> StepResult:
        """Waits in the timestep before, until the command is among what the thread does next."""
        if timestep.index == AT - 1:
            there.set()
            assert asked.wait(60)
        return process(timestep)

    session.process = held  # type: ignore[method-assign]
    pipeline = pipeline_of(ListSource(EVENTS), [sink], session)
    do = pipeline.learning.do

    def taken(act: Any) -> Any:
        future = do(act)
        asked.set()
        return future

    pipeline.learning.do = taken  # type: ignore[method-assign]

    async def go() -> None:
        inputs = LiveInputs(pipeline, key_span=1, labels=False, save=None, status=lambda _: {})
        endpoint = inputs.open_control("zmq+rep://127.0.0.1:0")
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(there.wait, 60)
        assert (await asyncio.to_thread(ask, endpoint, "reset"))["ok"]
        await running
        await inputs.close()

    asyncio.run(asyncio.wait_for(go(), 60))
    logits = [r.prediction.logits for r in sink.results]
    fresh, other = small_learner(), small_learner()
    plain = [fresh.step(t, learn=False).logits for t in STEPS]
    after = [other.step(t, learn=False).logits for t in STEPS[AT:]]
    assert not np.array_equal(plain[AT], after[0])
    np.testing.assert_array_equal(logits[:AT], plain[:AT])
    np.testing.assert_array_equal(logits[AT:], after)
