"""Products of small convolutions without patches, against those with; and processors that have no room for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_fast import assert_same_weights, drive, pair

from stream_ottt.engine import direct
from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.images import Delta, Image
from stream_ottt.engine.precision import EXACT
from stream_ottt.engine.products import Buffers, Products, Shape
from stream_ottt.engine.rows import Rows

SHAPES = [
    Shape(3, 8, 2, 3, 16),
    Shape(6, 9, 16, 3, 48),  # tiles that overlap; three vectors of float32
    Shape(5, 5, 8, 3, 16),  # narrower than a high tile; channels that are no whole vector of float32
    Shape(4, 4, 32, 1, 32),
    Shape(7, 11, 16, 5, 16),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("wider", [0, 1])
def test_the_three_products(shape: Shape, dtype: torch.dtype, near: float, wider: int) -> None:
    assert direct.fits(shape, dtype)
    torch.manual_seed(0)
    image = Image(shape.height, shape.width, shape.channels, shape.kernel // 2 + wider, dtype)
    image.inside.normal_()
    weights = torch.randn(shape.out, shape.fan_in, dtype=dtype)
    parameters = {"weight": weights, "bias": torch.zeros(shape.out, dtype=dtype)}
    error = torch.randn(shape.pixels, shape.out, dtype=dtype).numpy()
    found = []
    for kind in (Products, direct.DirectProducts):
        rows = Rows(parameters, 1.0, keep_means=False, rounding=EXACT)
        rows.refresh(centred=True)
        products = kind(shape, Buffers([shape], dtype))
        current = products.make_current(image, rows).copy()
        products.error[:] = error
        below = Delta(torch.full((shape.height, shape.width, shape.channels), torch.nan, dtype=dtype))
        products.pass_down(rows, below)
        products.take_trace(image)
        whole = products.make_gradient().numpy().copy()
        assert [first for first, _ in products.blocks] == [0]
        found.append((current, below.array, whole, products.make_block(0).copy()))
    for plain, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=0, atol=near)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(8, 8, 16, 3, 12),  # no whole vector
        Shape(8, 3, 16, 3, 16),  # narrower than a tile
        Shape(8, 8, 1, 3, 16),  # its rows of a patch are shorter than a tile
        Shape(8, 8, 16, 3, 16, stride=2),
        Shape(8, 8, 16, 3, 16, patches=False),
        Shape(64, 64, 64, 3, 64),
        Shape(4, 4, 512, 3, 512),
    ],
)
def test_what_does_not_fit_goes_with_patches(shape: Shape) -> None:
    assert not direct.fits(shape, torch.float32)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_processor_without_the_registers_learns_the_same(monkeypatch: pytest.MonkeyPatch, overlap: bool) -> None:
    """What this one has not makes the products with patches, and all else is as before."""
    steps: list[Any] = [(0, False, False, False), (None, False, False, False), (2, True, False, False)] * 4
    rule = {"lr": 0.1, "momentum": 0.9, "error_delay": int(overlap)}
    found = []
    for there in (True, False):
        monkeypatch.setattr(direct, "has_the_registers", lambda there=there: there)
        _, fast = pair({"layers": (16, "AP2", 16)}, rule, shape=(2, 12, 12), engine=EngineConfig(overlap=overlap))
        kinds = {type(p) for p in fast.network.work.products}
        assert (direct.DirectProducts in kinds) == there
        found.append((fast, torch.cat(drive(fast, steps, 0))))
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-10)
    assert_same_weights(found[0][0], found[1][0], 1e-10)
