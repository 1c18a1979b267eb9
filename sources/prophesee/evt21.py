"""Prophesee RAW files in EVT 2.1: words of 64 bits, each of up to 32 neighbouring pixels.

Not read: triggers and the camera's messages; big-endian words.

Traps of other readers: a GenX320 may send the two halves of a word in the other order (``endianness=legacy``), and
some headers do not say so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream_ottt.sources.prophesee.base import Header, RawSource, parse_header
from stream_ottt.sources.prophesee.words import Evt21Decoder, WordDecoder

TIME_HIGH = 0x8


class Evt21Source(RawSource):
    """Pixel events of a Prophesee RAW file in EVT 2.1; triggers and the camera's messages are passed over.

    The pixels of a word stand in its lower half, or, where the header says ``endianness=legacy``, in its upper half.
    Words of time have no pixels: where these say otherwise than the header, they are believed.
    """

    name = "evt21"
    encoding = "EVT2.1"
    decoder = Evt21Decoder
    byte_orders = ("little", "legacy")

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return parse_header(head).encoding == "EVT2.1"

    def prepare(self, decoder: WordDecoder, header: Header, block: npt.NDArray[np.uint8]) -> None:
        assert isinstance(decoder, Evt21Decoder)
        lower, upper = block.view("<u4")[::2], block.view("<u4")[1::2]
        usual = np.count_nonzero((upper >> 28 == TIME_HIGH) & (lower == 0))
        other = np.count_nonzero((lower >> 28 == TIME_HIGH) & (upper == 0))
        order = header.format.get("endianness", "").lower()
        if other > usual or (order == "legacy" and other == usual):
            decoder.swap()
