"""Inner loops compiled by numba, and what those that write events share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import numpy as np

WORDS = np.dtype([("xy", "<u4"), ("t", "<i8"), ("p", "?")])
"""EVENT_DTYPE with x and y (in the upper half) in one word: fewer stores per event."""


class Compiled:
    """A loop, compiled when it is first called, that lets other threads run meanwhile.

    Its machine code is kept on disk and loaded without numba, or, where that cannot be, by numba as usual.

    Args:
        function: the loop, as Python.
        parameters: what it takes: a dtype for an array, contiguous and of one dimension; ``int`` for an integer.
        returns: how many integers it returns; one comes in a tuple, too.
    """

    def __init__(self, function: Any, parameters: tuple[Any, ...], returns: int) -> None:
        self.function = function
        self._parameters = parameters
        self._returns = returns
        self._code: Callable[..., Any] | None = None
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        if self._code is None:
            self._code = self._load()
        return self._code(*arguments)

    def _load(self) -> Callable[..., Any]:
        from stream_ottt.sources.machine_code import UnfitError, native

        try:
            return native(self.function, self._parameters, self._returns)
        except (UnfitError, OSError, RuntimeError, SubprocessError):
            return self.by_numba()

    def make(self, path: Path) -> None:
        """Write the machine code to a file; see :func:`stream_ottt.sources.machine_code.make`."""
        from stream_ottt.sources.machine_code import make

        make(path, self.function, self._parameters, self._returns)

    def by_numba(self) -> Callable[..., Any]:
        """The loop as numba compiles it, in memory."""
        import numba

        return numba.njit(nogil=True)(self.function)


def compiled(*parameters: Any, returns: int) -> Callable[[Any], Compiled]:
    """Decorator; see :class:`Compiled`."""
    return lambda function: Compiled(function, parameters, returns)


class Reach:
    """How far the events go that a loop has written: kept along the way, it makes a check of each event needless.

    Attributes:
        values: int64 [3]: largest x, largest y (each 32768 or more for one that is negative), and all times joined
            by OR, which is negative when one of them is.
    """

    def __init__(self) -> None:
        self.values = np.zeros(3, np.int64)

    def clear(self) -> None:
        """Forget the events so far."""
        self.values[:] = 0

    def within(self, width: int, height: int) -> bool:
        """Whether all events lie on a sensor of this size and at t ≥ 0."""
        x, y, t = self.values.tolist()
        return bool(x < width and y < height and t >= 0)
