"""The contract of a learning method of the replay."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.optimizer import build_optimizer
from stream_ottt.network.topologies import build_network
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.base import Method

STEPS, BATCH, CLASSES, SIZE = 4, 3, 2, 8


def says_what_it_is(method: type[Method]) -> None:
    """It has a name and is a Method."""
    assert issubclass(method, Method) and isinstance(method.name, str) and method.name


def it_learns_a_batch(method: type[Method]) -> None:
    """``learn`` gives logits [T, batch, classes], finite, and steps the optimizer, then or in ``before_test``."""
    made = _made(method)
    logits = made.learn(*_batch())
    made.before_test()
    assert tuple(logits.shape) == (STEPS, BATCH, CLASSES), f"learn gave logits of {tuple(logits.shape)}"
    assert bool(logits.isfinite().all()), "logits are not finite"
    assert made.optimizer.steps > 0, "learn never began a step of the optimizer: call self.optimizer.begin()"


def predicting_changes_nothing(method: type[Method]) -> None:
    """``predict`` gives logits of the same shape and leaves weights and optimizer as they were."""
    made = _made(method)
    made.learn(*_batch())
    made.before_test()
    before = {k: v.clone() for k, v in made.network.parameters.items()}
    steps = made.optimizer.steps
    first, second = made.predict(_batch()[0]), made.predict(_batch()[0])
    assert tuple(first.shape) == (STEPS, BATCH, CLASSES), f"predict gave logits of {tuple(first.shape)}"
    assert torch.equal(first, second), "the same frames were predicted otherwise the second time"
    assert made.optimizer.steps == steps, "predict stepped the optimizer"
    assert all(torch.equal(v, before[k]) for k, v in made.network.parameters.items()), "predict changed the weights"


def what_was_learned_is_predicted_with(method: type[Method]) -> None:
    """After ``learn`` predictions come from the new weights: a method that changes them says so to the network."""
    made = _made(method)
    frames, targets = _batch()
    before = made.predict(frames)
    for _ in range(5):
        made.learn(frames, targets)
    made.before_test()
    assert not torch.equal(made.predict(frames), before), (
        "five batches changed no prediction; update through self.optimizer, then call self.network.weights_changed()"
    )


def it_goes_on_from_its_state(method: type[Method]) -> None:
    """One that is given weights, optimizer and ``state_dict`` of another learns the next batch as that one does."""
    first, second = _made(method), _made(method)
    for _ in range(2):
        first.learn(*_batch())
    first.before_test()
    for name, value in first.network.parameters.items():
        second.network.parameters[name].copy_(value)
    second.network.weights_changed()
    second.optimizer.set_state(first.optimizer.state(), first.optimizer.steps)
    second.load_state_dict({key: deepcopy(value) for key, value in first.state_dict().items()})
    for made in (first, second):
        made.learn(*_batch())
        made.before_test()
    same = torch.allclose(first.predict(_batch()[0]), second.predict(_batch()[0]), rtol=0, atol=1e-5)
    assert same, "it went on otherwise: state_dict and load_state_dict must hold all that it remembers"


METHOD_CHECKS: dict[str, Callable[[type[Method]], None]] = {
    check.__name__: check
    for check in (
        says_what_it_is,
        it_learns_a_batch,
        predicting_changes_nothing,
        what_was_learned_is_predicted_with,
        it_goes_on_from_its_state,
    )
}
"""Name → check."""


def check_method(method: type[Method]) -> None:
    """Run all checks of a learning method.

    Raises:
        AssertionError: a promise that it does not keep, after the name of the check.
    """
    for name, check in METHOD_CHECKS.items():
        try:
            check(method)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from e


def _made(method: type[Method]) -> Method:
    network = build_network(
        NetworkConfig(layers=(4,), readout="flatten"), input_shape=(2, SIZE, SIZE), classes=CLASSES, seed=1
    )
    config = LearnerConfig(lr=0.5, time_steps=STEPS)
    return method(network, build_optimizer(config), config, MethodConfig(name=method.name), batch_size=BATCH)


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 3, (STEPS, BATCH, 2, SIZE, SIZE), generator=generator).float()
    return frames, torch.arange(BATCH) % CLASSES
