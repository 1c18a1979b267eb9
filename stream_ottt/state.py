"""The state of a part as a value: one flat dictionary of arrays, tensors and plain JSON values, that can be saved.

Keys are paths such as ``memory/stretch/17``. What a part gives, it takes back exactly; a field that is missing is
refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import ModelError

State = dict[str, Any]
"""Path → numpy array, tensor or plain JSON value."""


class Stateful(Protocol):
    """A part that gives and takes its state."""

    def state_dict(self) -> State:
        """Its state."""

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""


def take(state: State, key: str) -> Any:
    """One field.

    Raises:
        ModelError: it is missing.
    """
    try:
        return state[key]
    except KeyError:
        raise ModelError(f"the saved state has no field {key!r}; it is incomplete, use another one") from None


def under(name: str, state: State) -> State:
    """The fields of a part, as fields of what holds it."""
    return {f"{name}/{key}": value for key, value in state.items()}


def part(state: State, name: str) -> State:
    """The fields that :func:`under` put under ``name``."""
    start = len(name) + 1
    return {key[start:]: value for key, value in state.items() if key.startswith(name + "/")}


def pack(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Arrays of one shape as one array [n, …]."""
    return np.stack(arrays) if arrays else np.zeros(0, np.uint8)


def unpack(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """What :func:`pack` took, each an array of its own."""
    return [each.copy() for each in array]
