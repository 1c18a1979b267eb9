"""The way through lines of numbers, byte by byte."""

from __future__ import annotations

from typing import Any

from stream_ottt.compiled import jit

PLAIN_DIGITS = 18
"""As many always fit into int64."""
ROOM = (2**63 - 1) // 10
"""Below it, a number has room for one more digit."""

SPACE, TAB, NEWLINE, RETURN, PLUS, MINUS, POINT, ZERO = b" \t\n\r+-.0"
HASH, PERCENT = b"#%"
LOWER = 0x20


@jit(exact=True)
def parse(
    text: Any, separator: int, roles: Any, row: Any, exponent: int, rounding: int, floor: int, out: Any, reach: Any
) -> Any:
    """Fill ``out``, which has room for all, with the events of whole lines.

    Args:
        text: uint8 [n], ending with a newline.
        separator: the byte between two fields; a space stands for any number of spaces and tabs.
        roles: int64 [fields]: 0 to 3 for t, x, y, p; -1 for a field that is passed over.
        row: int64 [4], for the loop's own use.
        exponent: a time is multiplied by ten to this power.
        rounding: 1 rounds times to the nearest whole number, halves away from 0; 0 wants whole ones.
        floor: 1 cuts fractions of coordinates off; 0 wants whole ones.
        out: events, as :data:`~stream_ottt.sources.reach.WORDS`.
        reach: as :class:`~stream_ottt.sources.reach.Reach` has it.

    Returns:
        How many events there were, the lines passed and their bytes: fewer than there are when a line is no event.
        What is wrong with it is for others to say.
    """
    right, bottom, times = reach[0], reach[1], reach[2]
    n = lines = at = 0
    last = len(roles) - 1
    wide = separator == SPACE
    while at < len(text):
        line = at
        if text[at] < ZERO:  # else a number begins here
            while text[at] == SPACE or (text[at] == TAB and separator != TAB):
                at += 1
            if text[at] == HASH or text[at] == PERCENT:
                while text[at] != NEWLINE:
                    at += 1
            while text[at] == RETURN:
                at += 1
            if text[at] == NEWLINE:
                at += 1
                lines += 1
                continue
        plain = True
        for field in range(last + 1):
            role = roles[field]
            if role < 0:
                while text[at] != separator and text[at] != NEWLINE and not (wide and text[at] == TAB):
                    at += 1
            else:
                while text[at] == SPACE or (text[at] == TAB and separator != TAB):
                    at += 1
                negative = text[at] == MINUS
                if negative or text[at] == PLUS:
                    at += 1
                value, first = 0, at
                while ZERO <= text[at] < ZERO + 10 and at - first < PLAIN_DIGITS:
                    value = 10 * value + (text[at] - ZERO)
                    at += 1
                follows = text[at]
                if at > first and follows in (separator, NEWLINE) and (role or not exponent) and not wide:
                    row[role] = -value if negative else value  # the common case, in few steps
                    if field < last:
                        plain = plain and follows == separator
                        if not plain:
                            break
                        at += 1
                    continue
                if at == first or POINT <= follows < ZERO + 10 or follows | LOWER == 0x65:  # no plain whole number
                    at = first
                    if role == 3 and not negative and follows | LOWER >= 0x61:
                        value, at = word(text, at)
                        fraction = half = False
                    else:
                        value, power, rest, at = number(text, at)
                        value, fraction, half = scaled(value, power + exponent if role == 0 else power)
                        fraction = fraction or rest
                    plain = plain and value >= 0
                    if role == 0:
                        plain = plain and (rounding == 1 or not fraction)
                        value += half
                    else:
                        plain = plain and not (fraction and (role == 3 or floor == 0))
                        value += negative and fraction
                elif role == 0 and exponent:
                    value, fraction, half = scaled(value, exponent)
                    plain = plain and value >= 0
                    value += half
                while text[at] == SPACE or (text[at] == TAB and separator != TAB):
                    at += 1
                row[role] = -value if negative else value
            if field < last and not wide:
                plain = plain and text[at] == separator
                if not plain:
                    break
                at += 1
            elif field < last:
                while text[at] == SPACE or text[at] == TAB:
                    at += 1
                plain = plain and text[at] != NEWLINE and text[at - 1] <= SPACE
                if not plain:
                    break
        if plain:
            while text[at] == RETURN or text[at] == SPACE or (text[at] == TAB and separator != TAB):
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
    reach[0], reach[1], reach[2] = right, bottom, times
    return n, lines, at


@jit(exact=True)
def number(text: Any, at: int) -> Any:
    """The number without sign that begins here.

    Returns:
        Its digits as a whole number, -1 when there are none; the power of ten that it is multiplied by; whether digits
        that do not fit were not 0; and where it ends.
    """
    value, power, rest, digits, point = 0, 0, False, 0, False
    while ZERO <= text[at] < ZERO + 10 or (text[at] == POINT and not point):
        if text[at] == POINT:
            point = True
        else:
            digits += 1
            if value < ROOM or (value == ROOM and text[at] <= ZERO + 7):
                value = 10 * value + (text[at] - ZERO)
                power -= point
            else:
                rest = rest or text[at] != ZERO
                power += not point
        at += 1
    if digits and text[at] | LOWER == 0x65:
        at += 1
        down = text[at] == MINUS
        if down or text[at] == PLUS:
            at += 1
        scale, first = 0, at
        while ZERO <= text[at] < ZERO + 10:
            scale = min(10 * scale + (text[at] - ZERO), 9999)
            at += 1
        power += -scale if down else scale
        digits = min(digits, at - first)
    return value if digits else -1, power, rest, at


@jit(exact=True)
def scaled(value: int, power: int) -> Any:
    """``value`` · 10^``power`` cut to a whole number, -1 where int64 cannot hold it; whether it had a fraction, one
    of a half or more."""
    while power > 0 and value > 0:
        if value >= ROOM:
            return -1, False, False
        value *= 10
        power -= 1
    fraction, digit = False, 0
    while power < 0 and (value > 0 or digit):
        fraction = fraction or digit != 0
        digit = value % 10
        value //= 10
        power += 1
    return value, fraction or digit != 0, power >= 0 and digit >= 5


@jit(exact=True)
def word(text: Any, at: int) -> Any:
    """The value of true, on, false or off (-1 for other words), and where it ends."""
    first = at
    code = 0
    while 0x61 <= text[at] | LOWER <= 0x7A and at - first < 6:
        code = code << 8 | (text[at] | LOWER)
        at += 1
    if code == 0x74727565 or code == 0x6F6E:
        return 1, at
    if code == 0x66616C7365 or code == 0x6F6666:
        return 0, at
    return -1, at
