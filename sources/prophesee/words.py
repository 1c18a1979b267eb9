"""Decoders of Prophesee's words: what lasts of a stream from one block of its bytes to the next."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray
from stream_ottt.sources.reach import WORDS, Reach

if TYPE_CHECKING:
    from stream_ottt.sources.prophesee.kernels import Kernel


class WordDecoder:
    """Words of one stream, block by block, into events. Events before the first word of time have the time -1.

    expelliarmus decodes EVT 2.0 and DAT, but into records of another layout and from a path only; its EVT 3.0 is wrong.
    One compiled pass into the layout that is needed is faster.

    Class attributes:
        word: dtype of a word.
        events_per_word: the most events that one word can hold.
        initial: what the loop's state begins with.
        loops: module of the compiled loop, which is imported at its first use.
        loop: name of the loop.

    Attributes:
        reach: how far the events of the array yielded last go.
        words: how many words were decoded.
        unknown: how many of them are of a type that the format does not have; they are passed over.
    """

    word: ClassVar[np.dtype[np.integer]]
    events_per_word: ClassVar[int] = 1
    initial: ClassVar[tuple[int, ...]]
    loops: ClassVar[str] = "stream_ottt.sources.prophesee.kernels"
    loop: ClassVar[str]

    def __init__(self) -> None:
        self.reach = Reach()
        self.words = 0
        self.unknown = 0
        self._state = np.array(self.initial, np.int64)
        self._kernel: Kernel = getattr(import_module(self.loops), self.loop)

    def decode(self, data: npt.NDArray[np.uint8]) -> Iterator[EventArray]:
        """Decode the next bytes [n], whole words.

        Yields:
            Events [m ≥ 1] in order.
        """
        words = data.view(self.word)
        at = 0
        while at < len(words):
            room = min(self.events_per_word * (len(words) - at), PACKET_EVENTS + self.events_per_word)
            out = np.empty(room, EVENT_DTYPE)
            self.reach.clear()
            events, used, unknown = self._kernel(words[at:], out.view(WORDS), self._state, self.reach.values)
            at += used
            self.words += used
            self.unknown += unknown
            if events:
                yield out[:events]


class Evt2Decoder(WordDecoder):
    """EVT 2.0: https://docs.prophesee.ai/stable/data/encoding_formats/evt2.html"""

    word = np.dtype("<u4")
    initial = (-1, 0, 0)
    loop = "evt2"


class Evt21Decoder(WordDecoder):
    """EVT 2.1: https://docs.prophesee.ai/stable/data/encoding_formats/evt21.html"""

    word = np.dtype("<i8")
    events_per_word = 32
    initial = (-1, 0, 0, 0)
    loop = "evt21"

    def swap(self) -> None:
        """The pixels stand in a word's upper half."""
        self._state[3] = 1


class Evt3Decoder(WordDecoder):
    """EVT 3.0: https://docs.prophesee.ai/stable/data/encoding_formats/evt3.html"""

    word = np.dtype("<u2")
    events_per_word = 12
    initial = (-1, 0, 0, -1, 0, 0, 0)
    loop = "evt3"


class DatDecoder(WordDecoder):
    """DAT: https://docs.prophesee.ai/stable/data/file_formats/dat.html"""

    word = np.dtype("<i8")
    initial = (0, 0)
    loop = "dat"


class Dat1Decoder(DatDecoder):
    """DAT of version 1, of the first cameras."""

    loop = "dat_1"
