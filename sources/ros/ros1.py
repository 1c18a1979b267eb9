"""Bags of ROS 1, over the package rosbags: from chunk to chunk, so that one that was cut off is read up to there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from stream_ottt.sources.ros.bag import Bag, Message, Topic, WithinFile

if TYPE_CHECKING:
    from stream_ottt.sources.ros.ros1_reader import BagReader

MAGIC = b"#ROSBAG V"
VERSION = b"#ROSBAG V2.0\n"


class Ros1Bag(Bag):
    """A bag of ROS 1, version 2.0."""

    def topics(self) -> list[Topic]:
        reader = self._reader
        if not reader.known:
            with suppress(Exception), WithinFile(self.path) as reader.bio:  # what is wrong is told with the messages
                for _ in reader.records():
                    pass
            self._unpacked = 0
        return list(dict.fromkeys(reader.known.values()))

    def span(self) -> tuple[int, int] | None:
        reader = self._reader
        return (reader.start_time, reader.end_time) if reader.chunk_infos else None

    def messages(self, topic: Topic, start: int = 0) -> Iterator[Message]:
        reader = self._reader
        with self.damage(), WithinFile(self.path) as reader.bio:
            for own, data in reader.records(start):
                if own == topic:
                    self.share = reader.bio.tell() / self.size
                    yield Message(data, cdr=False)
            if not reader.indexed:
                says = "the recording was cut off here, and has no whole index; all before it was read"
                raise self.fail(says, self.size)

    @cached_property
    def _reader(self) -> BagReader:
        """The reader with what the bag's index says."""
        from stream_ottt.sources.ros.ros1_reader import BagReader

        self.at = 0
        with self.damage():
            with WithinFile(self.path) as file:
                magic = file.read(len(VERSION))
            if magic != VERSION:
                fix = "bring an older bag up to date with `rosbag fix`"
                raise self.fail(f"expected {VERSION!r}, found {magic!r}; {fix}", 0)
            reader = BagReader(self)
            reader.open()
        return reader
