"""Prophesee RAW files in EVT 3.0: words of 16 bits, each of which changes one part of a state.

The package ``evt3`` decodes them: the state machine does not vectorize, and expelliarmus reads this encoding
wrongly (it doubles the time and stops at trigger words).
Format: https://docs.prophesee.ai/stable/data/encoding_formats/evt3.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events import EVENT_DTYPE, EventArray, EventPacket, make_events
from stream_ottt.sources.prophesee import RawSource, parse_header


class Evt3Decoder:
    """Words of one stream, block by block, into events.

    What stands before the first TIME_HIGH word has no time yet and gives no events; triggers and words of reserved
    types are passed over.

    Raises:
        UsageError: the package ``evt3`` is not installed.
    """

    def __init__(self) -> None:
        try:
            import evt3
        except ImportError as e:
            raise UsageError("reading EVT 3.0 needs the package evt3: pip install 'stream-ottt[prophesee]'") from e
        self._decoder = evt3.Decoder()

    def decode(self, data: bytes) -> EventArray:
        """Decode the next bytes, whole words: up to 12 events for every 2 bytes."""
        columns = self._decoder.feed(data)
        x, y, t, p = columns.x, columns.y, columns.timestamp.view(np.int64), columns.polarity
        if len(x) and x.max() >= 2**15:  # an endless vector of a damaged file
            return make_events(x, y, t, p)
        out = np.empty(len(x), EVENT_DTYPE)
        out["x"], out["y"] = x.view(np.int16), y.view(np.int16)
        out["t"], out["p"] = t, p.view(np.bool_)
        return out


class Evt3Source(RawSource):
    """Pixel events of a Prophesee RAW file in EVT 3.0."""

    name = "evt3"
    encoding = "EVT3"
    word_bytes = 2

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return parse_header(head).encoding == "EVT3"

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            width, height = self.begin(file)
            decoder = Evt3Decoder()
            for _, block in self.blocks(file):
                events = decoder.decode(block.tobytes())
                if len(events):
                    yield EventPacket(events, width, height)
