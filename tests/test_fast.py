"""The fast engine against recorded truth and against the plain one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import set_aside
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from stream_ottt.engine import connection, overlap, spike_kernels
from stream_ottt.engine import precision as precisions
from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.network import CompiledNetwork
from stream_ottt.errors import UsageError
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.optimizer import SGD, build_optimizer
from stream_ottt.network.topologies import build_network
from stream_ottt.run.model_file import load_checkpoint, save_checkpoint

RELEASED, DELAY = "ottt_released_code.npz", "ottt_delay.npz"
GOLDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "vgg_ottt_a": (RELEASED, {"rule": "ottt_a"}),
    "vgg_ottt_o": (RELEASED, {}),
    "vgg_ottt_o_delay1": (DELAY, {"error_delay": 1}),
    "vgg_ottt_o_delay3": (DELAY, {"error_delay": 3}),
    "vgg_ottt_o_delay2_snapshot": (DELAY, {"error_delay": 2, "delay_mode": "snapshot"}),
    "vgg_ottt_o_input_trace": (DELAY, {}),
}
LAYERS = {
    "features.0": "conv1",
    "features.3.op": "conv2",
    "features.7.op": "conv3",
    "conv1": "conv1",
    "features.2.op": "conv2",
    "features.6.op": "conv3",
    "classifier.0.op": "readout",
}
FAST = EngineConfig(engine="fast")


def our_name(recorded: str) -> str:
    layer, _, parameter = recorded.rpartition(".")
    return f"{LAYERS[layer]}.{parameter}"


def centred(name: str, value: Tensor) -> Tensor:
    """A convolution's weights without the means of their rows, which act on nothing under standardization."""
    if not name.startswith(("conv", "block", "stem")) or not name.endswith("weight") or "feedback" in name:
        return value
    return value - value.mean((1, 2, 3), keepdim=True)


class OpenSGD(SGD):
    """SGD by another name: the fast engine then gives its gradients out instead of stepping by itself."""


def golden_case(name: str, folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / GOLDEN[name][0]) as z:
        return {k.removeprefix(f"{name}/"): z[k] for k in z.files if k.startswith(f"{name}/")}


def golden_learner(
    name: str, case: dict[str, np.ndarray], engine: EngineConfig, optimizer: type[SGD] = SGD
) -> OnlineLearner:
    config = LearnerConfig(lr=0.1, momentum=0.9, time_steps=len(case["x"]), alpha=0.05, **GOLDEN[name][1])
    network = build_network(
        NetworkConfig(layers=(6, 8, "AP2", 8), input_trace=name.endswith("input_trace")),
        input_shape=(2, 8, 8),
        classes=4,
        dtype=torch.float64,
    )
    for key, value in case.items():
        if key.startswith("init/"):
            network.parameters[our_name(key.removeprefix("init/"))].copy_(torch.from_numpy(value))
    network.weights_changed()
    return build_learner(network, optimizer(config), config, engine=engine)


def check_golden(name: str, case: dict[str, np.ndarray], learner: OnlineLearner) -> None:
    target = torch.from_numpy(case["y"])
    logits = []
    for t in range(len(case["x"])):
        frame = torch.from_numpy(case["x"][t])
        logits.append(learner.forward(frame[None], t)[0].clone())
        before = {k: v.clone() for k, v in learner.optimizer.state().items()}
        assert learner.learn(t, target)
        parameters = learner.network.parameters  # of an update under way, its end
        if learner.config.rule == "ottt_o" and t >= learner.config.error_delay:
            for key, value in learner.optimizer.state().items():
                ours = key.removeprefix("momentum/")
                gradient = value - 0.9 * before.get(key, torch.zeros_like(value))
                recorded = next(v for k, v in case.items() if k.startswith("grad/") and our_name(k[5:]) == ours)
                np.testing.assert_allclose(gradient.numpy(), recorded[t], rtol=0, atol=1e-10, err_msg=ours)
            assert len(learner.optimizer.state()) == len(parameters)
    np.testing.assert_allclose(torch.stack(logits).numpy(), case["logits"], rtol=0, atol=1e-10)
    after = {our_name(k.removeprefix("after/")): v for k, v in case.items() if k.startswith("after/")}
    assert set(after) == set(learner.network.parameters)
    for key, value in learner.network.parameters.items():
        expected = centred(key, torch.from_numpy(after[key]))
        np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=0, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("optimizer", [SGD, OpenSGD])
@pytest.mark.parametrize("name", GOLDEN)
def test_agrees_with_recorded_truth(name: str, optimizer: type[SGD], golden_dir: Path) -> None:
    case = golden_case(name, golden_dir)
    check_golden(name, case, golden_learner(name, case, FAST, optimizer))


# --- against the plain engine ----------------------------------------------------------------------------------------


def pair(
    network: dict[str, Any],
    learner: dict[str, Any],
    *,
    shape: tuple[int, int, int] = (2, 7, 6),
    dtype: torch.dtype = torch.float64,
    engine: EngineConfig = FAST,
    seed: int = 0,
) -> tuple[OnlineLearner, OnlineLearner]:
    history = learner.get("history", 0)
    config = LearnerConfig(**{k: v for k, v in learner.items() if k != "history"})

    def build(engine: EngineConfig) -> OnlineLearner:
        net = build_network(NetworkConfig(**network), input_shape=shape, classes=3, seed=seed, dtype=dtype)
        return build_learner(net, build_optimizer(config), config, history=history, engine=engine, threads=None)

    return build(EngineConfig(engine="plain")), build(engine)


def assert_same_weights(plain: OnlineLearner, fast: OnlineLearner, tolerance: float) -> None:
    parameters = plain.network.parameters
    for name, value in parameters.items():
        standardized = name.removesuffix("weight") + "gain" in parameters
        expected = centred(name, value) if standardized and fast.network.centred else value
        torch.testing.assert_close(fast.network.parameters[name], expected, rtol=0, atol=tolerance)


NETWORKS = st.fixed_dictionaries(
    {
        "layers": st.sampled_from([(4, 5), (3, "AP2", 4), ("AP2", 4, 4), (4, "3C1", "AP3"), ("3C5", "AP2", "AP2", 4)]),
        "weight_standardization": st.booleans(),
        "readout": st.sampled_from(["gap", "flatten"]),
        "surrogate": st.sampled_from(["sigmoid", "rectangular"]),
        "input_trace": st.booleans(),
        "input_scale": st.sampled_from([1.0, 0.5]),
        "decay": st.sampled_from([0.0, 0.5, 0.9]),
        "topology": st.sampled_from(["layers", "layers-f"]),
        "dropout": st.sampled_from([0.0, 0.3]),
    }
)
LEARNERS = st.fixed_dictionaries(
    {
        "rule": st.sampled_from(["ottt_o", "ottt_o", "ottt_a"]),
        "optimizer": st.sampled_from(["sgd", "sgd", "adam"]),
        "error_delay": st.sampled_from([0, 0, 1, 2, 3]),
        "delay_mode": st.sampled_from(["paper", "snapshot"]),
        "history": st.sampled_from([0, 2, 4]),
        "momentum": st.sampled_from([0.9, 0.0]),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "time_steps": st.just(4),
        "lr": st.just(0.05),
    }
)
# What happens after a timestep: (how many steps back its label is, or None), a reset before, learn=False, a detour.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 5, None]),
        st.integers(0, 9).map(lambda n: n == 0),
        st.integers(0, 9).map(lambda n: n == 0),
        st.integers(0, 9).map(lambda n: n == 0),
    ),
    min_size=20,
    max_size=24,
)


def drive(learner: OnlineLearner, steps: list[tuple[int | None, bool, bool, bool]], seed: int) -> list[Tensor]:
    """A stream with late and missing labels, resets, watched-only steps and remembered stretches between."""
    generator = torch.Generator().manual_seed(seed)
    plane = learner.network.input_shape

    def frame() -> Tensor:
        return torch.poisson(torch.full((1, *plane), 0.7), generator=generator).to(learner._dtype)

    logits = []
    for t, (back, fresh, watch, detour) in enumerate(steps):
        if fresh:
            learner.reset()
        logits.append(learner.forward(frame(), t, learn=not watch))
        if back is not None and t >= back:
            learner.learn(t - back, torch.tensor([t % 3]))
        if detour:
            with set_aside(learner):
                for i in range(3):
                    logits.append(learner.forward(frame(), i))
                    learner.learn(i, torch.tensor([i % 3]))
    learner.reset()
    return logits


@example(  # OTTT_A updates, and two more labels of the same timestep come at once
    network={"layers": (4, 4)},
    rule={"rule": "ottt_a", "delay_mode": "snapshot", "history": 4, "time_steps": 2, "weight_decay": 0.01, "lr": 0.5},
    steps=[(None, False, False, False), *[(0, False, False, False), (2, False, False, False)] * 8],
    seed=14,
    scatter=False,
)
@settings(max_examples=15, deadline=None)
@given(network=NETWORKS, rule=LEARNERS, steps=STEPS, seed=st.integers(0, 99), scatter=st.booleans())
def test_agrees_with_the_plain_engine(
    network: dict[str, Any], rule: dict[str, Any], steps: list[Any], seed: int, scatter: bool
) -> None:
    plain, fast = pair(network, rule, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        if scatter:  # spike by spike, however many there are
            patch.setattr(connection, "SCATTERING", 0)
            patch.setattr(connection, "TRANSPOSING", 0)
        ours, theirs = drive(fast, steps, seed), drive(plain, steps, seed)
    torch.testing.assert_close(torch.cat(ours), torch.cat(theirs), rtol=0, atol=1e-10)
    assert fast.counts == plain.counts
    assert_same_weights(plain, fast, 1e-10)


def test_few_spikes_are_scattered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sparse way is taken where it pays, and only there; the benchmark says that it does."""
    taken: list[int] = []
    scatter = spike_kernels.scatter
    monkeypatch.setattr(spike_kernels, "scatter", lambda *args: taken.append(args[3]) or scatter(*args))
    _, fast = pair({"layers": (4,)}, {}, shape=(2, 40, 40))
    for count in (1, 100, 3200):
        frame = torch.zeros(3200, dtype=torch.float64)
        frame[:count] = 1
        fast.forward(frame.view(1, 2, 40, 40), count)
    assert taken == [1, 100]


@pytest.mark.parametrize("overlapping", [False, True])
def test_sparse_frames_after_dense_ones_meet_the_weights_of_today(overlapping: bool) -> None:
    """Updates beside dense frames leave the transposed weights behind; the next sparse frame must not use them."""
    rule = {"lr": 0.1, "error_delay": int(overlapping)}
    engine = EngineConfig(engine="fast", overlap=overlapping)
    plain, fast = pair({"layers": (16, 16)}, rule, shape=(2, 32, 32), engine=engine)
    rng = np.random.default_rng(0)
    for t in range(40):
        dense = t // 5 % 2
        frame = torch.from_numpy((rng.random((1, 2, 32, 32)) < (0.5 if dense else 0.01)) * 20.0)
        logits = []
        for learner in (plain, fast):
            if t % 5 == 0:
                learner.reset()
            logits.append(learner.forward(frame, t))
            learner.learn(t, torch.tensor([t % 3]))
        torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-10)


def test_ten_updates_at_the_papers_widths() -> None:
    # A spike that flips by rounding would end the agreement; with these frames none does.
    plain, fast = pair({"topology": "vgg"}, {"lr": 0.1, "time_steps": 6}, shape=(2, 16, 16), dtype=torch.float32)
    for learner in (plain, fast):
        for name, value in learner.network.parameters.items():
            if name.endswith("gain"):
                value.fill_(1.3)  # so that spikes come through to the top
        learner.network.weights_changed()
    generator = torch.Generator().manual_seed(0)
    for t in range(10):
        frame = torch.poisson(torch.full((1, 2, 16, 16), 0.5), generator=generator)
        ours, theirs = fast.forward(frame, t), plain.forward(frame, t)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
        for learner in (plain, fast):
            learner.learn(t, torch.tensor([t % 3]))
    assert plain.counts.updates == fast.counts.updates == 10
    state = fast.optimizer.state()
    for name, value in plain.optimizer.state().items():
        assert float(value.norm()) > 0, name
        assert float((state[name] - value).norm()) <= 1e-4 * float(value.norm()), name
    for name, value in plain.network.parameters.items():
        expected = centred(name, value)
        assert float((fast.network.parameters[name] - expected).norm()) <= 1e-5 * float(expected.norm()), name


def test_a_batch_is_refused() -> None:
    _, fast = pair({"layers": (4,)}, {})
    with pytest.raises(ValueError, match="one stream"):
        fast.forward(torch.zeros(2, 2, 7, 6, dtype=torch.float64), 0)


# --- loading, saving, choosing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
def test_weights_and_momentum_are_taken_up_after_loading(tmp_path: Path, overlap: bool) -> None:
    """Plain learns, saves; fast loads and goes on as plain does; what it saves, plain goes on with."""
    rule = {"error_delay": 1, "weight_decay": 0.01, "lr": 0.1}
    steps = [(0, False, False, False)] * 8
    engine = EngineConfig(engine="fast", overlap=overlap)
    plain, fast = pair({"layers": (4, "AP2", 5)}, rule, engine=engine)
    drive(plain, steps, 1)
    drive(fast, steps, 2)
    for source, goal in ((plain, fast), (fast, plain)):
        save_checkpoint(tmp_path / "m", source, settings={}, class_names={})
        load_checkpoint(tmp_path / "m").restore(goal)
        ours, theirs = drive(fast, steps, 3), drive(plain, steps, 3)
        torch.testing.assert_close(torch.cat(ours), torch.cat(theirs), rtol=0, atol=1e-10)
        assert_same_weights(plain, fast, 1e-10)


@pytest.mark.parametrize(
    ("network", "rule", "engine", "message"),
    [
        ({}, {}, {"engine": "plain", "precision": "bf16"}, "plain"),
        ({}, {}, {"overlap": True}, "error_delay"),
        ({}, {"rule": "ottt_a", "error_delay": 1}, {"overlap": True}, "ottt_o"),
    ],
)
def test_what_the_fast_engine_lacks_is_said(
    network: dict[str, Any], rule: dict[str, Any], engine: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        pair(network, rule, engine=EngineConfig(**engine))


@pytest.mark.parametrize(
    ("network", "rule"),
    [
        ({}, {}),
        ({"weight_standardization": False}, {"rule": "ottt_a"}),
        ({"topology": "layers-f"}, {}),
        ({"dropout": 0.1}, {}),
        ({}, {"optimizer": "adam"}),
        ({"topology": "nf-resnet-18"}, {}),
    ],
)
def test_auto_takes_the_fast_engine(network: dict[str, Any], rule: dict[str, Any]) -> None:
    plain, learner = pair(network, rule, engine=EngineConfig())
    assert isinstance(learner.network, CompiledNetwork) and not isinstance(plain.network, CompiledNetwork)


@given(n=st.integers(1, 40), first=st.integers(0, 5), fan_in=st.integers(1, 20))
def test_transposes_some_rows(n: int, first: int, fan_in: int) -> None:
    rows = np.random.default_rng(0).normal(size=(n, fan_in)).astype(np.float32)
    columns = np.zeros((fan_in, first + n + 3), np.float32)
    spike_kernels.transpose(rows, first, columns)
    np.testing.assert_array_equal(columns[:, first : first + n], rows.T)
    assert not columns[:, :first].any() and not columns[:, first + n :].any()


def test_numba_is_not_imported_for_help() -> None:
    code = "import sys, stream_ottt.engine.build, stream_ottt.cli; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- learning in a second thread -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, (_, rule) in GOLDEN.items() if "error_delay" in rule])
def test_overlap_agrees_with_recorded_truth(name: str, golden_dir: Path) -> None:
    case = golden_case(name, golden_dir)
    check_golden(name, case, golden_learner(name, case, EngineConfig(overlap=True)))


@settings(max_examples=10, deadline=None)
@given(
    steps=STEPS,
    seed=st.integers(0, 99),
    delay=st.sampled_from([1, 1, 2, 3]),
    mode=st.sampled_from(["paper", "snapshot"]),
    history=st.sampled_from([0, 4]),
    precision=st.sampled_from(["float32", "float32", "bf16-backward", "bf16"]),
)
def test_overlap_changes_not_one_bit(
    steps: list[Any], seed: int, delay: int, mode: str, history: int, precision: Any
) -> None:
    rule = {"error_delay": delay, "delay_mode": mode, "history": history, "lr": 0.1}
    network = {"layers": (8, 9, "AP2", 16)}  # 9: products that several threads would share out differently

    def run(two_threads: bool) -> OnlineLearner:
        engine = EngineConfig(engine="fast", overlap=two_threads, precision=precision)
        return pair(network, rule, shape=(2, 12, 12), dtype=torch.float32, engine=engine, seed=seed)[1]

    with pytest.MonkeyPatch.context() as patch:  # whatever this processor is good at
        patch.setattr(precisions, "bfloat16_is_faster", lambda: True)
        one, two = run(False), run(True)
    for ours, theirs in zip(drive(two, steps, seed), drive(one, steps, seed), strict=True):
        assert torch.equal(ours, theirs)
    assert one.counts == two.counts
    for name, value in one.network.parameters.items():
        assert torch.equal(two.network.parameters[name], value), name


def test_what_goes_wrong_in_the_second_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fast = pair({"layers": (4, 4)}, {"error_delay": 1}, engine=EngineConfig(overlap=True))

    def fail(*args: object) -> None:
        raise RuntimeError("kernel broke")

    monkeypatch.setattr(connection.CompiledConnection, "backward", fail)
    fast.forward(torch.ones(1, 2, 7, 6, dtype=torch.float64), 0)
    fast.learn(0, torch.tensor([0]))
    with pytest.raises(RuntimeError, match="kernel broke"):
        _ = fast.network.parameters


def test_what_goes_wrong_in_the_predicting_thread_is_raised_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a job back from the worker and fails at it: nobody may wait for that job's end."""
    _, fast = pair({"layers": (4, 4)}, {"error_delay": 1}, engine=EngineConfig(overlap=True))
    steps, predicting, free = overlap.Update.steps, threading.get_ident(), threading.Event()

    def broken(self: overlap.Update, products: list[Any]) -> Any:
        if threading.get_ident() == predicting:
            raise MemoryError("injected")
        free.wait(60)  # keeps the worker busy, so that the rest is taken back
        return steps(self, products)

    monkeypatch.setattr(overlap.Update, "steps", broken)
    frame = torch.ones(1, 2, 7, 6, dtype=torch.float64)
    with pytest.raises(MemoryError, match="injected"):
        for t in range(9):
            fast.forward(frame, t)
            fast.learn(t, torch.tensor([0]))
    free.set()
    said: list[BaseException] = []

    def look() -> None:
        try:
            _ = fast.network.parameters
        except BaseException as e:
            said.append(e)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(30)
    assert not looking.is_alive() and isinstance(said[0], MemoryError)


def test_the_second_thread_ends_with_the_learner() -> None:
    before = set(threading.enumerate())
    _, fast = pair({"layers": (4, 4)}, {"error_delay": 1}, engine=EngineConfig(overlap=True))
    drive(fast, [(0, False, False, False)] * 4, 0)
    (thread,) = set(threading.enumerate()) - before
    fast.network.settle()
    del fast
    thread.join(10)
    assert not thread.is_alive()


def test_a_program_may_end_while_it_learns() -> None:
    """The interpreter's end waits for the step that the second thread is at."""
    code = (
        "import torch\n"
        "from stream_ottt.engine.build import EngineConfig\n"
        "from stream_ottt.learning.build import build_learner\n"
        "from stream_ottt.learning.learner import LearnerConfig\n"
        "from stream_ottt.network.topologies import NetworkConfig, build_network\n"
        "network = build_network(NetworkConfig(layers=(64, 128, 128)), input_shape=(2, 48, 48), classes=3)\n"
        "learner = build_learner(network, config=LearnerConfig(error_delay=1), engine=EngineConfig(overlap=True))\n"
        "for t in range(4):\n"
        "    learner.forward(torch.ones(1, 2, 48, 48), t)\n"
        "    learner.learn(t, torch.tensor([0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
