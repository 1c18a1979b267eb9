"""Reads a file in the thread that bins it, which waits for the learner."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from threading import Event
from typing import cast

from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.playback import Playback
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.pipeline.source_reader import Arrived, Labels, SourceReader


class FileReader(SourceReader):
    """Reads a source that can wait, in the binner's own thread.

    Args:
        source, passes, stopped: see :class:`SourceReader`.
        speed: stream seconds per wall second at the beginning, or None for as fast as possible.
        ready: set when the learner is; at a pace, what comes after the first packet waits for it.

    Attributes:
        playback: a person's hand on it.
    """

    playback: Playback
    source: BlockingSource

    def __init__(
        self, source: BlockingSource, *, passes: int, speed: float | None, stopped: Event, ready: Event
    ) -> None:
        super().__init__(source, passes=passes, stopped=stopped)
        self._ready = ready
        self.playback = Playback(speed, stopped)

    def stop(self) -> None:
        self.playback.wake()

    def wake(self) -> None:
        self.playback.wake()

    def arrivals(self) -> Generator[Arrived]:
        try:
            for number in range(self._passes):
                self.playback.begin()
                labels: Labels | None = None
                self._behind = 0
                with closing(cast("Generator[EventPacket]", self.source.excerpt())) as packets:
                    for packet in packets:
                        labels = self.source.labels if labels is None else labels
                        if number < self._skip[0]:
                            break  # it was begun all the same, so that a source that shuffles counts its passes
                        if (left := self._without_skipped(packet, number)) is None:
                            if self._stopped.is_set():
                                return
                            continue
                        rest = len(left)
                        for part in self.playback.parts(left):
                            while not self.playback.wait(part):
                                yield Arrived(time.perf_counter())
                            if self._stopped.is_set():
                                of = left.part(len(left) - rest).shares
                                self.ledger.count("read", rest, of)
                                self.ledger.drop("stopped", rest, of)
                                return
                            rest -= len(part)
                            yield self._count(part, self.playback.due, number, labels)
                            if self.playback.speed is not None and not self._ready.is_set():
                                self._ready.wait()
                                self.playback.go_on()
                self._check_skipped(number)
        except Exception as e:
            self.error = e

    async def run(self) -> None:
        return
