"""Prophesee RAW files in EVT 2.0: words of 32 bits, the time's upper bits in words of their own.

Not read: triggers and the camera's messages; files without a header, but for ``?format=``.

Traps of other readers: events before the first word of time have no time (here they are malformed); the first
cameras' headers give no size.
"""

from __future__ import annotations

from pathlib import Path

from stream_ottt.sources.prophesee.base import RawSource, parse_header
from stream_ottt.sources.prophesee.words import Evt2Decoder


class Evt2Source(RawSource):
    """Pixel events of a Prophesee RAW file in EVT 2.0; triggers and the camera's messages are passed over."""

    name = "evt2"
    encoding = "EVT2"
    decoder = Evt2Decoder

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        # Every encoding but the others that are read, so that one that is not ends in a message that says which.
        return parse_header(head).encoding not in ("", "EVT2.1", "EVT3")
