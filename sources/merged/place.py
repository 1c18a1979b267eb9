"""Where a source's events lie in a merged stream: its name, its place on the plane, and whose clock counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from stream_ottt.errors import UsageError
from stream_ottt.settings import Settings
from stream_ottt.sources.aedat4.header import MAX_SIDE


class Place(Settings):
    """Options that every source takes when it is one of several, beside its own.

    Attributes:
        name: what it is called; None takes ``source1``, ``source2``, ….
        x: pixels to the right by which its events are moved.
        y: pixels down by which its events are moved.
        clock: ``arrival`` maps a live source's clock to the run's at its first event; ``own`` leaves all times as they
            are, for files and for cameras that share one clock.
        labels: CSV file of the source's own labels, in its own time.
    """

    name: str | None = Field(None, min_length=1, max_length=100)
    x: int = Field(0, ge=0, lt=MAX_SIDE)
    y: int = Field(0, ge=0, lt=MAX_SIDE)
    clock: Literal["arrival", "own"] | None = None
    labels: Path | None = None

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("expected characters that can be printed")
        return value


Plane = tuple[int, int]
"""Width and height of what all sources share, pixels."""


def plane_of(sizes: Sequence[tuple[Place, Plane]]) -> Plane:
    """The smallest plane that holds sensors of these sizes in their places.

    Raises:
        UsageError: it is larger than coordinates can say.
    """
    width = max(place.x + size[0] for place, size in sizes)
    height = max(place.y + size[1] for place, size in sizes)
    if width > MAX_SIDE or height > MAX_SIDE:
        raise UsageError(
            f"the sources take {width}×{height} pixels together, and {MAX_SIDE} are the most; lower x or y"
        )
    return width, height
