"""The compiled way through lines of comma-separated integers, digit by digit."""

from __future__ import annotations

from typing import Any

from stream_ottt.compiled import jit

MAX_DIGITS = 18
"""As many always fit into int64."""

SPACE, TAB, NEWLINE, RETURN, COMMA, PLUS, MINUS, ZERO = b" \t\n\r,+-0"


@jit(exact=True)
def parse(text: Any, roles: Any, row: Any, out: Any, reach: Any) -> tuple[int, int, int]:
    """Fill ``out``, which has room for all, with the events of whole lines.

    Args:
        text: uint8 [n], ending with a newline.
        roles: int64 [fields]: 0 to 3 for t, x, y, p; -1 for a field that is passed over.
        row: int64 [4], for the loop's own use.
        out: events, as :data:`~stream_ottt.sources.reach.WORDS`.
        reach: as :class:`~stream_ottt.sources.reach.Reach` has it.

    Returns:
        How many events there were, the lines passed and their bytes: fewer than there are when a line is not plainly
        an event. What it is then is for others to say.
    """
    right, bottom, times = reach
    n = lines = at = 0
    last = len(roles) - 1
    while at < len(text):
        line = at
        while text[at] == RETURN:
            at += 1
        if text[at] == NEWLINE:
            at += 1
            lines += 1
            continue
        at = line
        plain = True
        for field in range(last + 1):
            role = roles[field]
            if role < 0:
                while text[at] != COMMA and text[at] != NEWLINE:
                    at += 1
            else:
                while text[at] == SPACE or text[at] == TAB:
                    at += 1
                negative = text[at] == MINUS
                if negative or text[at] == PLUS:
                    at += 1
                value, first = 0, at
                while ZERO <= text[at] < ZERO + 10 and at - first < MAX_DIGITS:
                    value = 10 * value + (text[at] - ZERO)
                    at += 1
                plain = plain and at > first
                while text[at] == SPACE or text[at] == TAB:
                    at += 1
                row[role] = -value if negative else value
            if field < last:
                plain = plain and text[at] == COMMA
                if not plain:
                    break
                at += 1
        if plain:
            while text[at] == RETURN:
                at += 1
        p = row[3]
        if not plain or text[at] != NEWLINE or p > 1 or p < -1:
            at = line
            break
        at += 1
        lines += 1
        t, x, y = row[0], row[1], row[2]
        if not 0 <= x < 0x8000:
            x = 0xFFFF
        if not 0 <= y < 0x8000:
            y = 0xFFFF
        right, bottom, times = max(right, x), max(bottom, y), times | t
        event = out[n]
        event.xy = x | y << 16
        event.t = t
        event.p = p > 0
        n += 1
    reach[:] = right, bottom, times
    return n, lines, at
