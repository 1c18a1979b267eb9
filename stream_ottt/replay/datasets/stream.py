"""Any labelled stream as a data set: each labelled interval is a sample, or is cut into samples.

A collection (N-MNIST in an NPZ file), a folder of recordings, one long recording with its CSV of labels, or ``rcls:``
are all streams. The events are held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventArray
from stream_ottt.images.base import Item
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.replay.datasets.base import EventData, join
from stream_ottt.sources.opening import open_source


@dataclass(slots=True)
class Stream:
    """One stream, read to its end.

    Attributes:
        events: all events, in order of time.
        size: (width, height).
        intervals: its labels, in order of time.
        names: label → name, where the source knows one.
    """

    events: EventArray
    size: tuple[int, int]
    intervals: list[LabelInterval]
    names: dict[int, str] = field(default_factory=dict)


def read_stream(uri: str, labels: str | None) -> Stream:
    """Read a source to its end.

    Raises:
        UsageError: it has no labels, or is live.
    """
    source = open_source(uri)
    if not isinstance(source, BlockingSource):
        raise UsageError(f"{uri}: a live source cannot be replayed; record it first")
    size = (1, 1)
    parts = []
    for packet in source.excerpt():
        size = packet.width, packet.height
        parts.append(packet.events)
    events = join(iter(parts))
    intervals = source.labels if labels is None else read_label_csv(labels).intervals
    if not intervals:
        raise UsageError(f"{uri}: the stream has no labels; give them with --data.labels FILE.csv")
    if len(events) > 1 and (np.diff(events["t"]) < 0).any():
        events = events[np.argsort(events["t"], kind="stable")]
    return Stream(events, size, list(LabelTimeline(intervals, name=labels or uri)), dict(source.class_names))


class StreamData(EventData):
    """The samples of any labelled stream."""

    name = "stream"
    published = "give any source that has labels with --data, such as a collection (.npz), a folder or rcls:"

    def open(self) -> tuple[list[Item], list[Item]]:
        c = self.config
        self._streams = [read_stream(c.path, c.labels)]
        if c.test_path is not None:
            self._streams.append(read_stream(c.test_path, None))
        names = [self._names(stream) for stream in self._streams]
        self.class_names = sorted({n for own in names for n in own.values()}, key=_natural)
        number = {name: i for i, name in enumerate(self.class_names)}
        items = [
            [(number[own[i.label]], i) for i in stream.intervals]
            for own, stream in zip(names, self._streams, strict=True)
        ]
        if c.split == "time":
            return self._by_time(items)
        if c.test_path is not None:
            return self._whole(0, items[0]), self._whole(1, items[1])
        tested = c.test or round(c.test_share * len(items[0]))
        cut = max(len(items[0]) - tested, 0)
        whole = self._whole(0, items[0])
        return whole[:cut], whole[cut:]

    @staticmethod
    def _names(stream: Stream) -> dict[int, str]:
        """Label → name; the label itself where it has none."""
        return {i.label: stream.names.get(i.label, str(i.label)) for i in stream.intervals}

    def _whole(self, which: int, intervals: list[tuple[int, LabelInterval]]) -> list[Item]:
        return [self._item(label, which, i.t_start, i.t_end) for label, i in intervals]

    def _by_time(self, items: list[list[tuple[int, LabelInterval]]]) -> tuple[list[Item], list[Item]]:
        """Each interval in pieces of T windows: its last part to test, or all of the other session."""
        train: list[Item] = []
        test: list[Item] = []
        for label, i in items[0]:
            whole = len(items) > 1
            cut = i.t_end if whole else i.t_end - int((i.t_end - i.t_start) * self.config.test_share)
            train += self._pieces(label, 0, i.t_start, cut)
            if not whole:
                test += self._pieces(label, 0, cut, i.t_end)
        for label, i in items[-1] if len(items) > 1 else []:
            test += self._pieces(label, 1, i.t_start, i.t_end)
        return train, test

    def _pieces(self, label: int, which: int, start: int, end: int) -> list[Item]:
        length = self.config.window * self.config.time_steps
        return [self._item(label, which, at, at + length) for at in range(start, end - length + 1, length)]

    def _item(self, label: int, which: int, start: int, end: int) -> Item:
        return Item(label, f"{which}/{start}/{end}", (which, start, end))

    def events(self, item: Item) -> EventArray:
        which, start, end = item.where
        events = self._streams[which].events
        a, b = np.searchsorted(events["t"], [start, end])
        own: EventArray = events[a:b]
        return own

    def size(self, item: Item) -> tuple[int, int]:
        which: int = item.where[0]
        return self._streams[which].size

    def fingerprint(self) -> list[float]:
        """Of the streams as they were read, whatever they were read from."""
        return [float(n) for s in self._streams for n in (len(s.events), int(s.events["t"].sum()), *s.size)]


def _natural(name: str) -> tuple[int, str]:
    """Numbers in their order, before words."""
    return (int(name), "") if name.isdigit() else (10**9, name)
