"""Products of 16-bit operands, against float64 products of what torch rounds; on any processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_fast import centred, drive, pair
from torch import Tensor

from stream_ottt.engine import connection, products
from stream_ottt.engine import precision as precisions
from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.direct import has_the_registers
from stream_ottt.engine.images import Image
from stream_ottt.engine.network import CompiledNetwork
from stream_ottt.engine.precision import EXACT, Format, Rounding
from stream_ottt.engine.products import Buffers, Shape, may_round, products_over
from stream_ottt.engine.rows import Rows

DTYPES = {"bfloat16": torch.bfloat16}
REDUCED = ["bf16-backward", "bf16"]


@pytest.fixture
def any_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every format is multiplied, whether or not this processor is fast at it."""
    monkeypatch.setattr(precisions, "bfloat16_is_faster", lambda: True)


@pytest.mark.parametrize("faster", [False, True])
def test_a_format_is_taken_where_it_is_the_faster_one(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "bfloat16_is_faster", lambda: faster)
    expected = {
        "float32": EXACT,
        "bf16": Rounding("bfloat16", forward=True) if faster else EXACT,
        "bf16-backward": Rounding("bfloat16") if faster else EXACT,
    }
    assert {name: Rounding.of(name) for name in expected} == expected  # type: ignore[arg-type]


def test_what_gains_nothing_is_not_done_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "bfloat16_is_faster", lambda: False)
    with pytest.warns(UserWarning, match="'bf16' is no faster here, so float32 is used"):
        _, fast = pair({"layers": (4,)}, {}, dtype=torch.float32, engine=EngineConfig(precision="bf16"))
    assert isinstance(fast.network, CompiledNetwork) and fast.network.rounding == EXACT


def rounded(x: Tensor, format: Format) -> Tensor:
    return x.to(DTYPES[format]).double()


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("format", ["bfloat16"])
@pytest.mark.parametrize(
    "shape", [Shape(7, 5, 3, 3, 6), Shape(4, 4, 300, 3, 130), Shape(30, 20, 16, 3, 64), Shape(3, 2, 40, 1, 10)]
)
@pytest.mark.parametrize("size", [1.0, 1e-9, 1e9])
def test_products_of_rounded_operands(
    format: Format, forward: bool, shape: Shape, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of numbers of any size, in as many blocks as the layer needs; whole tiles and parts of tiles."""
    monkeypatch.setattr(products, "BLOCK", 50_000)
    torch.manual_seed(3)
    rounding = Rounding(format, forward=forward)
    found = products_over(Buffers([shape], torch.float32), [shape], rounding)(shape)
    image = Image(shape.height, shape.width, shape.channels, shape.kernel // 2, torch.float32)
    image.inside.copy_(torch.rand(image.inside.shape))
    weights = torch.randn(shape.out, shape.fan_in)
    parameters = {"weight": weights * size, "bias": torch.zeros(shape.out)}
    rows = Rows(parameters, 1.0, keep_means=False, rounding=rounding)
    rows.refresh(centred=True)
    error = torch.randn(shape.pixels, shape.out)
    patches = image.patches(shape.kernel, 1).reshape(shape.pixels, shape.fan_in)

    def close(found: Any, expected: Tensor, depth: int, factor: float, reduced: bool = True) -> None:
        # bfloat16 products come back as bfloat16; float16 sums a hundred products or so as float16.
        unit = (4e-3 if format == "bfloat16" else 1e-3) if reduced else 1e-6
        near = {"rtol": 4 * unit, "atol": 8 * unit * depth**0.5}
        np.testing.assert_allclose(np.asarray(found) / factor, expected.numpy(), **near)

    current = found.make_current(image, rows)
    exact = patches.double() @ weights.double().t()
    half = rounded(patches, format) @ rounded(weights, format).t()
    close(current, half if forward else exact, shape.fan_in, size, forward)

    found.error[:] = error * size
    found.take_error()
    columns = found.make_columns(rows)
    if size == 1.0:  # else its square is beyond float32
        close(columns, rounded(error, format) @ rounded(weights, format), shape.out, 1.0)

    found.take_trace(image)
    expected = rounded(error, format).t() @ rounded(patches, format)
    close(found.make_gradient(), expected, shape.pixels, size)
    for block, (first, _) in enumerate(found.blocks):
        gradient = found.make_block(block)
        close(gradient, expected[first : first + len(gradient)], shape.pixels, size)


@pytest.mark.usefixtures("any_format")
@pytest.mark.parametrize("precision", REDUCED)
def test_learning_stays_near(precision: str) -> None:
    rule = {"lr": 0.02}
    engine = EngineConfig.load({"precision": precision})
    plain, fast = pair({"layers": (8, "AP2", 8)}, rule, shape=(2, 12, 12), dtype=torch.float32, engine=engine)
    before = {name: centred(name, value).clone() for name, value in plain.network.parameters.items()}
    for learner in (plain, fast):
        drive(learner, [(0, False, False, False)] * 3, 0)
    for name in ("readout.weight", "conv1.weight"):
        ours = fast.network.parameters[name] - before[name]
        theirs = centred(name, plain.network.parameters[name]) - before[name]
        assert 0 < float((ours - theirs).norm()) < 0.2 * float(theirs.norm()), name


@pytest.mark.skipif(not has_the_registers(), reason="this processor has no products without patches")
@pytest.mark.usefixtures("any_format")
@pytest.mark.parametrize("precision", REDUCED)
def test_small_products_are_not_rounded(precision: Any) -> None:
    """They go without patches, in float32, which is faster than any product of bfloat16 with patches."""
    learners = [
        pair({"layers": (16, "AP2", 32)}, {}, shape=(2, 16, 16), dtype=torch.float32, engine=EngineConfig(precision=p))[
            1
        ]
        for p in (precision, "float32")
    ]
    for learner in learners:
        drive(learner, [(0, False, False, False)] * 3, 0)
    rounded, exact = (learner.network.parameters for learner in learners)
    for name, value in exact.items():
        assert torch.equal(rounded[name], value), name


@pytest.mark.usefixtures("any_format")
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("precision", ["float32", *REDUCED])
def test_copies_of_the_weights_keep_up_with_them(
    precision: Any, overlap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rounded one and the transpose, which each update writes along the way."""
    monkeypatch.setattr(connection, "SCATTERING", 0)
    monkeypatch.setattr(connection, "TRANSPOSING", 0)
    engine = EngineConfig(engine="fast", overlap=overlap, precision=precision)
    network = {"layers": (16, "AP2", 40, 40)}
    _, fast = pair(network, {"error_delay": 1, "lr": 0.1}, shape=(2, 12, 12), dtype=torch.float32, engine=engine)
    drive(fast, [(0, False, False, False)] * 6, 0)
    assert isinstance(fast.network, CompiledNetwork)
    changed = fast.network.parameters["conv3.weight"].clone()
    drive(fast, [(0, False, False, False)] * 2, 1)
    assert not torch.equal(fast.network.parameters["conv3.weight"], changed)
    for part, rows in zip(fast.network.parts.made, fast.network.rows, strict=True):
        if not isinstance(part, connection.CompiledDense):
            transpose, half = rows.transpose, rows.half
            assert transpose.holds(rows)
            np.testing.assert_array_equal(transpose.columns, rows.array.T)
            assert (half is not None) == (precision.startswith("bf16") and may_round(part.shape, torch.float32))
            assert half is None or torch.equal(half, rows.rows.bfloat16())
