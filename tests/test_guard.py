"""Numbers that are not finite or explode are noticed, undone, counted and said; a dead network is said."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SIZE, intervals, labelled_events, timesteps
from resumed import request, run

from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.firing import LOOK_EVERY, LOOKS
from stream_ottt.learning.guard import KEEP_EVERY, MOST_ROLLBACKS, Guard
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = timesteps(labelled_events(0, 30), LabelTimeline(intervals(30)))
ENGINES = ["plain", "fast", "overlap"]


def session_of(engine: str, *, rehearsal: str = "off", threshold: float = 1.0, **rule: object) -> Session:
    from stream_ottt.engine.config import EngineConfig

    network = build_network(
        NetworkConfig(layers=(4,), readout="flatten", threshold=threshold), input_shape=(2, SIZE, SIZE), classes=2
    )
    config = LearnerConfig(time_steps=5, **({"error_delay": 1} if engine == "overlap" else {}), **rule)
    how = EngineConfig(overlap=True) if engine == "overlap" else EngineConfig.load({"engine": engine})
    learner = build_learner(network, config=config, classes=[1, 2], engine=how, threads=None)
    timeline = LabelTimeline(intervals(30))
    return Session(learner, timeline=timeline, rehearsal=RehearsalConfig(mode=rehearsal, stretch=4, ratio=2))


def finite(session: Session) -> bool:
    return all(bool(value.isfinite().all()) for value in session.learner.network.parameters.values())


def through(session: Session, steps: slice = slice(None)) -> list[np.ndarray]:
    logits = []
    for timestep in STEPS[steps]:
        logits.append(session.process(timestep).prediction.logits)
        while session.learn_due():
            pass
    return logits


@pytest.mark.parametrize("rule", [{"lr": 1e6}, {"lr": 1e30}, {"lr": 0.1, "weight_decay": 1e6}], ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_rate_far_too_large_pauses_the_learning_with_good_weights(engine: str, rule: dict[str, float]) -> None:
    session = session_of(engine, rehearsal="ratio", **rule)
    logits = through(session)
    assert np.isfinite(logits).all() and finite(session)
    seen = session.snapshot()
    assert seen.rollbacks == MOST_ROLLBACKS and seen.learning == "paused"
    assert any("use a smaller learner.lr" in line for line in seen.warnings)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_bad_weight_is_undone_and_learning_goes_on(engine: str) -> None:
    session = session_of(engine, lr=0.05)
    through(session, slice(0, 50))
    network = session.learner.network
    for name, value in network.parameters.items():
        if "bias" in name and value.numel() == 2:
            value[0] = math.nan
    network.weights_changed(centred=network.centred)
    logits = through(session, slice(50, 300))
    assert np.isfinite(logits).all() and finite(session)
    assert session.snapshot().rollbacks == 1 and session.learning == "on"
    assert session.learner.optimizer.lr == pytest.approx(0.005)
    assert session.snapshot().updates["live"] > 200


@pytest.mark.parametrize("engine", ENGINES)
def test_an_average_that_took_a_bad_weight_up_predicts_with_good_ones_again(engine: str) -> None:
    session = session_of(engine, lr=0.05, average=50)
    through(session, slice(0, 50))
    average = session.learner.average
    assert average is not None
    average.network.parameters["readout.bias"][0] = math.nan
    average.network.weights_changed(centred=average.network.centred)
    assert np.isfinite(through(session, slice(50, 100))).all()
    assert session.snapshot().rollbacks == 1


def test_errors_that_are_on_their_way_when_the_weights_go_back_are_discarded_and_counted() -> None:
    session = session_of("plain", lr=0.05, error_delay=3)
    through(session, slice(0, 47))
    network, counts = session.learner.network, session.learner.counts
    learned = counts.learned
    network.parameters["readout.bias"][0] = math.nan
    network.weights_changed()
    through(session, slice(47, 50))
    assert session.snapshot().rollbacks == 1
    session.finish()
    assert counts.learned == learned and counts.learned + counts.discarded == 50


@pytest.mark.parametrize("mode", ["ratio", "alongside"])
def test_what_is_under_way_when_the_weights_go_back_goes_on_from_rest(mode: str) -> None:
    """Its potentials are those of weights that are no longer there."""
    session = session_of("plain", rehearsal=mode, lr=0.05)
    through(session, slice(0, 20))
    timesteps = iter(STEPS[20:])
    while not session.due:
        session.process(next(timesteps))
    for _ in range(2):
        session.learn_due()
    due = session._due
    runs = [run for run in (due._run, *due.alongside._runs) if run is not None]
    assert runs and all(run.state.network.saved for run in runs)
    network = session.learner.network
    network.parameters["readout.bias"][0] = math.nan
    network.weights_changed()
    session.process(next(timesteps))
    assert session.snapshot().rollbacks == 1
    assert not any(run.state.network.saved for run in runs)


@pytest.mark.parametrize("rule", [{"momentum": 0.9}, {"optimizer": "adam"}], ids=str)
def test_after_a_class_was_added_the_good_weights_have_it_too(
    rule: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_ottt.learning.guard.KEEP_EVERY", 20)
    session = session_of("fast", lr=0.01, **rule)
    through(session, slice(0, 50))
    session.classes.add("mug")
    learner = session.learner
    learner.network.parameters["readout.bias"][0] = math.nan
    learner.network.weights_changed(centred=learner.network.centred)
    logits = through(session, slice(50, 60))
    assert session.snapshot().rollbacks == 1 and np.isfinite(logits).all() and logits[0].shape == (3,)
    shapes = {name: value.shape for name, value in learner.network.parameters.items()}
    assert all(value.shape == shapes[key.partition("/")[2]] for key, value in learner.optimizer.state().items())


def test_good_weights_are_kept_also_where_the_count_of_updates_jumps_over_their_turn() -> None:
    learner = session_of("plain", lr=0.01).learner
    guard, bias = Guard(learner, SessionCounters()), learner.network.parameters["readout.bias"]
    guard.before_learning()
    assert guard.after_updates(KEEP_EVERY - 1)
    bias[:] = 0.5
    assert guard.after_updates(KEEP_EVERY + 1)
    bias[:] = 0.7
    guard.go_back("it was asked to")
    assert (bias == 0.5).all()


def test_a_good_run_is_left_alone() -> None:
    session = session_of("fast", lr=0.1)
    through(session)
    assert session.snapshot().rollbacks == 0 and session.snapshot().warnings == ()


@pytest.mark.parametrize(("threshold", "said"), [(1e6, "no neuron of layer"), (-1e6, "nearly all neurons of layer")])
def test_a_network_that_is_silent_or_fires_everywhere_is_said(
    threshold: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_ottt.learning.firing.LOOK_EVERY", 2)
    session = session_of("fast", lr=0.01)
    monkeypatch.setattr(session.learner.network, "firing", lambda: {"conv1": float(threshold < 0)})
    through(session, slice(0, 2 * LOOKS - 1))
    assert not session.snapshot().warnings
    through(session, slice(2 * LOOKS - 1, 2 * LOOKS))
    assert len(session.snapshot().warnings) == 1 and said in session.snapshot().warnings[0]


@pytest.mark.parametrize("how", ["some spikes now and then", "no events"])
def test_a_layer_that_has_reason_to_be_silent_is_not_said_to_be(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.learning.firing.LOOK_EVERY", 2)
    session = session_of("fast", lr=0.01)
    looks = itertools.count(1)
    shares = (0.5 if how != "no events" and n % (LOOKS - 1) == 0 else 0.0 for n in looks)
    monkeypatch.setattr(session.learner.network, "firing", lambda: {"conv1": next(shares)})
    for timestep in STEPS[: 6 * LOOKS]:
        session.process(timestep if how != "no events" else replace(timestep, events=0))
    assert not session.snapshot().warnings


@pytest.mark.parametrize("engine", ["plain", "fast"])
def test_the_share_that_fires_is_that_of_the_spikes(engine: str) -> None:
    session = session_of(engine, lr=0.01)
    assert session.learner.network.firing() == {}
    through(session, slice(0, 3))
    shares = session.learner.network.firing()
    states = [n for layer in session.learner.network.state.layers for n in layer.neurons]
    assert list(shares.values()) == [float((s.spikes() > 0).mean()) for s in states] and 0 < min(shares.values()) < 1


def test_what_it_remembers_survives() -> None:
    """A run that goes back after a restart goes back to the same weights, at the same timestep."""
    whole, cut = (session_of("fast", lr=1e3, rehearsal="ratio") for _ in range(2))
    expected = through(whole)
    found = through(cut, slice(0, 9))
    other = session_of("fast", lr=1e3, rehearsal="ratio")
    other.learner.load_state_dict(cut.learner.state_dict())
    state = cut.state_dict()
    plain = json.loads(json.dumps({k: v for k, v in state.items() if not hasattr(v, "shape")}))
    other.load_state_dict(plain | {k: v for k, v in state.items() if hasattr(v, "shape")})
    found += through(other, slice(9, None))
    assert whole.snapshot().rollbacks == other.snapshot().rollbacks > 0
    np.testing.assert_array_equal(found, expected)
    ours, theirs = whole.learner.network.parameters, other.learner.network.parameters
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_summary_counts_it_and_the_model_is_good(tmp_path: Path) -> None:
    asked = request(tmp_path / "run", {"learner": {"lr": 1e6}}, checkpoints=None)
    assert run(asked) == 0
    summary = json.loads((tmp_path / "run" / "s.json").read_text())
    assert summary["rollbacks"] == MOST_ROLLBACKS and summary["learning"] == "paused"
    assert (tmp_path / "run" / "m.safetensors").is_file() and LOOK_EVERY > 1


@pytest.mark.parametrize("engine", ["fast", "overlap"])
def test_weights_that_explode_unseen_in_the_output_are_noticed_within_a_few_updates(engine: str) -> None:
    """Standardized weights give the same output at any scale; only their norm tells."""
    session = session_of(engine, lr=0.05)
    through(session, slice(0, 50))
    network = session.learner.network
    parts = len([name for name in network.parameters if name.endswith("weight")])
    weight = next(value for value in network.parameters.values() if value.ndim == 4)
    weight *= 1e5
    network.weights_changed(centred=network.centred)
    through(session, slice(50, 50 + 2 * parts + 2))
    assert session.snapshot().rollbacks == 1
    assert float(weight.abs().max()) < 1e3


def test_the_other_threads_norm_is_that_of_the_weights_before_the_last_update() -> None:
    """It depends on no chance: the update before the last is done, whichever thread has to do it."""
    one, two = session_of("fast", lr=0.05, error_delay=1), session_of("overlap", lr=0.05)
    history: list[dict[int, float]] = []
    for timestep in STEPS[:60]:
        for session in (one, two):
            before = session.learner.counts.updates
            session.process(timestep)
            if session.learner.counts.updates == before:
                continue
            found = [session.learner.network.squared_norm(turn) for turn in range(2)]
            norms = {turn: f[2] for turn, f in enumerate(found) if f is not None}
            if session is one:
                history.append(norms)
            elif len(history) > 1:
                assert norms and norms == history[-2]
    assert len(history) > 20
