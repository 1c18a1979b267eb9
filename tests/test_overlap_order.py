"""What must come before what when a second thread learns: each order is tried with that thread held where it counts.

The second thread stands still at the beginning of a job until the first one has nothing left that it may do. If it may
do too much, the numbers are others than those of one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from replay.helpers import small_residual
from torch import Tensor

from stream_ottt.engine import overlap
from stream_ottt.engine.network import CompiledNetwork
from stream_ottt.engine.overlap import FormErrors, OverlapNetwork, Update
from stream_ottt.engine.worker import Job, Worker
from stream_ottt.network.config import NetworkConfig, OptimizerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import build_optimizer
from stream_ottt.network.saved import Saved
from stream_ottt.network.topologies import build_network

LIMIT = 60.0


class Told(threading.Condition):
    """Says when a thread begins to wait: ``on_wait``."""

    on_wait: Callable[[], None] = staticmethod(lambda: None)

    def wait(self, timeout: float | None = None) -> bool:
        self.on_wait()
        return super().wait(timeout)


class HeldWorker(Worker):
    """A worker whose condition is :class:`Told`."""

    @property
    def _changed(self) -> Told:  # type: ignore[override]
        return self._told

    @_changed.setter
    def _changed(self, value: threading.Condition) -> None:
        self._told = Told()


class Held:
    """Holds the second thread at the ``nth`` job of a kind until the first one waits."""

    def __init__(self, patch: pytest.MonkeyPatch, network: OverlapNetwork, kind: type[Job], nth: int = 0) -> None:
        self.there, self.free = threading.Event(), threading.Event()
        first, original, left = threading.get_ident(), kind.steps, [nth]
        network._worker._changed.on_wait = self._waits  # type: ignore[union-attr]
        self._first = first

        def steps(job: Any, products: list[Any]) -> Iterator[None]:
            if threading.get_ident() != first:
                left[0] -= 1
                if left[0] < 0:
                    self.there.set()
                    assert self.free.wait(LIMIT)
            yield from original(job, products)

        patch.setattr(kind, "steps", steps)

    def _waits(self) -> None:
        if threading.get_ident() == self._first:
            self.free.set()

    def until_there(self) -> None:
        assert self.there.wait(LIMIT)


def small(**options: Any) -> Network:
    config = NetworkConfig(layers=(3, "AP2", 4, 4), **options)
    return build_network(config, input_shape=(2, 6, 6), classes=3, seed=1, dtype=torch.float64)


class Learning:
    """A network under one rate, and the errors and frames that it is given."""

    def __init__(self, make: Callable[[Network], CompiledNetwork], plain: Network, **rule: Any) -> None:
        self.network = make(plain)
        self.optimizer = build_optimizer(OptimizerConfig(**{"lr": 0.5, **rule}))
        self._random = torch.Generator().manual_seed(0)

    def forward(self) -> tuple[Tensor, Any]:
        rates = torch.full((1, *self.network.input_shape), 30.0, dtype=torch.float64)
        frame = torch.poisson(rates, generator=self._random)
        return self.network.forward(frame, learn=True)

    def backward(self, saved: Any) -> None:
        error = torch.randn(1, 3, generator=self._random, dtype=torch.float64)
        self.network.backward(error, saved)

    def learn(self, signals: list[Saved], saved: list[Saved]) -> None:
        self.optimizer.begin()
        self.network.learn(signals, saved, self.optimizer)

    def norms(self) -> list[Any]:
        return [self.network.squared_norm(turn) for turn in range(len(self.network.rows))]


@pytest.fixture
def one() -> Learning:
    return Learning(CompiledNetwork, small())


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Learning:
    monkeypatch.setattr(overlap, "Worker", HeldWorker)
    return Learning(OverlapNetwork, small())


def assert_same(one: Learning, two: Learning) -> None:
    for name, value in one.network.parameters.items():
        assert torch.equal(two.network.parameters[name], value), name


def test_errors_are_formed_before_they_meet(one: Learning, two: Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, two.network, FormErrors)  # type: ignore[arg-type]
    logits = []
    for learning in (one, two):
        _, saved = learning.forward()
        learning.backward(saved)
        if learning is two:
            held.until_there()
        learning.learn(saved, saved)
        logits.append(learning.forward()[0])
    assert torch.equal(*logits)
    assert_same(one, two)


def test_weights_that_errors_go_down_through_are_not_overwritten(
    one: Learning, two: Learning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two updates without a timestep between: the second writes where the errors still are."""
    held = Held(monkeypatch, two.network, FormErrors, nth=1)  # type: ignore[arg-type]
    logits = []
    for learning in (one, two):
        _, before = learning.forward()
        learning.backward(before)
        _, saved = learning.forward()
        learning.backward(saved)
        if learning is two:
            held.until_there()
        learning.learn(before, saved)
        learning.learn(before, saved)
        logits.append(learning.forward()[0])
        learning.learn(saved, saved)
    assert torch.equal(*logits)
    assert_same(one, two)


def test_errors_go_down_through_weights_that_are_in(
    one: Learning, two: Learning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors are formed again, while the update before is on its way."""
    held = Held(monkeypatch, two.network, Update)  # type: ignore[arg-type]
    again = []
    for learning in (one, two):
        _, saved = learning.forward()
        learning.backward(saved)
        learning.learn(saved, saved)
        if learning is two:
            held.until_there()
        learning.backward(saved)
        again.append((learning, saved))
    (forming,) = (job for job in two.network._forming if job.version == 1)  # type: ignore[attr-defined]
    assert not forming.ready
    held.free.set()
    for learning, saved in again:
        learning.learn(saved, saved)
    assert_same(one, two)


@pytest.mark.parametrize("layer", ["at work", "not begun"])
def test_the_norm_is_taken_when_the_update_before_the_last_is_in(
    layer: str, one: Learning, two: Learning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread is at the update of the top layer, and has not begun with the others.

    Whichever layer is asked about: what is not begun is done by who asks, what is begun is waited for.
    """
    for learning in (one, two):
        _, saved = learning.forward()
        learning.backward(saved)
        if learning is two:
            two.network._worker.settle()  # type: ignore[attr-defined]
            before, held = two.norms(), Held(monkeypatch, two.network, Update)  # type: ignore[arg-type]
        learning.learn(saved, saved)
        if learning is two:
            held.until_there()
        else:
            expected = one.norms()
        learning.learn(saved, saved)
    turns = range(len(expected))
    top = len(expected) - 1
    for turn in [top] if layer == "at work" else [turn for turn in turns if turn != top]:
        assert expected[turn] != before[turn]
        assert two.network.squared_norm(turn) == expected[turn]
    assert held.free.is_set() == (layer == "at work")
    held.free.set()
    assert_same(one, two)


@pytest.mark.parametrize(
    ("network", "rule"),
    [
        (small, {"optimizer": "adam", "lr": 0.01}),
        (small, {"momentum": 0.0, "weight_decay": 0.01}),
        (partial(small, weight_standardization=False), {"optimizer": "adam", "lr": 0.01}),
        (partial(small, topology="layers-f"), {"optimizer": "adam", "lr": 0.01}),
        (partial(small, topology="layers-f"), {}),
        (small_residual, {}),
    ],
)
def test_every_update_goes_into_the_other_set_of_weights(network: Callable[[], Network], rule: dict[str, Any]) -> None:
    """Each set is written at every second update, and must then have what the other one learned in between."""
    adam = rule.get("optimizer") == "adam"
    logits = []
    one, two = (
        Learning(partial(make, keep_means=adam), network(), **rule) for make in (CompiledNetwork, OverlapNetwork)
    )
    for learning in (one, two):
        before = learning.forward()[1]
        learning.backward(before)
        for _ in range(5):
            shown, saved = learning.forward()
            logits.append(shown)
            learning.backward(saved)
            learning.learn(before, saved)
            before = saved
    for ours, theirs in zip(logits[5:], logits[:5], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(logits[4], logits[0])
    assert_same(one, two)
