"""The walk of :class:`stream_ottt.events.clock.Clock` through times, event by event.

The line is an array of the indices of its events: those before ``s[PASSED]`` are passed on, the others are held.
"""

from __future__ import annotations

from typing import Any

from stream_ottt.compiled import jit

(
    NEWEST,  # time of the line's newest event, the sensor's own
    NEWEST_PASSED,  # the same of those that were passed on
    SHIFT,  # what is added to the sensor's own times
    EPOCHS,  # how many began
    CREDIT,  # rival events, less the events that speak against them
    RIVAL_NEWEST,
    RIVALS,  # how many
    PASSED,  # how many events of the line are passed on
    END,  # how many events the line has
    JUMPS,  # how many are noted
    IN_EPOCH,  # how many events of the present epoch are passed on, its pauses counted as its ends
    STATE,  # the state's length
) = range(12)

(TOLERANCE, GAP, CONFIRM, CLIMB, FAR, PAUSE, SILENCE, LIMIT) = range(8)
"""The rules, as the module of the clock has them; µs but for CONFIRM."""


@jit
def walk(t: Any, first: int, line: Any, kinds: Any, times: Any, rivals: Any, jumps: Any, s: Any, rules: Any) -> None:
    """Take the events ``first``, … of ``t``; those before are the ones that were not decided on.

    Args:
        t: int64 [n], the sensor's own times.
        first: index of the first event that is new.
        line: int64 [n], indices of the line's events.
        kinds: uint8 [n], of each of them: 0, 1 after a gap, 2 after a long pause.
        times: int64 [n], filled with the times of those that are passed on.
        rivals: int64 [most rivals], indices of the rival line's events.
        jumps: int64 [most jumps, 3], filled with the jumps that begin epochs: the time from which and the one to which
            the sensor's clock went, and when that is in the times that are passed on.
        s: int64 [STATE].
        rules: int64 [8].
    """
    tolerance, gap, confirm = rules[TOLERANCE], rules[GAP], rules[CONFIRM]
    i = first - 1
    while i + 1 < len(t):
        i += 1
        if s[RIVALS] == 0:
            i = follow(t, i, len(t), line, kinds, times, jumps, s, rules)
            if i == len(t):
                break
        now = t[i]
        if now < 0 or now >= rules[LIMIT]:
            continue
        if now >= s[NEWEST] - tolerance:
            if s[RIVALS]:
                if branches_off(t, rivals, s, tolerance):
                    if now >= s[RIVAL_NEWEST] - tolerance and s[RIVALS] > ahead(t, line, rivals, s, tolerance):
                        adopt(t, line, kinds, times, rivals, jumps, s, rules)
                    s[RIVALS] = 0
                elif s[RIVALS] >= confirm and now <= s[RIVAL_NEWEST] + rules[CLIMB]:  # it has come up to the line
                    begin_epoch(t, line, kinds, times, rivals, jumps, s, rules)
                elif s[PASSED] == s[END] and now <= s[NEWEST] + gap:
                    s[RIVALS] = 0
                else:
                    s[CREDIT] -= 1
                    if s[CREDIT] == 0:
                        s[RIVALS] = 0
            follow(t, i, i + 1, line, kinds, times, jumps, s, rules)
            continue
        if s[RIVALS]:
            off = branches_off(t, rivals, s, tolerance)
            step = now > s[RIVAL_NEWEST] + gap
            if off and step and s[RIVALS] > ahead(t, line, rivals, s, tolerance):
                adopt(t, line, kinds, times, rivals, jumps, s, rules)
                follow(t, i, i + 1, line, kinds, times, jumps, s, rules)
                continue
            # Does it speak against the rival? If it goes on after a step, it could follow what was passed on, too.
            if now < s[RIVAL_NEWEST] - tolerance or (step and not off and now >= s[NEWEST_PASSED] - tolerance):
                s[CREDIT] -= 1
                if s[CREDIT]:
                    continue
                s[RIVALS] = 0
        if s[RIVALS] == 0:
            s[CREDIT] = 0
            s[RIVAL_NEWEST] = now
        rivals[s[RIVALS]] = i
        s[RIVALS] += 1
        s[CREDIT] += 1
        s[RIVAL_NEWEST] = max(s[RIVAL_NEWEST], now)
        if s[RIVALS] >= confirm:
            if branches_off(t, rivals, s, tolerance):
                adopt(t, line, kinds, times, rivals, jumps, s, rules)
            elif s[NEWEST] - s[RIVAL_NEWEST] > rules[FAR] or s[RIVALS] == len(rivals):
                begin_epoch(t, line, kinds, times, rivals, jumps, s, rules)


@jit
def finish(t: Any, line: Any, kinds: Any, times: Any, rivals: Any, jumps: Any, s: Any, rules: Any, ended: bool) -> None:
    """Decide on what is undecided: nothing more comes for now, or none at all where it has ``ended``."""
    if s[RIVALS]:
        if branches_off(t, rivals, s, rules[TOLERANCE]):
            if s[RIVALS] > ahead(t, line, rivals, s, rules[TOLERANCE]):
                adopt(t, line, kinds, times, rivals, jumps, s, rules)
        elif s[RIVALS] >= rules[CONFIRM]:
            begin_epoch(t, line, kinds, times, rivals, jumps, s, rules)
        s[RIVALS] = 0
    if ended:
        leave_out_unconfirmed(kinds, s, rules)
    while s[PASSED] < s[END]:
        release(t, line, kinds, times, jumps, s)
    s[NEWEST] = s[NEWEST_PASSED]


@jit
def leave_out_unconfirmed(kinds: Any, s: Any, rules: Any) -> None:
    """Take the held events back from where they would begin a new epoch behind one that was confirmed."""
    before = s[IN_EPOCH]
    for k in range(s[PASSED], s[END]):
        if kinds[k] == 2:
            if before >= rules[CONFIRM]:
                s[END] = k
                break
            before = 0
        before += 1


@jit
def branches_off(t: Any, rivals: Any, s: Any, tolerance: int) -> Any:
    """Whether the rival begins where the line can still be taken back."""
    return t[rivals[0]] >= s[NEWEST_PASSED] - tolerance


@jit
def ahead(t: Any, line: Any, rivals: Any, s: Any, tolerance: int) -> int:
    """How many of the held events the rival cannot follow."""
    n = 0
    for k in range(s[PASSED], s[END]):
        if t[line[k]] > t[rivals[0]] + tolerance:
            n += 1
    return n


@jit
def note(jumps: Any, s: Any, before: int, after: int, at: int) -> None:
    """A jump that begins an epoch."""
    if s[JUMPS] < len(jumps):
        jumps[s[JUMPS]] = before, after, at
        s[JUMPS] += 1
    s[EPOCHS] += 1


@jit
def release(t: Any, line: Any, kinds: Any, times: Any, jumps: Any, s: Any) -> None:
    """Pass the next event of the line on."""
    k = s[PASSED]
    now = t[line[k]]
    if kinds[k] == 2:
        note(jumps, s, s[NEWEST_PASSED], now, now + s[SHIFT])
        s[IN_EPOCH] = 0
    s[IN_EPOCH] += 1
    times[k] = now + s[SHIFT]
    s[NEWEST_PASSED] = max(s[NEWEST_PASSED], now)
    s[PASSED] = k + 1


@jit
def follow(t: Any, i: int, stop: int, line: Any, kinds: Any, times: Any, jumps: Any, s: Any, rules: Any) -> int:
    """Add the events ``i``, … to the line, as far as they go on with it and before ``stop``; where that is.

    An event is passed on at once, or held while fewer than CONFIRM events stand behind a gap; at the very beginning
    while fewer stand behind the latest long pause, but at most twice as many.
    """
    # Numbers of its own are what makes this loop fast.
    tolerance, gap, pause, confirm, limit = rules[TOLERANCE], rules[GAP], rules[PAUSE], rules[CONFIRM], rules[LIMIT]
    newest, newest_passed, shift, passed, end = s[NEWEST], s[NEWEST_PASSED], s[SHIFT], s[PASSED], s[END]
    in_epoch = s[IN_EPOCH]
    while i < stop and max(newest - tolerance, 0) <= t[i] < limit:
        now = t[i]
        kind = 0
        if now > newest + gap:
            kind = 2 if now > newest + pause and newest >= 0 else 1
        line[end] = i
        kinds[end] = kind
        end += 1
        newest = max(newest, now)
        i += 1
        if newest_passed < 0 and end - passed >= confirm:
            k = latest_pause(kinds, passed, end)
            if k > passed and end - k >= confirm:
                end = leave_out_before(k, line, kinds, passed, end)
            elif k > passed and end - passed < 2 * confirm:
                continue
        while end - passed >= confirm or (end - passed == 1 and kind == 0):
            first = True
            while first or (passed < end and kinds[passed] == 0):
                at = t[line[passed]]
                if kinds[passed] == 2:
                    note(jumps, s, newest_passed, at, at + shift)
                    in_epoch = 0
                in_epoch += 1
                times[passed] = at + shift
                newest_passed = max(newest_passed, at)
                passed += 1
                first = False
    s[NEWEST], s[NEWEST_PASSED], s[PASSED], s[END], s[IN_EPOCH] = newest, newest_passed, passed, end, in_epoch
    return i


@jit
def latest_pause(kinds: Any, passed: int, end: int) -> int:
    """Where the part of the held events begins that comes after the latest long pause."""
    k = end - 1
    while k > passed and kinds[k] != 2:
        k -= 1
    return k


@jit
def leave_out_before(k: int, line: Any, kinds: Any, passed: int, end: int) -> int:
    """Take the held events before ``k`` out of the line; where it ends then."""
    for j in range(k, end):
        line[passed + j - k], kinds[passed + j - k] = line[j], kinds[j]
    kinds[passed] = 1
    return end - (k - passed)


@jit
def adopt(t: Any, line: Any, kinds: Any, times: Any, rivals: Any, jumps: Any, s: Any, rules: Any) -> None:
    """The rival takes the place of the held events that it cannot follow."""
    base = t[rivals[0]] + rules[TOLERANCE]
    end = s[PASSED]
    s[NEWEST] = s[NEWEST_PASSED]
    for k in range(s[PASSED], s[END]):
        if t[line[k]] <= base:
            line[end], kinds[end] = line[k], kinds[k]
            s[NEWEST] = max(s[NEWEST], t[line[k]])
            end += 1
    if end > s[PASSED] and kinds[s[PASSED]] == 0:
        kinds[s[PASSED]] = 1
    s[END] = end
    for k in range(s[RIVALS]):
        follow(t, rivals[k], rivals[k] + 1, line, kinds, times, jumps, s, rules)
    s[RIVALS] = 0


@jit
def begin_epoch(t: Any, line: Any, kinds: Any, times: Any, rivals: Any, jumps: Any, s: Any, rules: Any) -> None:
    """The clock has jumped back: the rival is the line from now on, one silence after the events so far."""
    while s[PASSED] < s[END] and line[s[PASSED]] < rivals[0]:
        release(t, line, kinds, times, jumps, s)
    oldest = t[rivals[0]]
    for k in range(s[RIVALS]):
        oldest = min(oldest, t[rivals[k]])
    shift = s[NEWEST_PASSED] + s[SHIFT] + rules[SILENCE] - oldest
    s[END] = s[PASSED]
    if shift < (1 << 62) - rules[LIMIT]:  # else the clock has jumped more often than times can hold
        note(jumps, s, s[NEWEST_PASSED], oldest, oldest + shift)
        s[SHIFT] = shift
        s[NEWEST_PASSED] = oldest
        s[IN_EPOCH] = 0
        for k in range(s[RIVALS]):
            line[s[END]] = rivals[k]
            kinds[s[END]] = 0
            s[END] += 1
            release(t, line, kinds, times, jumps, s)
    s[NEWEST] = s[NEWEST_PASSED]
    s[RIVALS] = 0
