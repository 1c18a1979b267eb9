"""Decompression of one LZ4 or Zstandard frame, or bz2 stream, that cannot be made to fill the memory.

What a frame says of its own size is checked before anything is allocated for it; without such a word the
output grows only as it is made, up to the limit.
"""

from __future__ import annotations

import bz2

import lz4.frame
import zstandard

MIN_LIMIT = 16 << 20
MAX_RATIO = 16
"""Events pack to a half or a fifth. A frame beyond 16 MiB may hold this many times its packed bytes."""
LZ4_MAX_RATIO = 255
STEP = 4 << 20

Buffer = bytes | memoryview


class DecompressError(ValueError):
    """A damaged frame, an incomplete one, or one beyond the limit."""


def limit_of(packed: int) -> int:
    """How many bytes a frame of ``packed`` bytes may hold."""
    return max(MIN_LIMIT, MAX_RATIO * packed)


def _too_large(limit: int) -> DecompressError:
    return DecompressError(f"it unpacks to more than {limit >> 20} MiB")


def lz4_frame(data: Buffer) -> bytes | bytearray:
    """Unpack one whole LZ4 frame.

    Raises:
        DecompressError: it is damaged, incomplete, or beyond the limit.
    """
    limit = limit_of(len(data))
    # Frame descriptor: magic, FLG, BD, and when FLG's bit 3 is set the content's size.
    sized = len(data) >= 14 and bool(data[4] & 8)
    if sized and int.from_bytes(data[6:14], "little") > limit:
        raise _too_large(limit)
    try:
        if sized or LZ4_MAX_RATIO * len(data) <= limit:
            whole: bytes = lz4.frame.decompress(data)
            return whole
        frame = lz4.frame.LZ4FrameDecompressor()
        out = bytearray(frame.decompress(data, max_length=STEP))
        while not frame.eof and not frame.needs_input:
            out += frame.decompress(b"", max_length=STEP)
            if len(out) > limit:
                raise _too_large(limit)
        if not frame.eof:
            raise DecompressError("its LZ4 frame ends early")
        return out
    except RuntimeError as e:
        raise DecompressError(f"its LZ4 frame is damaged ({e})") from e


def bz2_stream(data: Buffer) -> bytes:
    """Unpack one whole bz2 stream.

    Raises:
        DecompressError: it is damaged, incomplete, or beyond the limit.
    """
    limit = limit_of(len(data))
    stream = bz2.BZ2Decompressor()
    try:
        out = stream.decompress(data, max_length=limit + 1)
    except OSError as e:
        raise DecompressError(f"its bz2 stream is damaged ({e})") from e
    if len(out) > limit:
        raise _too_large(limit)
    if not stream.eof:
        raise DecompressError("its bz2 stream ends early")
    return out


class ZstdFrames:
    """Unpacks Zstandard frames one after the other, with one decompressor."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MIN_LIMIT)

    def __call__(self, data: Buffer) -> bytes | bytearray:
        """Unpack one whole Zstandard frame.

        Raises:
            DecompressError: it is damaged, incomplete, or beyond the limit.
        """
        limit = limit_of(len(data))
        try:
            size = zstandard.frame_content_size(data)
            if size > limit:
                raise _too_large(limit)
            if size >= 0:
                return self._decompressor.decompress(data)
            out = bytearray()
            with self._decompressor.stream_reader(data) as reader:
                while piece := reader.read(STEP):
                    out += piece
                    if len(out) > limit:
                        raise _too_large(limit)
            return out
        except zstandard.ZstdError as e:
            raise DecompressError(f"its Zstandard frame is damaged ({e})") from e
