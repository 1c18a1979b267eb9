"""The weights of one connection as rows, one row per output channel, and the fused update of a row.

Scaled weight standardization without Ŵ: Ŵ = k C with C = W - mean(W) and one number k per row, which is multiplied in
after the matrix product. The gradient of W sums to zero over a row, so that under SGD a row's mean never acts: it is
taken out of W once, and C is W. Adam moves the means, so it keeps C beside W.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import spike_kernels, weight_kernels
from stream_ottt.engine.precision import Rounding
from stream_ottt.engine.products import Products
from stream_ottt.network.optimizer import SGD, Adam
from stream_ottt.network.weights import SWS_EPSILON


class FusedStep:
    """One optimizer step that the kernels make by themselves: its numbers, and the optimizer's buffers.

    Args:
        optimizer: an :class:`SGD` or an :class:`Adam`, within a step that has begun.
    """

    updates = True

    def __init__(self, optimizer: SGD | Adam) -> None:
        c = optimizer.config
        self.buffers = optimizer.buffers
        self.adam = isinstance(optimizer, Adam)
        self.momentum = bool(c.momentum)
        self.numbers: tuple[float, ...]
        if isinstance(optimizer, Adam):
            self.numbers = *c.betas, c.weight_decay, *optimizer.corrections()
        else:
            self.numbers = c.momentum, c.weight_decay, optimizer.lr

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        raise NotImplementedError("the kernels make this step")


class Rows:
    """One set of a connection's weights.

    Args:
        parameters: ``weight`` [out, in, k, k] or [out, in], stored anew with the input channels last if it is not
            already, ``bias`` [out] and perhaps ``gain`` [out, 1, 1, 1].
        input_scale: factor on the connection's input.
        keep_means: whether the means of standardized rows stay in W.
        rounding: how products take W rounded.
        transpose: that of another set of the same connection's weights.

    Attributes:
        parameters: the same memory as tensors of the plain shapes, by name.
        raw: W [out, fan_in].
        rows: what is multiplied, [out, fan_in]: C, or W itself; ``columns`` (its transpose) and ``array`` are the same
            memory.
        k: [out]; Ŵ = k C. ``k_in`` has the input's scale in it.
        half: what is multiplied as bfloat16 [out, fan_in], if any product wants it.
        transpose: room for the transpose.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        input_scale: float,
        *,
        keep_means: bool,
        rounding: Rounding,
        transpose: Transpose | None = None,
    ) -> None:
        self.input_scale = input_scale
        self._how: dict[str, Any] = {"keep_means": keep_means, "rounding": rounding}
        weight, raw = as_rows(parameters["weight"])
        bias, gain = parameters["bias"], parameters.get("gain")
        self.parameters = {**parameters, "weight": weight}
        self.standardized = gain is not None
        self.apart = self.standardized and keep_means
        self.raw: Array = raw.numpy()
        self.rows = raw.clone() if self.apart else raw
        self.columns = self.rows.t()
        self.array: Array = self.rows.numpy()
        self.bias: Array = bias.numpy()
        self.gain: Array = (torch.ones_like(bias) if gain is None else gain.view(-1)).numpy()
        self.inverse: Array = torch.ones_like(bias).numpy()
        self.k: Array = torch.ones_like(bias).numpy()
        self.k_in: Array = torch.full_like(bias, input_scale).numpy()
        self.squares: Array = torch.zeros_like(bias).numpy()
        self.half = self.rows.bfloat16() if rounding.format == "bfloat16" else None
        self.transpose = transpose or Transpose()

    def copy(self) -> Rows:
        """A second set of the same weights; both share the room for their transpose."""
        own = {name: value.clone() for name, value in self.parameters.items()}
        twin = Rows(own, self.input_scale, transpose=self.transpose, **self._how)
        twin.refresh(centred=True)
        return twin

    def like(self, parameters: dict[str, Tensor]) -> Rows:
        """Other weights in the same way, perhaps of more outputs."""
        return Rows(parameters, self.input_scale, **self._how)

    def refresh(self, *, centred: bool) -> None:
        """The weights were changed from outside: find C and k.

        Args:
            centred: W's rows are known to have no mean, so that not one bit of them is to change.
        """
        self.transpose.forget(self)
        if self.apart or (self.standardized and not centred):
            weight_kernels.centre(self.raw, self.array)
        weight_kernels.squared_norms(self.array, self.squares)
        self._rescale()
        if self.half is not None:
            self.half.copy_(self.rows)

    def _rescale(self) -> None:
        if self.standardized:
            n = self.array.shape[1]
            weight_kernels.scales(
                self.gain, self.squares, n, SWS_EPSILON, self.input_scale, self.inverse, self.k, self.k_in
            )

    def descend(self, products: Products, slots: Slots, step: FusedStep, updated: Rows) -> None:
        """One optimizer step from the error and the trace in ``products`` into ``updated``, perhaps this set itself."""
        transpose = updated.transpose
        transpose.forget(updated)
        for block, (first, _) in enumerate(products.blocks):
            gradient = products.make_block(block)
            new = slice(first, first + len(gradient))
            if step.adam:
                weight_kernels.adam(
                    gradient, first, self.raw, updated.raw, self.array, *slots.weight, self.inverse,
                    self.input_scale, self.standardized, *step.numbers, products.along,
                )  # fmt: skip
                if self.apart:
                    weight_kernels.centre(updated.raw[new], updated.array[new])
                    weight_kernels.squared_norms(updated.array[new], updated.squares[new])
            else:
                weight_kernels.descend(
                    gradient, first, self.raw, updated.raw, *slots.weight, self.inverse,
                    self.input_scale, self.standardized, *step.numbers, updated.squares, products.along,
                )  # fmt: skip
            if updated.half is not None:
                updated.half[new].copy_(updated.rows[new])
            if transpose.wanted:
                transpose.take(updated, first, len(gradient))
        update_vector(self.bias, updated.bias, slots.bias, products.bias, step)
        if self.standardized:
            weight_kernels.gain_gradient(products.along, self.gain, products.gain)
            update_vector(self.gain, updated.gain, slots.gain, products.gain, step)
            updated._rescale()

    def gradients(self, products: Products) -> dict[str, Tensor]:
        """∂L/∂parameter by name from the error and the trace in ``products``, as fresh tensors."""
        weight = self.parameters["weight"]
        rows = products.make_gradient()
        found = {"bias": torch.from_numpy(products.bias.copy())}
        if self.standardized:
            weight_kernels.standardize_back(rows.numpy(), self.array, self.inverse, self.input_scale, products.along)
            weight_kernels.gain_gradient(products.along, self.gain, products.gain)
            found["gain"] = torch.from_numpy(products.gain.copy()).view_as(self.parameters["gain"])
        else:
            rows *= self.input_scale
        if weight.dim() == 4:
            out, channels, k, _ = weight.shape
            rows = rows.view(out, k, k, channels).permute(0, 3, 1, 2)
        return {"weight": rows, **found}


def update_vector(values: Array, updated: Array, slots: list[Array], gradient: Array, step: FusedStep) -> None:
    """One optimizer step on a bias or a gain."""
    update = weight_kernels.adam_vector if step.adam else weight_kernels.descend_vector
    update(values, updated, *slots, gradient, *step.numbers)


class Transpose:
    """The transpose of what one connection multiplies, in memory of its own, for the forward pass over few spikes.

    One is enough for two sets of weights: an update begins after the forward pass before it and ends before the next.

    Attributes:
        wanted: make it along with each update, while the new rows are in the cache, and on the thread that learns.
        columns: [fan_in, out]; empty before the first.
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


class Slots:
    """What an optimizer remembers of one connection's parameters, in its keeping and in the layout of the rows.

    Attributes:
        weight, bias, gain: an array for each kind of buffer: [out, fan_in] or [out].
    """

    def __init__(self, name: str, parameters: dict[str, Tensor]) -> None:
        self._name = name
        self._like = parameters
        self._seen: object = None
        self.foreign = True
        self.weight: list[Array] = []
        self.bias: list[Array] = []
        self.gain: list[Array] = []

    def adopt(self, step: FusedStep, *, centre: bool) -> None:
        """Take up the optimizer's buffers, at first and when they were replaced, as by loading a model.

        Args:
            centre: take the means out of the rows of buffers that came from elsewhere.
        """
        if step.buffers is self._seen:
            return
        self._seen = step.buffers
        for key, like in self._like.items():
            arrays = []
            for held in step.buffers.values():
                name = f"{self._name}{key}"
                if not (step.adam or step.momentum):  # without momentum, SGD remembers nothing
                    arrays.append(np.zeros((1, 1) if key == "weight" else 1, like.numpy().dtype))
                    continue
                buffer = held[name].to(like.dtype) if name in held else torch.zeros_like(like)
                if key == "weight":
                    buffer, rows = as_rows(buffer)
                    arrays.append(rows.numpy())
                    if centre and self.foreign:
                        weight_kernels.centre(arrays[-1], arrays[-1])
                else:
                    arrays.append(buffer.view(-1).numpy())
                held[name] = buffer
            setattr(self, key, arrays)
        self.foreign = False


def as_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight with its input channels last in memory, and that memory as rows [out, fan_in]."""
    if weight.dim() == 2:
        weight = weight.contiguous()
        return weight, weight
    out, channels, height, width = weight.shape
    rows = weight.permute(0, 2, 3, 1).contiguous().view(out, -1)
    return rows.view(out, height, width, channels).permute(0, 3, 1, 2), rows
