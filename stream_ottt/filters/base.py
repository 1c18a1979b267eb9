"""What every filter is: events of one sensor in, those it keeps out, and a state that can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import ModelError
from stream_ottt.events.packet import EventArray
from stream_ottt.settings import Settings

UNSIGNED = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("p", "u1")])
"""EVENT_DTYPE as the kernels read it. A well-formed event has no negative value, so the bytes mean the same."""

NEVER = 1 << 63
"""A time before all others. The difference ``t - NEVER``, modulo 2⁶⁴, is larger than any duration for each t ≥ 0; so
is ``t - last`` when time has gone back. One unsigned comparison covers all three cases."""


class FilterConfig(Settings):
    """Options that a filter takes, as ``?key=value`` of its URI or keys of its table."""


class Filter(ABC):
    """Keeps some of a sensor's events, and may move them. The result does not depend on how the stream is cut.

    Class attributes:
        name: the short name in the registry. Events left out are counted under ``filter:NAME``.
        Config: the pydantic model of its options.
        argument: the option that stands between ``:`` and ``?`` in the URI; empty for none.

    Args:
        config: an instance of ``Config``.
        width: sensor width in pixels of the events that come in.
        height: sensor height in pixels of the events that come in.

    Attributes:
        width: sensor width in pixels of the events that go out.
        height: sensor height in pixels of the events that go out.

    Raises:
        UsageError: the options do not fit this sensor.
    """

    name: ClassVar[str]
    Config: ClassVar[type[FilterConfig]] = FilterConfig
    argument: ClassVar[str] = ""

    def __init__(self, config: FilterConfig, width: int, height: int) -> None:
        self.config = config
        self.width = width
        self.height = height

    @abstractmethod
    def __call__(self, events: EventArray) -> EventArray:
        """The events that are kept.

        Args:
            events: contiguous [n] of EVENT_DTYPE, well-formed, in time order. They are not changed. Those of several
                sources have one field more, ``of``, which goes along with each event.

        Returns:
            [m ≤ n] of the same dtype in the same order, on the sensor of ``width`` × ``height``. It may be ``events``.
        """

    def state_dict(self) -> dict[str, Any]:
        """What the filter remembers of the stream so far: integers and numpy arrays, copied."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` gave. A subclass with a state calls this first, to check it.

        Raises:
            ModelError: the state has other keys, or a value of another type or shape.
        """
        expected = self.state_dict()
        if set(state) != set(expected):
            raise ModelError(f"state of filter {self.name!r}: expected {sorted(expected)}, found {sorted(state)}")
        for key, own in expected.items():
            found = state[key]
            fits = type(found) is type(own)
            if fits and isinstance(own, np.ndarray):
                fits = found.dtype == own.dtype and found.shape == own.shape
            if not fits:
                raise ModelError(f"state of filter {self.name!r}: {key!r} is of another type or sensor size")

    def describe(self) -> dict[str, Any]:
        """What the filter has found out, for people. JSON-ready."""
        return {}


def select(events: EventArray, keep: npt.NDArray[np.bool_]) -> EventArray:
    """The events [m] for which ``keep`` [n] is true. Whole records are copied, which is faster than field by field."""
    whole = events.view(f"V{events.dtype.itemsize}")
    kept: EventArray = np.compress(keep, whole).view(events.dtype)
    return kept


def unsigned(events: EventArray) -> EventArray:
    """The same memory, with the fields of :data:`UNSIGNED`, for a kernel."""
    dtype = np.dtype([*UNSIGNED.descr, ("of", "u1")]) if "of" in (events.dtype.names or ()) else UNSIGNED
    view: EventArray = events.view(dtype)
    return view
