"""The weights of one layer as rows, one row per output channel, and the fused update of a row.

Scaled weight standardization without Ŵ: its gradient sums to zero over a row, so under SGD a row's mean never acts.
It is taken out once; from then on Ŵ = k W with one number k per row, which is multiplied in after the matrix product.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import spike_kernels, weight_kernels
from stream_ottt.engine.precision import Products
from stream_ottt.engine.turn import Turn
from stream_ottt.network.optimizer import SGD, OptimizerConfig
from stream_ottt.network.weights import SWS_EPSILON


class Rows:
    """One set of a layer's weights.

    Args:
        weight: [out, in, k, k] or [out, in]; stored anew with the input channels last if it is not already.
        bias: [out].
        gain: [out, 1, 1, 1], or None without standardization.
        input_scale: factor on the layer's input spikes.
        products: how products take W rounded.
        transpose: that of another set of the same layer's weights.

    Attributes:
        parameters: the same memory as tensors of the plain shapes, by name.
        rows: W [out, fan_in], as a tensor; ``columns`` (its transpose) and ``array`` are the same memory.
        k: [out]; Ŵ = k W. ``k_in`` has the input's scale in it.
        half: W as bfloat16 [out, fan_in], if any product wants it.
        transpose: room for Wᵀ.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        gain: Tensor | None,
        input_scale: float,
        products: Products,
        transpose: Transpose | None = None,
    ) -> None:
        self.input_scale = input_scale
        self._products = products
        weight, self.rows = as_rows(weight)
        self.parameters = {"weight": weight, "bias": bias}
        self.columns = self.rows.t()
        self.array: Array = self.rows.numpy()
        self.bias: Array = bias.numpy()
        self.standardized = gain is not None
        ones = torch.ones_like(bias)
        self.gain: Array = ones.numpy()
        if gain is not None:
            self.parameters["gain"] = gain
            self.gain = gain.view(-1).numpy()
        self.inverse: Array = torch.ones_like(bias).numpy()
        self.k: Array = torch.ones_like(bias).numpy()
        self.k_in: Array = (ones * input_scale).numpy()
        self.squares: Array = torch.zeros_like(bias).numpy()
        self.half = self.rows.bfloat16() if products.format == "bfloat16" else None
        self.transpose = transpose or Transpose()

    def copy(self) -> Rows:
        """A second set of the same weights; both share the room for their transpose."""
        p = {name: value.clone() for name, value in self.parameters.items()}
        twin = Rows(p["weight"], p["bias"], p.get("gain"), self.input_scale, self._products, self.transpose)
        twin.refresh()
        return twin

    def refresh(self) -> None:
        """The weights were changed from outside: take the mean out of each row, and find k."""
        self.transpose.forget(self)
        if self.standardized:
            weight_kernels.centre(self.array)
        weight_kernels.squared_norms(self.array, self.squares)
        if self.standardized:
            self._rescale()
        if self.half is not None:
            self.half.copy_(self.rows)

    def _rescale(self) -> None:
        weight_kernels.scales(
            self.gain, self.squares, self.array.shape[1], SWS_EPSILON, self.input_scale, self.inverse, self.k, self.k_in
        )

    def descend(self, turn: Turn, momentum: Momentum, config: OptimizerConfig, lr: float, updated: Rows) -> None:
        """One SGD step from the error and the trace in ``turn`` into ``updated``, which may be this set itself."""
        transpose = updated.transpose
        transpose.forget(updated)
        hyper = config.momentum, config.weight_decay, lr
        for block, (first, gradient) in enumerate(turn.blocks):
            turn.make_block(block)
            weight_kernels.descend(
                gradient, first, self.array, updated.array, momentum.weight, self.inverse,
                self.input_scale, self.standardized, *hyper, updated.squares, turn.along,
            )  # fmt: skip
            if updated.half is not None:
                new = slice(first, first + len(gradient))
                updated.half[new].copy_(updated.rows[new])
            if transpose.wanted:
                transpose.take(updated, first, len(gradient))
        weight_kernels.descend_vector(self.bias, updated.bias, momentum.bias, turn.bias, *hyper)
        if self.standardized:
            weight_kernels.gain_gradient(turn.along, self.gain, turn.gain)
            weight_kernels.descend_vector(self.gain, updated.gain, momentum.gain, turn.gain, *hyper)
            updated._rescale()

    def gradients(self, turn: Turn) -> dict[str, Tensor]:
        """∂L/∂parameter by name from the error and the trace in ``turn``; fresh tensors of the parameters' shapes."""
        weight = self.parameters["weight"]
        rows = turn.make_gradient()
        found = {"bias": torch.from_numpy(turn.bias.copy())}
        if self.standardized:
            weight_kernels.standardize_back(rows.numpy(), self.array, self.inverse, self.input_scale, turn.along)
            weight_kernels.gain_gradient(turn.along, self.gain, turn.gain)
            found["gain"] = torch.from_numpy(turn.gain.copy()).view_as(self.parameters["gain"])
        else:
            rows *= self.input_scale
        if weight.dim() == 4:
            out, channels, k, _ = weight.shape
            return found | {"weight": rows.view(out, k, k, channels).permute(0, 3, 1, 2)}
        return found | {"weight": rows}


class Transpose:
    """Wᵀ of one layer in memory of its own, for the forward pass over few spikes.

    One is enough for two sets of weights: an update begins after the forward pass before it and ends before the next.

    Attributes:
        wanted: make it along with each update, while the new rows are in the cache, and on the thread that learns.
        columns: Wᵀ [fan_in, out]; empty before the first.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.columns: Array = np.zeros((0, 0), np.float32)
        self._of: Rows | None = None

    def holds(self, rows: Rows) -> bool:
        """Whether it is up to date with ``rows``."""
        return self._of is rows

    def forget(self, rows: Rows) -> None:
        """``rows`` are about to change."""
        if self._of is rows:
            self._of = None

    def take(self, rows: Rows, first: int, count: int) -> None:
        """Take up ``count`` new rows; with the last ones, it is up to date."""
        if not self.columns.size:
            self.columns = np.zeros(rows.array.T.shape, rows.array.dtype)
        spike_kernels.transpose(rows.array[first : first + count], first, self.columns)
        self._of = rows if first + count == len(rows.array) else None

    def follow(self, rows: Rows) -> None:
        """Be up to date with ``rows``."""
        if not self.holds(rows):
            self.take(rows, 0, len(rows.array))


class Momentum:
    """The momentum of one layer's parameters, in the optimizer's keeping and in the layout of the rows."""

    def __init__(self, name: str, parameters: dict[str, Tensor], *, standardized: bool) -> None:
        self._names = {key: f"{name}.{key}" for key in parameters}
        self._like = parameters
        self._standardized = standardized
        self._seen: dict[str, Tensor] | None = None
        none = torch.zeros(0, dtype=parameters["bias"].dtype).numpy()
        self.weight: Array = none[None]
        self.bias: Array = none
        self.gain: Array = none

    def adopt(self, optimizer: SGD) -> None:
        """Take up the optimizer's buffers, at first and when they were replaced, as by loading a model."""
        held = optimizer.momentum
        if held is self._seen or not optimizer.config.momentum:
            return
        self._seen = held
        for key, name in self._names.items():
            like = self._like[key]
            buffer = held[name].to(like.dtype) if name in held else torch.zeros_like(like)
            if key == "weight":
                buffer, rows = as_rows(buffer)
                self.weight = rows.numpy()
                if self._standardized:
                    weight_kernels.centre(self.weight)
            elif key == "bias":
                self.bias = buffer.numpy()
            else:
                self.gain = buffer.view(-1).numpy()
            held[name] = buffer


def as_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight with its input channels last in memory, and that memory as rows [out, fan_in]."""
    if weight.dim() == 2:
        weight = weight.contiguous()
        return weight, weight
    out, channels, height, width = weight.shape
    rows = weight.permute(0, 2, 3, 1).contiguous().view(out, -1)
    return rows.view(out, height, width, channels).permute(0, 3, 1, 2), rows
