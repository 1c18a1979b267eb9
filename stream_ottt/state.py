"""The state of a part as a value: one flat dictionary of arrays, tensors and plain JSON values, that can be saved.

Keys are paths such as ``memory/stretch/17``. What a part gives, it takes back exactly; a field that is missing is
refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

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


# --- files -----------------------------------------------------------------------------------------------------------

ARRAY, TENSOR = "array:", "tensor:"
"""What stands in a tree in the place of an array or a tensor, before its name; other text gets ``text:`` there."""


def split(state: State) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A state as a tree of JSON values, with names in place of arrays and tensors, and these by name."""
    import torch

    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {str(key): walk(inner, f"{path}/{key}") for key, inner in value.items()}
        if isinstance(value, np.ndarray):
            tensors[path] = torch.from_numpy(np.require(value, requirements=["C", "W"]))
            return ARRAY + path
        if isinstance(value, torch.Tensor):
            tensors[path] = value
            return TENSOR + path
        return f"text:{value}" if isinstance(value, str) else value

    return {key: walk(value, key) for key, value in state.items()}, tensors


def join(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The state that :func:`split` took.

    Raises:
        ModelError: an array or a tensor is missing; it is named.
    """
    if isinstance(tree, dict):
        return {key: join(inner, tensors) for key, inner in tree.items()}
    if not isinstance(tree, str):
        return tree
    kind, _, name = tree.partition(":")
    if kind == "text":
        return name
    found = take(tensors, name)
    return found.numpy() if kind == "array" else found
