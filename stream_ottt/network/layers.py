"""What a network asks of each of its layers, forward and down, and the layers without spikes of their own.

Every layer takes and gives a :class:`Signal`, the spikes of this timestep beside the traces of the same neurons. The
traces are never used forward; they are the presynaptic factor of Eq. 4,

    ∇W_ij[t] = â_i[t] · f(u_j[t]) · δ_j[t],        δ_j = ∂L/∂s_j.

Going down, a layer is asked twice: :meth:`Layer.credit` passes the error to its own neurons and to the layer below,
:meth:`Layer.gradient` makes the weights' gradient of an error and a memo. The two may use different timesteps: that is
the error delay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor


@dataclass(slots=True)
class Signal:
    """What travels up between layers.

    Attributes:
        spikes: [batch, channels, height, width] (or [batch, features] after global pooling).
        trace: the same neurons' tracked activity, same shape; None while nothing is learned.
    """

    spikes: Tensor
    trace: Tensor | None


@dataclass(slots=True)
class Memo:
    """What one layer keeps of one timestep for learning from it.

    Attributes:
        pre: presynaptic factor â of the layer's input.
        f: surrogate derivative of its neurons, times the dropout mask and the layer's output scale.
        feedback_pre: presynaptic factor of the feedback connection, where there is one.
        shape: shape of the input's spikes.
        inner: the memos within a composite layer.
    """

    pre: Tensor | None = None
    f: Tensor | None = None
    feedback_pre: Tensor | None = None
    shape: tuple[int, ...] = ()
    inner: tuple[Any, ...] = ()


class Layer(ABC):
    """One stage of a network."""

    parameters: dict[str, Tensor]

    def __init__(self) -> None:
        self.parameters = {}

    @abstractmethod
    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        """Advance by one timestep. Fills ``memo`` when one is given, and only then advances traces."""

    @abstractmethod
    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[Any, Tensor | None]:
        """Pass an error down.

        Args:
            delta: ∂L/∂(this layer's output).
            memo: this layer's memo of the step that the error belongs to.
            down: False when nothing below learns.

        Returns:
            The error to give to :meth:`gradient` (a tuple of tensors from a composite layer), and ∂L/∂(this layer's
            input) (None without ``down``).
        """

    def gradient(self, delta: Any, memo: Memo) -> dict[str, Tensor]:
        """Gradient per parameter from an error that :meth:`credit` gave, and the memo of the step it meets."""
        return {}

    def set_parameters(self, parameters: dict[str, Tensor]) -> None:
        """Use these tensors, of the same names and shapes, from now on."""
        self.parameters = parameters

    def weights_changed(self) -> None:  # noqa: B027 - most layers derive nothing from their weights
        """Called after an update of the parameters."""

    def reset(self) -> None:  # noqa: B027 - most layers have no state
        """Back to rest, for a new sample."""

    def state(self) -> Any:
        """What it remembers between timesteps; given back to :meth:`set_state`."""
        return None

    def set_state(self, state: Any) -> None:  # noqa: B027 - most layers have no state
        """Put back what :meth:`state` gave."""


class AvgPool(Layer):
    """Average pooling of spikes and traces alike.

    Args:
        size: edge of the pooled square, pixels; also the stride.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        if memo is not None:
            memo.shape = tuple(below.spikes.shape)
        trace = None if below.trace is None else F.avg_pool2d(below.trace, self.size)
        return Signal(F.avg_pool2d(below.spikes, self.size), trace)

    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[Tensor, Tensor | None]:
        if not down:
            return delta, None
        k = self.size
        spread = delta.mul(1 / (k * k)).repeat_interleave(k, -1).repeat_interleave(k, -2)
        height, width = memo.shape[-2:]
        # Rows and columns beyond the last whole square took no part.
        return delta, F.pad(spread, (0, width - spread.shape[-1], 0, height - spread.shape[-2]))


class ReadOut(Layer):
    """The last layer: features to logits, linear, without spikes.

    Args:
        weight: [classes, features].
        bias: [classes].
        pool: True averages each channel over the image (GAP) before; False takes every pixel as a feature.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, pool: bool) -> None:
        super().__init__()
        self.parameters = {"weight": weight, "bias": bias}
        self.pool = pool

    def _features(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if self.pool else x.flatten(1)

    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        if memo is not None:
            memo.shape = tuple(below.spikes.shape)
            memo.pre = None if below.trace is None else self._features(below.trace)
        p = self.parameters
        return Signal(F.linear(self._features(below.spikes), p["weight"], p["bias"]), None)

    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[Tensor, Tensor | None]:
        if not down:
            return delta, None
        features = delta @ self.parameters["weight"]
        if not self.pool:
            return delta, features.view(memo.shape)
        height, width = memo.shape[2:]
        return delta, (features / (height * width)).view(*memo.shape[:2], 1, 1).expand(memo.shape)

    def gradient(self, delta: Tensor, memo: Memo) -> dict[str, Tensor]:
        assert memo.pre is not None
        return {"weight": delta.T @ memo.pre, "bias": delta.sum(0)}
