"""Why events cannot be used, in one line with the likeliest cause and its cure; what is said of a guessed size."""

from __future__ import annotations

from stream_ottt.pipeline.source import Source

WRONG_SHARE = 0.02
"""A recording of which more cannot be used was probably read in a wrong way."""
CURE_OF_TIMES = "tolerance=, such as tolerance=1s, puts those in their place that come late by less"
"""What to do about a few events whose times run in no order."""


def unusable(source: Source, read: int, outside: int, wrong_times: int, size: tuple[int, int]) -> str | None:
    """Why so many events of a recording cannot be used, or None while they are few.

    Args:
        source: where they come from.
        read: events of the recording.
        outside: those outside the sensor, or before time zero.
        wrong_times: those whose times run in no order (:attr:`stream_ottt.events.clock.Clock.left_out`).
        size: width and height of the sensor.
    """
    if outside - source.untimed + wrong_times <= WRONG_SHARE * read:
        return None
    known = type(source.config).model_fields
    share = "no event is usable" if outside + wrong_times == read else f"{outside + wrong_times:,} of {read:,} events"
    if wrong_times > outside:
        return (
            f"{share}: their times run in no order; put a file in order with sort=true, "
            "or jitter between packets with tolerance=, such as tolerance=10ms"
        )
    cures = ["the sensor with chip=" if "chip" in known else "its size with width= and height="]
    if "columns" in known:
        cures.insert(0, "the order of the columns with columns=, the unit of the times with time=")
    why = f"they lie outside the {size[0]}×{size[1]} sensor or before time zero"
    shift = "; shift=auto moves the first event to time zero" if "shift" in known else ""
    return f"{share}: {why}; say {', or '.join(cures)}{shift}"


def size_note(source: Source, size: tuple[int, int]) -> str | None:
    """One line about a sensor's size that is a guess, None for one that is known."""
    if source.size_from != "guess":
        return None
    guess = f"{size[0]}×{size[1]}"
    return f"the sensor's size is a guess, {guess}: nothing in the recording says it; say width= and height="
