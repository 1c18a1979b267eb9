"""The learner: predicting before learning, OTTT_O and OTTT_A, putting a sample aside, bounded memory."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import set_aside
from torch import Tensor
from watching import RecordingSGD

from stream_ottt.engine.config import EngineConfig
from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Timestep
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.optimizer import SGD
from stream_ottt.network.topologies import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE, CLASSES = (2, 6, 6), 3


def learner_of(network: dict[str, Any] | None = None, **config: Any) -> tuple[OnlineLearner, RecordingSGD]:
    net = build_network(
        NetworkConfig(**{"layers": (4, "AP2", 5), **(network or {})}),
        input_shape=SHAPE,
        classes=CLASSES,
        dtype=torch.float64,
    )
    for name, p in net.parameters.items():
        if name == "readout.weight":
            p.mul_(30)
        elif name.startswith("conv") and name.endswith(".bias"):
            p.fill_(0.3)
    history = config.pop("history", 0)
    c = LearnerConfig(**{"time_steps": 4, **config})
    optimizer = RecordingSGD(c)
    return OnlineLearner(net, optimizer, c, history=history), optimizer


def frame(i: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(i).poisson(0.7, SHAPE).astype(np.float32)


def timestep(i: int, *, new_sample: bool = False) -> Timestep:
    return Timestep(frame(i), i * 1000, (i + 1) * 1000, i, 0, new_sample)


def weights(learner: OnlineLearner) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in learner.network.parameters.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[k], b[k]) for k in a)


# --- predicting -------------------------------------------------------------------------------------------------------


def test_a_prediction_is_what_the_read_out_says() -> None:
    learner, _ = learner_of()
    learner.classes = [7, 3, 5]
    for i in range(4):
        prediction = learner.step(timestep(i))
        z = prediction.logits
        assert (prediction.step, prediction.t_start, prediction.t_end) == (i, i * 1000, (i + 1) * 1000)
        assert z.dtype == np.float64 and z.shape == (CLASSES,)
        assert prediction.label == [7, 3, 5][int(np.argmax(z))]
        assert prediction.confidence == pytest.approx(np.exp(z[prediction.index]) / np.exp(z).sum(), rel=1e-12)
    assert np.ptp(z) > 0.01


def test_predicts_before_it_learns() -> None:
    learners = [learner_of(lr=0.5)[0] for _ in range(2)]
    for i in range(6):
        a, b = (learner.step(timestep(i)) for learner in learners)
        # The labels differ at steps 4 and 5 only: the first prediction that may differ is that of step 5.
        assert np.array_equal(a.logits, b.logits) == (i <= 4)
        learners[0].feedback(i, 1)
        learners[1].feedback(i, 1 if i < 4 else 2)


def test_learning_changes_only_what_comes_after() -> None:
    learner, _ = learner_of(lr=0.5)
    quiet, _ = learner_of(lr=0.5)
    said, unlearned = [], []
    for i in range(3):
        said.append(learner.step(timestep(i)).logits)
        learner.feedback(i, 0)
        unlearned.append(quiet.step(timestep(i)).logits)
    assert np.array_equal(said[0], unlearned[0]) and not np.array_equal(said[1], unlearned[1])


def test_a_timestep_only_watched_cannot_be_learned_from() -> None:
    learner, optimizer = learner_of(history=3)
    before = weights(learner)
    for i in range(3):
        learner.step(timestep(i), learn=False)
        assert learner.feedback(i, 0) is False
    assert not learner.feedback(0, 0)
    assert optimizer.seen == [] and same(before, weights(learner)) and learner.counts.learned == 0
    assert learner.step(timestep(3)).step == 3 and learner.feedback(3, 0)


def test_watching_says_the_same_as_learning_would() -> None:
    a, b = (learner_of({"topology": "layers-f"})[0] for _ in range(2))
    for learner in (a, b):
        learner.network.parameters["conv1.feedback.weight"].fill_(0.1)
    for i in range(5):
        watched = b.step(timestep(i), learn=False).logits
        assert np.array_equal(a.step(timestep(i)).logits, watched)


def test_a_new_sample_starts_from_rest() -> None:
    learner, fresh = learner_of({"input_trace": True}, lr=0.0)[0], learner_of({"input_trace": True}, lr=0.0)
    for i in range(3):
        learner.step(timestep(i))
    for i in range(3, 6):
        a = learner.step(timestep(i, new_sample=i == 3))
        b = fresh[0].step(timestep(i))
        assert np.array_equal(a.logits, b.logits)
        learner.feedback(i, 1)
        fresh[0].feedback(i, 1)
        optimizer = learner.optimizer
        assert isinstance(optimizer, RecordingSGD) and same(optimizer.seen[-1], fresh[1].seen[-1])


def test_the_saved_tensors_of_a_step_are_not_the_callers_to_lose() -> None:
    """A label that comes late finds its own step's traces, though many steps have passed."""
    late, optimizer = learner_of({"input_trace": True}, lr=0.0, history=4, delay_mode="snapshot")
    prompt, expected = learner_of({"input_trace": True}, lr=0.0)
    for i in range(8):
        late.step(timestep(i))
        prompt.step(timestep(i))
        prompt.feedback(i, i % CLASSES)
        if i >= 4:
            assert late.feedback(i - 4, (i - 4) % CLASSES)
    for a, b in zip(optimizer.seen, expected.seen[:4], strict=True):
        assert same(a, b)


@pytest.mark.parametrize("label", [-1, 3, 10**12])
def test_an_unknown_label_is_an_error(label: int) -> None:
    learner, optimizer = learner_of()
    learner.step(timestep(0))
    with pytest.raises(ValueError, match=rf"label {label} is not among the classes \[0, 1, 2\]"):
        learner.feedback(0, label)
    assert optimizer.seen == []
    assert learner.feedback(0, 2)


def test_a_step_not_seen_is_an_error() -> None:
    learner, _ = learner_of()
    with pytest.raises(ValueError, match="step 0 has not been seen"):
        learner.feedback(0, 1)
    learner.step(timestep(5))
    with pytest.raises(ValueError, match="step 6 has not been seen; the latest is 5"):
        learner.feedback(6, 1)


def test_as_many_classes_as_outputs() -> None:
    learner, _ = learner_of()
    with pytest.raises(ValueError, match="2 classes for a network with 3 outputs"):
        OnlineLearner(learner.network, classes=[1, 2])
    named = OnlineLearner(learner.network, classes=[30, 10, 20])
    named.step(timestep(0))
    assert named.feedback(0, 10)
    with pytest.raises(ValueError, match="label 0 is not among"):
        named.feedback(0, 0)


# --- the loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_error_is_the_derivative_of_the_loss(alpha: float, batch: int) -> None:
    learner, optimizer = learner_of(alpha=alpha, time_steps=7, lr=0.0)
    frames = torch.from_numpy(np.stack([frame(i) for i in range(batch)])).double()
    logits = learner.forward(frames, 0).clone().requires_grad_()
    targets = torch.arange(batch)
    learner.learn(0, targets)
    onehot = torch.nn.functional.one_hot(targets, CLASSES).double()
    loss = (1 - alpha) * torch.nn.functional.cross_entropy(logits, targets)
    loss = (loss + alpha * torch.nn.functional.mse_loss(logits, onehot)) / 7
    (expected,) = torch.autograd.grad(loss, logits)
    # The read-out's bias sees the error itself.
    torch.testing.assert_close(optimizer.seen[0]["readout.bias"], expected.sum(0), rtol=0, atol=1e-14)


# --- OTTT_O and OTTT_A ------------------------------------------------------------------------------------------------


def test_ottt_o_updates_at_every_learned_step() -> None:
    learner, optimizer = learner_of(lr=0.1, momentum=0.0)
    for i in range(6):
        learner.step(timestep(i))
        before = weights(learner)
        if i == 2:
            continue  # no label
        learner.feedback(i, 1)
        assert learner.learned_from == i
        for name, value in weights(learner).items():
            torch.testing.assert_close(value, before[name] - 0.1 * optimizer.seen[-1][name], rtol=0, atol=1e-15)
            assert optimizer.seen[-1][name].any(), name
    assert learner.counts.updates == learner.counts.learned == len(optimizer.seen) == 5


def test_ottt_a_adds_t_learned_steps_up() -> None:
    total, sums = learner_of(rule="ottt_a", lr=0.1, momentum=0.0)
    each, parts = learner_of(lr=0.0, momentum=0.0)
    start = weights(total)
    for i in range(5):
        for learner in (total, each):
            learner.step(timestep(i))
            if i != 1:  # without a label a step does not count towards T
                learner.feedback(i, i % CLASSES)
        assert total.counts.updates == (i == 4)
        assert same(start, weights(total)) == (i < 4)
    assert len(sums.seen) == 1 and len(parts.seen) == 4 and total.counts.learned == 4
    for name, value in weights(total).items():
        expected = sum(part[name] for part in parts.seen)
        torch.testing.assert_close(sums.seen[0][name], expected, rtol=0, atol=1e-14)
        torch.testing.assert_close(value, start[name] - 0.1 * sums.seen[0][name], rtol=0, atol=1e-15)


def test_ottt_a_flushes_at_the_samples_end() -> None:
    learner, sums = learner_of(rule="ottt_a", lr=0.0)
    each, parts = learner_of(lr=0.0)
    for i in range(3):
        for one in (learner, each):
            one.step(timestep(i))
            one.feedback(i, 2)
    assert sums.seen == []
    learner.step(timestep(3, new_sample=True))
    assert len(sums.seen) == learner.counts.updates == 1
    for name, value in sums.seen[0].items():
        torch.testing.assert_close(value, sum(part[name] for part in parts.seen), rtol=0, atol=1e-14)
    learner.reset()
    assert len(sums.seen) == 1, "nothing was added up since"


# --- a sample put aside -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "config"),
    [
        ({"dropout": 0.3, "input_trace": True}, {"history": 2}),
        ({"topology": "layers-f"}, {"error_delay": 2, "history": 1}),
        ({}, {"error_delay": 3, "delay_mode": "snapshot"}),
        ({}, {"rule": "ottt_a", "time_steps": 5}),
    ],
)
def test_a_sample_put_aside_does_not_notice(network: dict[str, Any], config: dict[str, Any]) -> None:
    """With a learning rate of 0 the weights stay, and all else must be as if nothing had come between."""
    plain, expected = learner_of(network, lr=0.0, **config)
    broken, seen = learner_of(network, lr=0.0, **config)
    live: list[dict[str, Tensor]] = []
    for learner in (plain, broken):
        feedback = learner.network.parameters.get("conv1.feedback.weight")
        if feedback is not None:
            feedback.fill_(0.1)
    for i in range(9):
        a, b = plain.step(timestep(i)), broken.step(timestep(i))
        assert np.array_equal(a.logits, b.logits)
        for learner in (plain, broken):
            if i != 4:
                learner.feedback(i, i % CLASSES)
            if i == 5 and config.get("history"):
                assert learner.feedback(4, 0)
        live += seen.seen[len(live) :]
        if i % 3 == 1:
            mark = len(seen.seen)
            with set_aside(broken):
                for j in range(4):
                    broken.step(timestep(100 * i + j) if i == 1 else timestep(j))
                    broken.feedback(100 * i + j if i == 1 else j, 0)
            assert len(seen.seen) > mark
            del seen.seen[mark:]
    plain.reset()
    broken.reset()
    assert len(seen.seen) == len(expected.seen) > 0
    for x, y in zip(seen.seen, expected.seen, strict=True):
        assert same(x, y)


def test_a_sample_put_aside_comes_back_after_an_error() -> None:
    plain, broken = learner_of(lr=0.0)[0], learner_of(lr=0.0)[0]
    for i in range(4):
        assert np.array_equal(plain.step(timestep(i)).logits, broken.step(timestep(i)).logits)
        if i == 1:
            with pytest.raises(RuntimeError, match="stop"), set_aside(broken):
                broken.step(timestep(50))
                broken.feedback(50, 1)
                raise RuntimeError("stop")
        assert broken.feedback(i, 1)


def test_what_is_learned_aside_is_kept() -> None:
    learner, _ = learner_of(lr=0.1)
    learner.step(timestep(0))
    before = weights(learner)
    with set_aside(learner):
        learner.step(timestep(0))
        learner.feedback(0, 1)
    assert not same(before, weights(learner)) and learner.counts.updates == 1


# --- memory -----------------------------------------------------------------------------------------------------------


def live_tensors() -> tuple[int, int]:
    """How many tensors there are, and the bytes of their distinct storages."""
    gc.collect()
    tensors = [x for x in gc.get_objects() if type(x) is Tensor]
    storages = {s.data_ptr(): s.nbytes() for s in (x.untyped_storage() for x in tensors)}
    return len(tensors), sum(storages.values())


@pytest.mark.parametrize("labels", ["all", "none", "some, late"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"error_delay": 3, "history": 5},
        {"error_delay": 3, "history": 5, "delay_mode": "snapshot"},
        {"rule": "ottt_a", "time_steps": 10, "history": 2},
    ],
)
def test_memory_does_not_grow_with_the_steps(config: dict[str, Any], labels: str) -> None:
    learner, _ = learner_of({"layers": (3,), "input_trace": True}, **config)
    learner.optimizer = SGD(learner.config)

    def run(steps: range) -> None:
        for i in steps:
            learner.step(timestep(i))
            if labels == "all":
                learner.feedback(i, i % CLASSES)
            elif labels != "none" and i % 10 in (3, 4, 7):
                learner.feedback(i - 2, i % CLASSES)

    run(range(50))
    before = live_tensors()
    run(range(50, 150))
    assert live_tensors() == before


def test_memory_is_given_back_when_learning_pauses() -> None:
    learner, _ = learner_of(history=5)
    for i in range(10):
        learner.step(timestep(i))
    for i in range(10, 30):
        learner.step(timestep(i), learn=False)
    few = live_tensors()[0]
    assert learner.feedback(9, 0) is False and learner.counts.too_late == 1, "beyond the history"
    for i in range(30, 32):
        learner.step(timestep(i), learn=False)
    assert live_tensors()[0] == few


@pytest.mark.timeout(600)  # g++ compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, where it imports its compiler
@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # torch's own, on Python 3.13.0
def test_compiled_forward_pass_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    said = []
    for compiled in (False, True):
        network = build_network(NetworkConfig(layers=(4, "AP2")), input_shape=(2, 6, 6), classes=3)
        learner = build_learner(
            network, config=LearnerConfig(lr=0.01), engine=EngineConfig(engine="plain", compiled=compiled)
        )
        generator = torch.Generator().manual_seed(0)
        logits = []
        for t in range(6):
            if t == 4:
                learner.reset()
            logits.append(learner.forward(torch.rand(2, 2, 6, 6, generator=generator) * 3, t))
            learner.learn(t, torch.tensor([0, 2]))
        said.append(torch.cat([*logits, learner.network.parameters["conv1.weight"].flatten()[:, None].expand(-1, 3)]))
    torch.testing.assert_close(said[1], said[0], rtol=0, atol=1e-5)
    assert not torch.equal(said[0][:2], said[0][2:4])


def test_compiled_is_the_plain_engines() -> None:
    network = build_network(NetworkConfig(layers=(4,)), input_shape=(2, 6, 6), classes=3)
    with pytest.raises(UsageError, match="only the plain engine"):
        build_learner(network, engine=EngineConfig(precision="bf16", compiled=True))
