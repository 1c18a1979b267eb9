"""A recording on standard input: ``-?format=NAME``, or ``stdin:?format=NAME`` where ``-`` would begin an option."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.excerpt import as_asked
from stream_ottt.pipeline.source import BlockingSource, SourceConfig
from stream_ottt.sources.aedat4.decoder import Aedat4Decoder
from stream_ottt.sources.pipe import SpooledSource, spool

STANDARD_INPUT = Path("standard input")
CHUNK = 1 << 18
"""Bytes read at once."""


class StdinConfig(SourceConfig, extra="allow"):
    """Options of :class:`StdinSource`; all others are those of the format.

    Attributes:
        format: name of the recording's format.
        address: ``stdin:``, and nothing more.
    """

    format: str = ""
    address: Literal["stdin:", "-"] = "-"


class StdinSource(BlockingSource):
    """Reads AEDAT4 as it comes. Other formats want to look around in their file, so they get one: all of the input,
    unpacked, in a temporary file.
    """

    name = "stdin"
    schemes = ("stdin",)
    Config = StdinConfig
    config: StdinConfig

    def __init__(self, config: StdinConfig) -> None:
        super().__init__(config)
        from stream_ottt.sources.opening import format_of

        if not config.format:
            raise UsageError("standard input: say what it is with -?format=NAME, such as -?format=aedat4")
        options = dict(config.model_extra or {})
        self._format = format_of(config.format)
        # The options are checked now rather than after the input has come.
        self._check: Any = self._format.from_options(path=STANDARD_INPUT, **options)
        if config.format != "aedat4" and "tolerance" not in config.model_fields_set:
            self.config = config.model_copy(update={"tolerance": self._check.config.tolerance})
        self._options = options
        self._source: SpooledSource | None = None
        self._used = False

    def packets(self) -> Iterator[EventPacket]:
        if self._used:
            raise InputError("standard input can be read once; make a file of it for another pass", path="-")
        self._used = True
        options = self._check.config
        if self.config.format == "aedat4":
            yield from as_asked(self._aedat4(), options, None, options.path)
        else:
            yield from self._spooled()

    @property
    def options(self) -> SourceConfig:
        return cast("SourceConfig", self._check.config)

    def describe(self) -> dict[str, Any]:
        return {**(self._source.describe() if self._source else {}), "input": self.config.format}

    @property
    def labels(self) -> Sequence[LabelInterval] | None:
        """The recording's own."""
        return self._source.labels if self._source else None

    @property
    def class_names(self) -> dict[int, str]:
        """The recording's own."""
        return self._source.class_names if self._source else {}

    def _aedat4(self) -> Iterator[EventPacket]:
        decoder = Aedat4Decoder("standard input", self._check.config.stream)
        while data := os.read(sys.stdin.fileno(), CHUNK):
            for events in decoder.feed(data):
                assert decoder.stream is not None
                width, height = self._check.size(decoder.stream)
                yield EventPacket(events, width, height, decoder.reach.within(width, height))
        decoder.close()

    def _spooled(self) -> Iterator[EventPacket]:
        spooled = spool(iter(partial(os.read, sys.stdin.fileno(), CHUNK), b""), STANDARD_INPUT)
        inner = self._format.from_options(path=spooled.path, **self._options)
        self._source = SpooledSource(inner, spooled, STANDARD_INPUT, "stdin")
        for packet in self._source.excerpt():
            self.take_notes(self._source)
            yield packet
