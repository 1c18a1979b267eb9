"""The bytes of one ECF chunk, compiled; every read is checked against the end of the chunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import jit

INT: Any = np.int64
"""Bytes must become integers with a sign: with one without, numba makes a float."""
LAST_SHIFT = 60
"""Bits before the last four of a time step."""


@jit(exact=True)
def _word(data: Any, at: int) -> Any:
    """16 bits at ``at``, the lower byte first; that they are there is the caller's to know."""
    return INT(data[at]) | INT(data[at + 1]) << 8


@jit(exact=True)
def decode(data: Any, out: Any) -> int:
    """Fill the records ``out`` [n] (fields x, y, p, t) from a chunk's bytes (uint8 [m]), which are to say n events.

    Returns:
        How many bytes were used; where they do not fit the events, the offset of the damage less 2^62.
    """
    n = len(out)
    bad = -(1 << 62)
    if len(data) < 12:
        return bad
    kind = INT(data[0]) & 3
    at = _times(data, out, 12)
    if at < 0:
        return at
    if kind >= 2:
        return _packed_pixels(data, out, at)
    at = _rows(data, out, at)
    if at < 0:
        return at
    if kind == 1:
        return _packed_columns(data, out, at)
    at = _columns(data, out, at)
    return at if at < 0 else _polarities(data, out, at, n)


@jit(exact=True)
def _times(data: Any, out: Any, at: int) -> int:
    """Steps (upper half of a byte) each with the number of events after it (lower half; 15: in the next two bytes).
    A step of 15 is a part of a longer one: the lower half holds four bits of it, the lowest first."""
    bad = -(1 << 62)
    t = INT(0)
    for k in range(8):
        t |= INT(data[4 + k]) << (8 * k)
    i = 0
    while i < len(out):
        if at >= len(data):
            return bad + at
        step, count = INT(data[at]) >> 4, INT(data[at]) & 15
        at += 1
        if step == 15:
            long, shift = count, 4
            while at < len(data) and INT(data[at]) >> 4 == 15:
                if shift > LAST_SHIFT:
                    return bad + at
                long |= (INT(data[at]) & 15) << shift
                shift += 4
                at += 1
            t += long
            continue
        t += step
        if count == 15:
            if at + 2 > len(data):
                return bad + at
            count = _word(data, at)
            at += 2
        if count > len(out) - i:
            return bad + at
        for k in range(i, i + count):
            out[k].t = t
        i += count
    return at


@jit(exact=True)
def _rows(data: Any, out: Any, at: int) -> int:
    """Words of 16 bits: y, and in the lower five bits the number of events on it (31: in the next word)."""
    bad = -(1 << 62)
    i = 0
    while i < len(out):
        if at + 2 > len(data):
            return bad + at
        word = _word(data, at)
        at += 2
        count = word & 31
        if count == 31:
            if at + 2 > len(data):
                return bad + at
            count = _word(data, at)
            at += 2
        if count > len(out) - i:
            return bad + at
        for k in range(i, i + count):
            out[k].y = word >> 5
        i += count
    return at


@jit(exact=True)
def _columns(data: Any, out: Any, at: int) -> int:
    """Words of 16 bits: x, and in the lower five bits which of the five pixels after it follow, the nearest highest.
    Bits beyond the last event mean nothing."""
    bad = -(1 << 62)
    i = 0
    while i < len(out):
        if at + 2 > len(data):
            return bad + at
        word = _word(data, at)
        at += 2
        out[i].x = word >> 5
        i += 1
        for k in range(5):
            if word >> (4 - k) & 1 and i < len(out):
                out[i].x = (word >> 5) + k + 1
                i += 1
    return at


@jit(exact=True)
def _polarities(data: Any, out: Any, at: int, n: int) -> int:
    """Bytes: polarity, and in the lower seven bits the number of events with it (127: in the next two bytes)."""
    bad = -(1 << 62)
    i = 0
    while i < n:
        if at >= len(data):
            return bad + at
        p, count = INT(data[at]) >> 7, INT(data[at]) & 127
        at += 1
        if count == 127:
            if at + 2 > len(data):
                return bad + at
            count = _word(data, at)
            at += 2
        if count > n - i:
            return bad + at
        for k in range(i, i + count):
            out[k].p = p
        i += count
    return at


@jit(exact=True)
def _packed_columns(data: Any, out: Any, at: int) -> int:
    """Four events in three words of 16 bits: x and polarity in 12 bits each. Of the second and third, the lower part
    fills up one word and the upper part leads the next."""
    bad = -(1 << 62)
    for i in range(0, len(out), 4):
        if at + 6 > len(data):
            return bad + at
        a = _word(data, at)
        b = _word(data, at + 2)
        c = _word(data, at + 4)
        at += 6
        four = (a >> 4, (a & 0xF) | b >> 8 << 4, (b & 0xFF) | c >> 12 << 8, c & 0xFFF)
        for k in range(min(4, len(out) - i)):
            out[i + k].x = four[k] >> 1
            out[i + k].p = four[k] & 1
    return at


@jit(exact=True)
def _packed_pixels(data: Any, out: Any, at: int) -> int:
    """Four events in three words of 32 bits: y (from bit 12), x and polarity in 24 bits each, split as there."""
    bad = -(1 << 62)
    for i in range(0, len(out), 4):
        if at + 12 > len(data):
            return bad + at
        a = b = c = INT(0)
        for k in range(4):
            a |= INT(data[at + k]) << (8 * k)
            b |= INT(data[at + 4 + k]) << (8 * k)
            c |= INT(data[at + 8 + k]) << (8 * k)
        at += 12
        four = (a >> 8, (a & 0xFF) | b >> 16 << 8, (b & 0xFFFF) | c >> 24 << 16, c & 0xFFFFFF)
        for k in range(min(4, len(out) - i)):
            out[i + k].y = four[k] >> 12 & 0x7FF
            out[i + k].x = four[k] >> 1 & 0x7FF
            out[i + k].p = four[k] & 1
    return at
