"""What every sink of the live feed's messages is, whatever carries them (docs/feed.md)."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import field_validator

from stream_ottt.events.timestep import StepResult
from stream_ottt.live import feed, topics
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.settings import Duration
from stream_ottt.sinks.jsonl import finite

if TYPE_CHECKING:
    from stream_ottt.labels.timeline import LabelInterval
    from stream_ottt.pipeline.view import RunView

PATIENCE_S = 5.0
"""Longest wait for a reader that takes nothing: of PUSH at each message, of all at the last."""

PROGRESS_S = 0.1
"""Time for which the run's scores are told as they are."""
LABELS = 8
"""Most labels in a message; more are in the next ones."""


class _Progress:
    """What a run has come to, for its messages: scores, and labels that came since the message before.

    Args:
        run: the run.
    """

    def __init__(self, run: RunView) -> None:
        self._run = run
        self._at = float("-inf")
        self._told: dict[str, Any] = {"learning": None, "accuracy": None, "presentations": 0}
        self._labels: deque[LabelInterval] = deque()
        self._taken = 0

    def take(self, within_s: float) -> dict[str, Any]:
        """What is known, at most ``within_s`` seconds old; each label once."""
        now = time.monotonic()
        if now - self._at >= within_s and (session := self._run.snapshot().session) is not None:
            self._at = now
            self._told = {
                "learning": session.learning,
                "accuracy": session.accuracy["presentations"],
                "presentations": session.presentations,
            }
            new = min(session.labels_taken - self._taken, len(session.latest_labels))
            self._labels.extend(session.latest_labels[len(session.latest_labels) - new :])
            self._taken = session.labels_taken
        names = self._run.facts.class_names
        labels = [self._labels.popleft() for _ in range(min(LABELS, len(self._labels)))]
        told = [{"t0": x.t_start, "t1": x.t_end, "class": x.label, "name": names.get(x.label)} for x in labels]
        return {**self._told, "labels": told}


class FeedSender(Protocol):
    """Sends messages of the feed."""

    async def wait_for_readers(self, count: int, topic: bytes, within: float) -> None:
        """Raises OutputError when ``count`` readers do not come within ``within`` seconds."""

    async def send(self, frames: Sequence[bytes | memoryview], within: float | None = None) -> None:
        """Send one message, waiting at most ``within`` seconds where it waits for room."""

    async def send_last(self, frames: Sequence[bytes | memoryview], within: float | None) -> None:
        """Send the message that ends the stream, and see for at most ``within`` seconds that it arrives."""

    async def close(self) -> None:
        """Close, with what was sent under way."""


class FeedSinkConfig(SinkConfig):
    """Options of every sink of the feed.

    Attributes:
        topic: name of the source in ``predictions/NAME``; None derives it from the source.
        wait_for: longest wait for readers.
    """

    topic: str | None = None
    wait_for: Duration = 60_000_000

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        return None if topic is None else topics.check_name(topic)


class FeedSink(Sink):
    """Sends one message a timestep, numbered, and one that says that the run has ended."""

    config: FeedSinkConfig

    def __init__(self, config: FeedSinkConfig) -> None:
        super().__init__(config)
        self._sender: FeedSender | None = None
        self._run: RunView | None = None
        self._topic = config.topic or ""
        self._seq = 0

    @abstractmethod
    def open_sender(self) -> FeedSender:
        """Open what carries the messages. Raises OutputError when it cannot be opened."""

    @property
    @abstractmethod
    def readers(self) -> int:
        """Readers to wait for before the run begins."""

    async def open(self, run: RunView) -> None:
        self._run = run
        self._progress = _Progress(run)
        self._topic = self.config.topic or topics.source_name(run.facts.source)
        sender = self.open_sender()
        try:
            topic = topics.topic("predictions", self._topic)
            await sender.wait_for_readers(self.readers, topic, self.config.wait_for / 1e6)
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
            last = feed.pack_prediction(self._topic, {"seq": self._seq, **self._progress.take(0.0), "eos": True})
            await sender.send_last(last, PATIENCE_S)
        finally:
            await sender.close()

    def _message(self, result: StepResult) -> list[bytes]:
        p = result.prediction
        assert self._run is not None
        names = self._run.facts.class_names
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
                "truth_name": None if result.truth is None else names.get(result.truth),
                "scored": result.scored,
                **self._progress.take(PROGRESS_S),
                "n": result.timestep.events,
                "logits": [finite(logit) for logit in p.logits.tolist()],
                "eos": False,
            },
        )
