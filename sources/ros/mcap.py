"""Bags of ROS 2 in MCAP, over the package mcap, read from chunk to chunk, so that one that was cut off is read up to
there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

from stream_ottt.errors import InputError
from stream_ottt.sources.decompress import DecompressError, ZstdFrames, lz4_frame
from stream_ottt.sources.ros.bag import MAX_CHUNK, Bag, Message, Topic, WithinFile, plain_type

MAGIC = b"\x89MCAP0\r\n"


class McapBag(Bag):
    """A bag in MCAP."""

    def topics(self) -> list[Topic]:
        if summary := self._summary:
            return [topic for topic, _ in self._channels(summary).values()]
        found: dict[Topic, None] = {}
        with suppress(InputError):  # what is wrong is told when the messages are read
            for topic, _ in self._records():
                found[topic] = None
        self._unpacked = 0
        return list(found)

    def span(self) -> tuple[int, int] | None:
        summary = self._summary
        if not summary or not summary.chunk_indexes or not summary.statistics:
            return None
        return summary.statistics.message_start_time, summary.statistics.message_end_time

    def messages(self, topic: Topic, start: int = 0) -> Iterator[Message]:
        for own, message in self._records(start):
            if own == topic and message is not None:
                yield message

    @cached_property
    def _summary(self) -> Any:
        """What mcap finds at the file's end; None where it was cut off, or where it says nothing."""
        from mcap.reader import SeekingReader

        with self.damage(), WithinFile(self.path) as file:
            try:
                summary = SeekingReader(file, record_size_limit=MAX_CHUNK).get_summary()
            except Exception:  # it was cut off: what there is of it is looked through
                return None
            return summary if summary is not None and summary.channels else None

    @staticmethod
    def _channels(summary: Any) -> dict[int, tuple[Topic, bool]]:
        """Number → topic, and whether its messages are serialized as ROS 2 does."""
        schemas = {s.id: s.name for s in summary.schemas.values()}
        return {
            c.id: (Topic(c.topic, plain_type(schemas.get(c.schema_id, ""))), c.message_encoding != "ros1")
            for c in summary.channels.values()
        }

    def _records(self, start: int = 0) -> Iterator[tuple[Topic, Message | None]]:
        """Each channel with None, and each message, from the first chunk that has some of ``start`` (ns) on."""
        from mcap.records import Channel, Chunk, Schema
        from mcap.records import Message as Record
        from mcap.stream_reader import StreamReader, breakup_chunk

        zstd = ZstdFrames()
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[Topic, bool]] = {}
        self.at = 0
        with self.damage(), WithinFile(self.path) as file:
            summary = self._summary if start else None
            if (
                late := [c.chunk_start_offset for c in summary.chunk_indexes if c.message_end_time >= start]
                if summary
                else []
            ):
                channels = self._channels(summary)
                file.seek(min(late))
            reader = StreamReader(file, skip_magic=bool(late), emit_chunks=True, record_size_limit=MAX_CHUNK)
            for outer in reader.records:
                self.share = file.tell() / self.size
                inner = [outer]
                if isinstance(outer, Chunk):
                    inner = breakup_chunk(self._whole(outer, zstd))
                for record in inner:
                    if isinstance(record, Schema):
                        schemas[record.id] = record.name
                    elif isinstance(record, Channel):
                        topic = Topic(record.topic, plain_type(schemas.get(record.schema_id, "")))
                        channels.setdefault(record.id, (topic, record.message_encoding != "ros1"))
                        yield channels[record.id][0], None
                    elif isinstance(record, Record) and record.channel_id in channels:
                        topic, cdr = channels[record.channel_id]
                        yield topic, Message(record.data, cdr)
                self.at = file.tell()

    def _whole(self, chunk: Any, zstd: ZstdFrames) -> Any:
        """A chunk of mcap's, unpacked. Raises ValueError when it is damaged."""
        kinds: dict[str, Callable[[bytes], bytes | bytearray]] = {"": bytes, "lz4": lz4_frame, "zstd": zstd}
        unpack = kinds.get(chunk.compression)
        if unpack is None:
            raise DecompressError(f"a chunk packed as {chunk.compression[:20]!r}, expected lz4 or zstd")
        chunk.data = bytes(unpack(chunk.data))
        if len(chunk.data) != chunk.uncompressed_size:
            raise DecompressError(f"a chunk of {len(chunk.data)} bytes, where {chunk.uncompressed_size} were announced")
        chunk.compression = ""
        self.unpacked(len(chunk.data))
        return chunk
