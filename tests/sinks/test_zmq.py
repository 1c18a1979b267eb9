"""Predictions over ZeroMQ, read back with plain pyzmq."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
import zmq

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.live import topics
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.sinks import feed_sink as module
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.zmq import ZmqSink

LIMIT = 60.0


def result(step: int) -> StepResult:
    frame = np.zeros((2, 4, 4), np.float32)
    timestep = Timestep(frame, step * 1000, step * 1000 + 1000, step, events=17)
    logits = np.array([0.5, np.nan])
    prediction = Prediction(step, step * 1000, step * 1000 + 1000, logits, 1, 9, 0.75, True, step - 1, 0.0125)
    return StepResult(timestep, prediction, truth=9, scored=True)


def view(source: str = "walk.aedat4") -> RunView:
    return RunView(RunFacts(source, class_names={9: "bell"}), lambda: RunSnapshot(None, Ledger()))


def read_all(kind: int, uri: str, topic: str) -> list[tuple[bytes, dict[str, Any]]]:
    """All messages up to the one that ends them."""
    got = []
    with zmq.Context() as context, context.socket(kind) as reader:
        reader.linger = 0
        reader.connect(uri)
        if kind == zmq.SUB:
            reader.subscribe(topic)
        while not got or not got[-1][1]["eos"]:
            assert reader.poll(LIMIT * 1000)
            name, head = reader.recv_multipart()
            got.append((name, json.loads(head)))
    return got


@pytest.mark.parametrize(("scheme", "kind"), [("zmq+pub", zmq.SUB), ("zmq+push", zmq.PULL)])
def test_what_a_reader_gets(scheme: str, kind: int) -> None:
    async def go() -> list[tuple[bytes, dict[str, Any]]]:
        with zmq.Context() as context, context.socket(zmq.PULL) as probe:
            port = probe.bind_to_random_port("tcp://127.0.0.1")
        sink = open_sink(f"{scheme}://127.0.0.1:{port}?wait=1&wait_for=20s")
        reading = asyncio.create_task(asyncio.to_thread(read_all, kind, f"tcp://127.0.0.1:{port}", "predictions/walk"))
        await sink.open(view())
        for step in range(3):
            await sink.consume(result(step))
        await sink.close(None)
        return await asyncio.wait_for(reading, LIMIT)

    got = asyncio.run(go())
    assert {name for name, _ in got} == {b"predictions/walk"}
    assert [values["seq"] for _, values in got] == [0, 1, 2, 3]
    assert got[1][1] == {
        "v": 1,
        "seq": 1,
        "step": 1,
        "t0": 1000,
        "t1": 2000,
        "class": 9,
        "name": "bell",
        "confidence": 0.75,
        "unknown": False,
        "latency_ms": 12.5,
        "learned": True,
        "learned_from": 0,
        "truth": 9,
        "truth_name": "bell",
        "scored": True,
        "learning": None,
        "accuracy": None,
        "presentations": 0,
        "labels": [],
        "n": 17,
        "logits": [0.5, None],
        "eos": False,
    }
    assert got[3][1] == {
        "v": 1,
        "seq": 3,
        "learning": None,
        "accuracy": None,
        "presentations": 0,
        "labels": [],
        "eos": True,
    }


def test_nobody_who_listens_is_no_failure() -> None:
    async def go() -> None:
        sink = open_sink("zmq+pub://127.0.0.1:0")
        await sink.open(view())
        for step in range(500):
            await sink.consume(result(step))
        await asyncio.wait_for(sink.close(None), LIMIT)

    asyncio.run(go())


def test_push_without_a_reader_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def go() -> None:
        sink = open_sink("zmq+push://127.0.0.1:0")
        await sink.open(view())
        try:
            await asyncio.wait_for(sink.consume(result(0)), LIMIT)
        finally:
            with pytest.raises(OutputError):
                await sink.close(None)

    with pytest.raises(OutputError, match="no reader has taken anything"):
        asyncio.run(go())


def test_a_reader_that_does_not_come_is_not_waited_for_without_end() -> None:
    async def go() -> None:
        await open_sink("zmq+pub://127.0.0.1:0?wait=1&wait_for=50ms").open(view())

    with pytest.raises(OutputError, match=r"no reader came within 0\.05 s"):
        asyncio.run(go())


def test_an_address_in_use_is_said() -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(OutputError, match="cannot be bound"):
            asyncio.run(open_sink(f"zmq+pub://127.0.0.1:{port}").open(view()))


def test_nobody_is_let_in_from_elsewhere_without_consent() -> None:
    with pytest.raises(UsageError, match="keys new"):
        open_sink("zmq+pub://*:5556")
    assert isinstance(open_sink("zmq+pub://*:5556?insecure"), ZmqSink)
    assert isinstance(open_sink("zmq+pub://example.org:5556?bind=false"), ZmqSink)


def test_the_topic_can_be_chosen() -> None:
    sink = open_sink("zmq+pub://127.0.0.1:0?topic=x")
    assert isinstance(sink, ZmqSink)
    asyncio.run(_open_and_close(sink))
    assert sink._message(result(0))[0] == topics.topic("predictions", "x")


async def _open_and_close(sink: ZmqSink) -> None:
    await sink.open(view())
    await sink.close(None)
