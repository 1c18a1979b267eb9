"""What every source of the live feed's messages is, whatever carries them (docs/feed.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import field_validator

from stream_ottt.events.packet import EventArray, EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed, topics
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.settings import Duration, Flag
from stream_ottt.sources.continuity import Continuity
from stream_ottt.sources.senders import Senders

MAX_COMPLAINTS = 10
"""Messages that are described in the statistics when they cannot be read; all are counted."""


class FeedConfig(SourceConfig):
    """Options of every source of the feed.

    Attributes:
        topic: name of the source to follow; None follows the first that is heard.
        follow: go on after the end of the stream, for a source that comes back.
        idle: end after so long without a message; None waits for ever.
    """

    topic: str | None = None
    follow: Flag = False
    idle: Duration | None = None

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        return None if topic is None else topics.check_name(topic)


class FeedSource(Source):
    """Events and labels of one source of the feed. A subclass receives messages and gives them to :meth:`take`.

    One sender is followed at a time: another one under the same name is refused as long as the first goes on.

    A message that cannot be read is counted and described, and changes nothing else. Messages that never came are
    known by the gap in the numbers.
    """

    live = True
    gives_labels = True
    config: FeedConfig

    def __init__(self, config: FeedConfig) -> None:
        super().__init__(config)
        self.following = config.topic
        self.messages = 0
        self.labels_received = 0
        self.malformed = 0
        self.of_others = 0
        self.first_seq: int | None = None
        self._complaints: list[str] = []
        self._size: tuple[int, int] | None = None
        self._expected = 0
        self._continuity = Continuity()
        self._senders = Senders()

    def statistics(self) -> dict[str, Any]:
        return {
            "topic": self.following,
            "messages": self.messages,
            "first_seq": self.first_seq,
            "malformed_messages": self.malformed,
            "malformed": list(self._complaints),
            "other_messages": self.of_others,
            "refused_messages": self._senders.refused,
            "label_messages": self.labels_received,
            **self._continuity.facts(),
        }

    def take(self, frames: Sequence[bytes | memoryview]) -> tuple[EventPacket | None, bool]:
        """Use one message; a packet if it has events, and whether it ends the stream."""
        try:
            kind, source = topics.split_topic(bytes(frames[0][:256]))
            if kind == "predictions" or (self.following is not None and source != self.following):
                self.of_others += 1
                return None, False
            if len(frames) != feed.count_frames(kind):
                raise topics.FeedError(f"{len(frames)} frames, where {kind} have {feed.count_frames(kind)}")
            if kind == "labels":
                self._take_label(feed.unpack_label(frames[1]), feed.label_sender(frames[1]))
                return None, False
            header, events = feed.unpack_events(frames[1], frames[2])
            return self._use(source, header, events)
        except topics.FeedError as e:
            self.refuse(e)
            return None, False

    def _use(self, source: str, header: feed.EventHeader, events: EventArray) -> tuple[EventPacket | None, bool]:
        before = self._senders.followed
        repeated = header.eos and bool(self.messages) and header.seq == self._expected - 1
        back = bool(self.messages) and header.seq < self._expected and not repeated
        if not self._senders.takes(header.sender, anew=back):
            return None, False
        size = (header.width, header.height)
        if self._size is not None and size != self._size:
            raise topics.FeedError(f"a sensor of {size[0]}×{size[1]}, where it was {self._size[0]}×{self._size[1]}")
        self.following, self._size = source, size
        if repeated and header.sender == before:
            return None, True  # said again, to whoever had not heard it
        anew = back or (before is not None and header.sender != before)
        self._count(header.seq, anew=anew)
        if header.n:
            self._continuity.place(events, restarted=anew)
        if header.eos:
            self._senders.ended()
            self._continuity.ended(header.t1)
        return (EventPacket(events, *size) if header.n else None), header.eos

    def refuse(self, error: topics.FeedError) -> None:
        """Count a message that cannot be read."""
        self.malformed += 1
        if len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.append(str(error))

    def _count(self, seq: int, *, anew: bool) -> None:
        """Find what is missing before message ``seq``, where the source counts ``anew`` from 0, or goes on."""
        self.messages += 1
        if self.first_seq is None:
            self.first_seq = seq
        if anew:
            self._continuity.interrupted(max(0, seq - self._senders.refused_before) or None)
        elif self.messages > 1 and seq > self._expected:
            self._continuity.interrupted(seq - self._expected)
        self._expected = seq + 1

    def _take_label(self, interval: LabelInterval, sender: str) -> None:
        if sender and self._senders.followed not in (None, "", sender):
            self._senders.refuse(f"labels of {sender}")  # it is of another stream, with another clock
            return
        self.labels_received += 1
        shift = self._continuity.shift
        if self.on_label is not None:
            self.on_label(replace(interval, t_start=interval.t_start + shift, t_end=interval.t_end + shift))
