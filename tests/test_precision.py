"""Products of 16-bit operands, against float64 products of what torch rounds; on any processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_fast import centred, drive, pair
from torch import Tensor

from stream_ottt.engine import EngineConfig
from stream_ottt.fast import float16_kernels, stages
from stream_ottt.fast import precision as precisions
from stream_ottt.fast import turn as turns
from stream_ottt.fast.float16_tiles import ROWS, WIDTH
from stream_ottt.fast.images import Image
from stream_ottt.fast.network import FastNetwork
from stream_ottt.fast.precision import EXACT, Format, Products
from stream_ottt.fast.turn import Shape
from stream_ottt.fast.weights import Rows
from stream_ottt.fast.workspace import Workspace

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
REDUCED = ["bf16-backward", "bf16", "fp16-backward", "fp16"]


@pytest.fixture
def any_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every format is multiplied, whether or not this processor is fast at it."""
    monkeypatch.setattr(precisions, "is_faster", lambda _: True)


def test_a_format_is_taken_where_it_is_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for faster in ("bfloat16", "float16"):
        monkeypatch.setattr(precisions, "is_faster", lambda format, faster=faster: format == faster)
        expected = {
            "float32": EXACT,
            "bf16": Products("bfloat16", forward=True) if faster == "bfloat16" else EXACT,
            "bf16-backward": Products("bfloat16") if faster == "bfloat16" else EXACT,
            "fp16": Products("float16", forward=True) if faster == "float16" else EXACT,
            "fp16-backward": Products("float16") if faster == "float16" else EXACT,
        }
        assert {name: Products.of(name) for name in expected} == expected  # type: ignore[arg-type]


def test_what_gains_nothing_is_not_done_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "is_faster", lambda _: False)
    with pytest.warns(UserWarning, match="'fp16' is no faster here, so float32 is used"):
        _, fast = pair({"layers": (4,)}, {}, dtype=torch.float32, engine=EngineConfig(precision="fp16"))
    assert isinstance(fast.network, FastNetwork) and fast.network._products == EXACT


def rounded(x: Tensor, format: Format) -> Tensor:
    return x.to(DTYPES[format]).double()


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("format", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "shape", [Shape(7, 5, 3, 3, 6), Shape(4, 4, 300, 3, 130), Shape(30, 20, 16, 3, 64), Shape(3, 2, 40, 1, 10)]
)
@pytest.mark.parametrize("size", [1.0, 1e-9, 1e9])
def test_products_of_rounded_operands(
    format: Format, forward: bool, shape: Shape, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of numbers of any size, in as many blocks as the layer needs; whole tiles and parts of tiles."""
    monkeypatch.setattr(turns, "BLOCK", 50_000)
    monkeypatch.setattr("stream_ottt.fast.workspace.BLOCK", 50_000)
    torch.manual_seed(3)
    (turn,) = Workspace([shape], torch.float32, Products(format, forward=forward)).turns
    assert turn is not None
    image = Image(shape.height, shape.width, shape.channels, shape.kernel // 2, torch.float32)
    image.inside.copy_(torch.rand(image.inside.shape))
    weights = torch.randn(shape.out, shape.fan_in)
    rows = Rows(weights * size, torch.zeros(shape.out), None, 1.0, Products(format, forward=forward))
    rows.refresh()
    error = torch.randn(shape.pixels, shape.out)
    patches = image.patches.reshape(shape.pixels, shape.fan_in)

    def close(found: Any, expected: Tensor, depth: int, factor: float, reduced: bool = True) -> None:
        # bfloat16 products come back as bfloat16; float16 sums a hundred products or so as float16.
        unit = (4e-3 if format == "bfloat16" else 1e-3) if reduced else 1e-6
        near = {"rtol": 4 * unit, "atol": 8 * unit * depth**0.5}
        np.testing.assert_allclose(np.asarray(found) / factor, expected.numpy(), **near)

    turn.make_current(image, rows)
    exact = patches.double() @ weights.double().t()
    half = rounded(patches, format) @ rounded(weights, format).t()
    close(turn.current, half if forward else exact, shape.fan_in, size, forward)

    turn.error[:] = error * size
    turn.take_error()
    turn.make_columns(rows)
    if size == 1.0:  # else its square is beyond float32
        close(turn.columns, rounded(error, format) @ rounded(weights, format), shape.out, 1.0)

    turn.take_trace(image)
    expected = rounded(error, format).t() @ rounded(patches, format)
    close(turn.make_gradient(), expected, shape.pixels, size)
    for block, (first, gradient) in enumerate(turn.blocks):
        turn.make_block(block)
        close(gradient, expected[first : first + len(gradient)], shape.pixels, size)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 2 * ROWS + 3),
    depth=st.sampled_from([1, 15, 16, 17, 64, 130, 513, 700]),
    columns=st.sampled_from([1, 16, 31, WIDTH - 1, WIDTH, WIDTH + 1, 5 * WIDTH + 17]),
    seed=st.integers(0, 9),
)
@example(rows=2 * ROWS, depth=1024, columns=4 * WIDTH, seed=0)
def test_whole_numbers_are_multiplied_exactly(rows: int, depth: int, columns: int, seed: int) -> None:
    """Small whole numbers lose nothing in float16, so that every product must be there exactly once."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-1, 2, (rows, depth)).astype(np.float32)
    b = rng.integers(-1, 2, (depth, columns)).astype(np.float32)
    pairs = np.zeros(rows * depth + ROWS * max(rows, depth), np.uint32)
    by_rows, by_columns = pairs[: rows * depth].reshape(rows, depth), pairs[: rows * depth].reshape(depth, rows)
    edge = np.zeros((ROWS, WIDTH), np.float32)
    room = np.zeros((float16_kernels.PANELS, float16_kernels.DEPTH, WIDTH), np.uint16)
    room[:] = np.float16(np.nan).view(np.uint16)  # what is beyond the end must not get in
    float16_kernels.twice(a, 1.0, by_rows)
    for product, operand in ((float16_kernels.multiply_rows, b), (float16_kernels.multiply_transposed, b.T.copy())):
        out = np.full((rows, columns), np.nan, np.float32)
        product(by_rows, operand, 0.5, out, 2.0, edge, room)
        np.testing.assert_array_equal(out, a @ b)
    flat = np.full(depth * columns + WIDTH, np.float16(np.nan).view(np.uint16))
    halves = flat[: depth * columns].reshape(depth, columns)
    float16_kernels.halves(b, 0.5, halves)
    float16_kernels.twice(a.T.copy(), 1.0, by_columns)
    out = np.full((rows, columns), np.nan, np.float32)
    float16_kernels.multiply(by_columns.T, halves, out, 2.0, edge)
    np.testing.assert_array_equal(out, a @ b)


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
@example([0.0, -0.0, 1e-45, 6e-8, 65504.0, 65520.0, float("inf"), float("-inf"), float("nan"), 1.00048828125])
def test_rounds_as_torch_does(numbers: list[float]) -> None:
    exact = np.array(numbers, np.float32)
    bits, pairs = np.zeros(exact.shape, np.uint16), np.zeros(exact.shape, np.uint32)
    float16_kernels.halves(exact, 1.0, bits)
    float16_kernels.twice(exact, 1.0, pairs)
    np.testing.assert_array_equal(bits.view(np.float16), torch.from_numpy(exact).half().numpy())
    np.testing.assert_array_equal(pairs, bits * np.uint32(65537))


@given(st.lists(st.floats(width=32), min_size=1, max_size=9))
@example([0.0])
@example([float("nan"), 3.0])
@example([float("-inf"), 3.0])
def test_the_largest_number_is_brought_to_where_it_fits(numbers: list[float]) -> None:
    scale = float16_kernels.fitting(np.array(numbers, np.float32), 16.0)
    largest = max((abs(x) for x in numbers), key=lambda x: np.inf if np.isnan(x) else x)
    if 0 < largest < np.inf:
        assert 8 < largest * scale <= 16 and np.log2(scale) == round(np.log2(scale))
    else:
        assert scale == 1


def test_a_number_that_is_not_finite_is_not_hidden() -> None:
    shape = Shape(4, 4, 8, 3, 70)
    (turn,) = Workspace([shape], torch.float32, Products("float16")).turns
    assert turn is not None
    rows = Rows(torch.ones(70, 72), torch.zeros(70), None, 1.0, Products("float16"))
    rows.refresh()
    for bad in (np.nan, np.inf):
        turn.error[:] = 1
        turn.error[5, 3] = bad
        turn.take_error()
        turn.make_columns(rows)
        assert not np.isfinite(turn.columns[5]).any() and np.isfinite(turn.columns[6]).all()


def test_float16_is_for_float32() -> None:
    with pytest.raises(ValueError, match="float64"):
        Workspace([Shape(4, 4, 8, 3, 7)], torch.float64, Products("float16"))


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


@pytest.mark.usefixtures("any_format")
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("precision", ["float32", *REDUCED])
def test_copies_of_the_weights_keep_up_with_them(
    precision: Any, overlap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rounded one and the transpose, which each update writes along the way."""
    monkeypatch.setattr(stages, "SCATTERING", 0)
    monkeypatch.setattr(stages, "TRANSPOSING", 0)
    engine = EngineConfig(engine="fast", overlap=overlap, precision=precision)
    network = {"layers": (16, "AP2", 40, 40)}
    _, fast = pair(network, {"error_delay": 1, "lr": 0.1}, shape=(2, 12, 12), dtype=torch.float32, engine=engine)
    drive(fast, [(0, False, False, False)] * 6, 0)
    assert isinstance(fast.network, FastNetwork)
    changed = fast.network.parameters["conv3.weight"].clone()
    drive(fast, [(0, False, False, False)] * 2, 1)
    assert not torch.equal(fast.network.parameters["conv3.weight"], changed)
    for stage in fast.network.stages:
        if isinstance(stage, stages.ConvStage):
            transpose, half = stage.rows.transpose, stage.rows.half
            assert transpose.holds(stage.rows)
            np.testing.assert_array_equal(transpose.columns, stage.rows.array.T)
            assert (half is not None) == precision.startswith("bf16")
            assert half is None or torch.equal(half, stage.rows.rows.bfloat16())
