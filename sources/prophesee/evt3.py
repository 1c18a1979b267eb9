"""Prophesee RAW files in EVT 3.0: words of 16 bits, each of which changes one part of a state.

Not read: triggers and the camera's messages; words of types that the format does not have are counted and passed
over.

Traps of other readers: expelliarmus 1.1.12 doubles the times, ends at words of triggers and writes damaged files;
other readers end at unknown words; times have 24 bits, and must be continued every 16.8 s.
"""

from __future__ import annotations

from pathlib import Path

from stream_ottt.sources.prophesee.base import RawSource, parse_header
from stream_ottt.sources.prophesee.words import Evt3Decoder


class Evt3Source(RawSource):
    """Pixel events of a Prophesee RAW file in EVT 3.0; triggers and the camera's messages are passed over."""

    name = "evt3"
    encoding = "EVT3"
    decoder = Evt3Decoder

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return parse_header(head).encoding == "EVT3"
