"""What a learning step cannot do without: three matrix products a layer, and one pass of the update over weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from baselines import LR, MOMENTUM, Step, Work
from torch import Tensor

from stream_ottt.engine.precision import least_time, one_dnn


def limit(of: Work, dtype: torch.dtype) -> Step:
    """The current, the error of the layer below and the gradient of each layer, as one dense product each, and SGD.

    Each product goes to whichever of torch's two libraries is faster at it, by a trial; patches are there already, and
    weights, error and patches are in ``dtype`` already. The update is torch's own pass over float32 weights, momentum
    and gradients at once. The first layer passes no error down.
    """
    channels, height, width = of.shape
    products: list[Callable[[], object]] = []
    weights = []
    for part in of.layers:
        if isinstance(part, str):
            size = int(part.removeprefix("AP"))
            height, width = height // size, width // size
            continue
        fan_in = 9 * channels
        patches = torch.rand(height * width, fan_in).to(dtype)
        kernel = torch.randn(part, fan_in).to(dtype)
        error = torch.randn(height * width, part).to(dtype)
        products.append(_faster(patches, kernel))
        if weights:
            products.append(_faster(error, kernel.t().contiguous()))
        products.append(_faster(error.t().contiguous(), patches.t().contiguous()))
        weights.append(torch.randn(part, fan_in, requires_grad=True))
        channels = part
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    sgd = torch.optim.SGD(weights, lr=LR, momentum=MOMENTUM, fused=True)

    def step(frame: Tensor, target: Tensor) -> None:
        for product in products:
            product()
        sgd.step()

    return step


def _faster(a: Tensor, b: Tensor) -> Callable[[], object]:
    """a bᵀ by the faster library."""
    out = torch.empty(len(a), len(b), dtype=a.dtype)
    by_mm = partial(torch.mm, a, b.t(), out=out)
    if a.dtype != torch.float32:
        return by_mm
    by_one_dnn = partial(one_dnn, a, b)
    return min((by_mm, by_one_dnn), key=least_time)
