"""What a layer keeps: of one timestep for learning from it, and between timesteps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Saved:
    """The saved tensors of one layer at one timestep.

    The compiled parts prepare buffers here and fill them in; the torch parts put fresh tensors.

    Attributes:
        pre: presynaptic factor â of the layer's input.
        f: surrogate derivative of its neurons, times dropout mask and output scale.
        delta: error signal ∂L/∂(this layer's output), once it was formed.
        below: ∂L/∂(this layer's input), once it was formed.
        fed: presynaptic factor of the feedback connection, None where it carried nothing.
        residual: output of a block's residual branch.
        shape: of the layer's input.
        inner: the saved tensors within a composite layer.
    """

    FIELDS = ("pre", "f", "delta", "fed", "residual")

    def __init__(self, inner: tuple[Saved, ...] = ()) -> None:
        self.pre: Any = None
        self.f: Any = None
        self.delta: Any = None
        self.below: Any = None
        self.fed: Any = None
        self.residual: Any = None
        self.shape: tuple[int, ...] = ()
        self.room: Any = None  # the compiled feedback connection's buffer
        self.inner = inner


class LayerState:
    """What one layer remembers between two timesteps.

    Attributes:
        neurons: states of its populations.
        before: the saved tensors of the latest timestep, which hold the traces; None after rest or when nothing was
            learned.
    """

    def __init__(self, neurons: tuple[Any, ...]) -> None:
        self.neurons = neurons
        self.before: Saved | None = None

    def reset(self) -> None:
        """Back to rest, for a new sample."""
        self.before = None
        for neurons in self.neurons:
            neurons.reset()


# --- as plain tensors by name, for a checkpoint -----------------------------------------------------------------------


def as_tensor(value: Any) -> Tensor:
    """A tensor, an array or a buffer of the compiled parts as a tensor on the same memory."""
    if isinstance(value, Tensor):
        return value
    tensor: Tensor = value.tensor if hasattr(value, "tensor") else torch.from_numpy(value)
    return tensor


def put(slot: Any, value: Tensor | None) -> Any:
    """``value`` in the place of ``slot``: copied into it where it is a buffer, else a copy that replaces it."""
    if value is None:
        return None
    if slot is None or isinstance(slot, Tensor):
        return value.clone()
    as_tensor(slot).copy_(value)
    return slot


def pack(prefix: str, holder: Any) -> dict[str, Tensor]:
    """The fields of an object that are not None, by name."""
    found = {f"{prefix}{key}": getattr(holder, key) for key in holder.FIELDS}
    return {key: as_tensor(value).clone() for key, value in found.items() if value is not None}


def unpack(prefix: str, holder: Any, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`pack` gave."""
    for key in holder.FIELDS:
        setattr(holder, key, put(getattr(holder, key), tensors.get(f"{prefix}{key}")))


def pack_saved(prefix: str, saved: Saved, *, formed: bool) -> dict[str, Tensor]:
    """As :func:`pack`, with what is within; the error signal only where it was ``formed``."""
    found = pack(prefix, saved) | {f"{prefix}shape": torch.tensor(saved.shape, dtype=torch.int64)}
    if not formed:
        found.pop(f"{prefix}delta", None)
    for i, inner in enumerate(saved.inner):
        found |= pack_saved(f"{prefix}{i}.", inner, formed=formed)
    return found


def unpack_saved(prefix: str, saved: Saved, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`pack_saved` gave."""
    unpack(prefix, saved, tensors)
    saved.shape = tuple(tensors[f"{prefix}shape"].tolist())
    for i, inner in enumerate(saved.inner):
        unpack_saved(f"{prefix}{i}.", inner, tensors)
