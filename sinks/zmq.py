"""Predictions over ZeroMQ: ``zmq+pub://127.0.0.1:5556`` and ``zmq+push://…`` (docs/feed.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import StepResult
from stream_ottt.live import feed
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions, check_exposure, parse_address
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.settings import Duration
from stream_ottt.sinks.jsonl import finite

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView

PATIENCE_S = 5.0
"""Longest wait for a reader that takes nothing: of PUSH at each message, of both at the last."""


class ZmqSinkConfig(SinkConfig, SocketOptions):
    """Options of :class:`ZmqSink`, beside those of every socket of the feed.

    Attributes:
        target: ``zmq+pub://HOST:PORT`` or ``zmq+push://HOST:PORT``.
        bind: wait for readers at this address, which is what a sink does unless told otherwise.
        topic: name of the source in ``predictions/NAME``; None derives it from the source.
        wait: readers to wait for before the run begins.
        wait_for: longest such wait.
    """

    bind: bool = True
    topic: str | None = None
    wait: int = Field(0, ge=0)
    wait_for: Duration = 60_000_000

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        return None if topic is None else feed.check_name(topic)


class ZmqSink(Sink):
    """Sends one message a timestep, numbered, and one that says that the run has ended."""

    name = "zmq"
    schemes = ("zmq+pub", "zmq+push")
    Config = ZmqSinkConfig
    config: ZmqSinkConfig

    def __init__(self, config: ZmqSinkConfig) -> None:
        super().__init__(config)
        kind, host, _ = parse_address(config.target)
        if kind not in ("pub", "push"):
            raise UsageError(f"{config.target}: predictions are sent with zmq+pub:// or zmq+push://")
        check_exposure(config.target, host, config)
        self._sender: Sender | None = None
        self._run: RunView | None = None
        self._topic = config.topic or ""
        self._seq = 0

    async def open(self, run: RunView) -> None:
        self._run = run
        self._topic = self.config.topic or feed.source_name(run.facts.source)
        sender = Sender(self.config.target, self.config)
        try:
            topic = feed.topic("predictions", self._topic)
            await sender.wait_for_readers(self.config.wait, topic, self.config.wait_for / 1e6)
        except BaseException:
            await sender.close()
            raise
        self._sender = sender

    async def consume(self, result: StepResult) -> None:
        if self._sender is not None:
            await self._sender.send(self._message(result), PATIENCE_S)
            self._seq += 1

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._sender is None:
            return
        sender, self._sender = self._sender, None
        try:
            last = feed.pack_prediction(self._topic, {"seq": self._seq, "eos": True})
            await sender.send_last(last, PATIENCE_S)
        finally:
            await sender.close()

    def _message(self, result: StepResult) -> list[bytes]:
        p = result.prediction
        names = {} if self._run is None else self._run.facts.class_names
        return feed.pack_prediction(
            self._topic,
            {
                "seq": self._seq,
                "step": p.step,
                "t0": p.t_start,
                "t1": p.t_end,
                "class": p.label,
                "name": names.get(p.label),
                "confidence": finite(p.confidence),
                "unknown": p.unknown,
                "latency_ms": finite(p.latency_s * 1e3),
                "learned": p.learned,
                "learned_from": p.learned_from,
                "truth": result.truth,
                "scored": result.scored,
                "n": result.timestep.events,
                "logits": [finite(logit) for logit in p.logits.tolist()],
                "eos": False,
            },
        )
