"""What the page shows of a network's inside is what the network computes; watching changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from stream_ottt.engine.config import EngineConfig
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network
from stream_ottt.web import probe as probing
from stream_ottt.web.message import decode_parts
from stream_ottt.web.probe import ROWS, Probe, probe_part

SHAPE = (2, 8, 8)


@pytest.fixture(autouse=True)
def never_forgotten(monkeypatch):
    """A first timestep may wait for its loops to be compiled, longer than a probe lives that nobody reads."""
    monkeypatch.setattr(probing, "FORGOTTEN_S", 3600.0)


def learner_on(engine):
    network = build_network(NetworkConfig(layers=(4, "AP2", 6)), input_shape=SHAPE, classes=3, seed=5)
    return build_learner(network, config=LearnerConfig(lr=0.05), engine=EngineConfig(engine=engine))


def frames(n):
    rng = np.random.default_rng(3)
    return [rng.poisson(3.0, SHAPE).astype(np.float32) for _ in range(n)]


def watch(learner, probe, n=12, new_sample_at=7):
    """Run ``n`` timesteps, each learned after it was watched; the predictions."""
    logits = []
    for i, frame in enumerate(frames(n)):
        timestep = Timestep(frame, i * 1000, (i + 1) * 1000, i, int(frame.sum()), new_sample=i == new_sample_at)
        prediction = learner.step(timestep)
        if probe is not None:
            assert probe(learner, StepResult(timestep, prediction))
        learner.feedback(i, i % 3)
        logits.append(prediction.logits)
    return np.array(logits)


def seen(learner, layer):
    """(spikes [timesteps, neurons], u, trace) of all neurons of a layer, one probe each."""
    u, trace = [], []
    probes = [Probe(layer, i) for i in range(256)]
    spikes = None
    for i, frame in enumerate(frames(12)):
        timestep = Timestep(frame, i * 1000, (i + 1) * 1000, i, 1, new_sample=i == 7)
        prediction = learner.step(timestep)
        for probe in probes:
            probe(learner, StepResult(timestep, prediction))
        learner.feedback(i, i % 3)
    found = [probe.take() for probe in probes]
    size = found[0].neurons
    for one in found[:size]:
        u.append([m.u for m in one.moments])
        trace.append([m.trace for m in one.moments])
    columns = [[m.spikes[list(one.rows).index(one.neuron)] > 0 for m in one.moments] for one in found[:size]]
    spikes = np.array(columns).T
    return spikes, np.array(u).T, np.array(trace).T


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_both_engines_show_the_same_neurons(layer, one_thread):
    plain, compiled = (seen(learner_on(engine), layer) for engine in ("plain", "fast"))
    channels, side = (4, 8) if layer == "conv1" else (6, 4)
    assert plain[0].shape == (12, channels * side * side)
    for a, b in zip(plain, compiled, strict=True):
        # One has its channels first, the other last.
        b = b.reshape(12, side, side, channels).transpose(0, 3, 1, 2).reshape(12, -1)
        np.testing.assert_allclose(a, b, atol=1e-4)
    spikes, u, trace = plain
    assert 0.02 < spikes.mean() < 0.9
    np.testing.assert_array_equal(spikes, u >= 1)
    expected = np.zeros(spikes.shape[1])
    for i in range(12):
        expected = spikes[i] + (0 if i == 7 else 0.5 * expected)
        np.testing.assert_allclose(trace[i], expected)


@pytest.mark.parametrize("engine", ["plain", "fast"])
def test_watching_changes_no_bit(engine, one_thread):
    np.testing.assert_array_equal(watch(learner_on(engine), None), watch(learner_on(engine), Probe("conv2", 3)))


def test_rates_are_of_all_layers_and_a_layer_that_there_is_not_is_the_first(one_thread):
    probe = Probe("nothing", 10**6)
    learner = learner_on("fast")
    watch(learner, probe, n=1, new_sample_at=0)
    found = probe.take()
    assert (found.layer, found.neurons, found.neuron) == ("conv1", 256, 255)
    assert len(found.rows) in (ROWS, ROWS + 1) and found.rows[-1] == 255
    spikes = [layer.neurons[0].spikes() for layer in learner.network.state.layers if layer.neurons]
    assert found.rates == [
        (name, s.size, np.count_nonzero(s) / s.size) for name, s in zip(("conv1", "conv2"), spikes, strict=True)
    ]


def test_without_a_wish_a_neuron_that_fires_is_shown(one_thread):
    probe = Probe("conv1", None)
    watch(learner_on("fast"), probe, n=1)
    found = probe.take()
    assert found.moments[0].spikes[list(found.rows).index(found.neuron)] > 0


def test_moments_are_given_once_and_their_number_is_bounded(monkeypatch, one_thread):
    monkeypatch.setattr(probing, "TIMESTEPS", 5)
    probe = Probe(None, 0)
    watch(learner_on("fast"), probe)
    assert [m.step for m in probe.take().moments] == [7, 8, 9, 10, 11]
    assert probe.take() is None


def test_a_probe_that_nobody_reads_ends(monkeypatch, one_thread):
    probe = Probe(None, 0)
    learner = learner_on("fast")
    watch(learner, probe, n=1)
    monkeypatch.setattr(probing, "FORGOTTEN_S", -1.0)
    assert not probe(learner, None)


def test_what_goes_wrong_ends_the_probe_and_is_told_to_its_reader_alone():
    probe = Probe(None, 0)
    assert not probe(None, None)
    with pytest.raises(AttributeError):
        probe.take()


def test_a_part_holds_all_of_it(one_thread):
    probe = Probe("conv2", 7)
    watch(learner_on("fast"), probe)
    found = probe.take()
    (part,) = decode_parts(probe_part(found))
    arrays = part["arrays"]
    assert (part["layer"], part["neuron"], part["neurons"], part["threshold"]) == ("conv2", 7, 96, 1.0)
    assert arrays["steps"].tolist() == list(range(12))
    assert arrays["spikes"].shape == (12, len(found.rows)) and 7 in arrays["rows"]
    np.testing.assert_allclose(arrays["u"], [m.u for m in found.moments], rtol=1e-6)
    np.testing.assert_allclose(arrays["trace"], [m.trace for m in found.moments], rtol=1e-6)


def test_a_network_at_rest_shows_nothing():
    learner = learner_on("fast")
    learner.network.reset()
    assert probing.layers_of(learner.network) == []
