"""Watches one layer and one neuron of it, timestep by timestep, for a page that shows them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import StepResult
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.web.message import Arrays, encode_part
from stream_ottt.web.neurons import Layer, layers_of, states_of

ROWS = 64
"""Neurons of a layer that a raster shows, drawn at random."""

TIMESTEPS = 256
"""Timesteps that are kept until somebody takes them; the oldest go."""

RATES_S = 0.25
"""Shortest time between two counts of all layers' spikes."""

SMOOTHING = 0.3
"""Weight of the latest of these counts in their mean."""

FORGOTTEN_S = 1.5
"""A probe that nobody has read for so long ends."""


class Moment(NamedTuple):
    """One timestep: its index, what the raster's neurons gave (above 0: a spike), and the picked neuron's u and â."""

    step: int
    spikes: npt.NDArray[Any]
    u: float
    trace: float


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a probe looks at.

    Attributes:
        index: of the layer among the layers of neurons.
        layer: its name.
        neurons: how many it has.
        threshold: V_th of them.
        neuron: index of the picked one.
        rows: index of the neuron in each row of the raster.
        row: which of them is the picked one's.
        decay: λ of the trace.
        place: where the picked neuron stands in the layer's image; so no timestep costs a copy of it.
        places: the same of the rows.
    """

    index: int
    layer: str
    neurons: int
    threshold: float
    neuron: int
    rows: npt.NDArray[np.intp]
    row: int
    decay: float
    place: tuple[int, ...]
    places: tuple[npt.NDArray[np.intp], ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a probe has seen since it was last read.

    Attributes:
        layer: name of the layer.
        neurons: how many it has.
        threshold: V_th of them.
        neuron: index of the picked neuron.
        rows: index of the neuron in each row of the raster.
        rates: of each layer: its name, its number of neurons, the share of them that fire at a timestep.
        moments: the timesteps, oldest first.
    """

    layer: str
    neurons: int
    threshold: float
    neuron: int
    rows: npt.NDArray[np.intp]
    rates: list[tuple[str, int, float]]
    moments: list[Moment]


class Probe:
    """Called in the learner's thread after each timestep of the stream; read from another thread.

    Args:
        layer: name of the layer; None, or one that there is not, for the first.
        neuron: index of the neuron in it; one beyond the last means the last, None one that fires.
    """

    def __init__(self, layer: str | None, neuron: int | None) -> None:
        self._name = layer
        self._wanted = neuron
        self._chosen: _Chosen | None = None
        self._moments: deque[Moment] = deque(maxlen=TIMESTEPS)
        self._rates: list[tuple[str, int, float]] = []
        self._trace = 0.0
        self._count_at = 0.0
        self._read_at = time.monotonic()
        self._error: Exception | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody has read it for a while."""
        return time.monotonic() - self._read_at > FORGOTTEN_S

    def __call__(self, learner: OnlineLearner, result: StepResult) -> bool:
        """Note a timestep; False when it wants no more."""
        now = time.monotonic()
        if now - self._read_at > FORGOTTEN_S:
            return False
        try:
            self._note(learner, result, now)
        except Exception as e:  # a page must not end the learning
            self._error = e
        return self._error is None

    def take(self) -> Watched | None:
        """What was seen since the last time; None when that is nothing. Raises what went wrong while watching."""
        self._read_at = time.monotonic()
        if self._error is not None:
            raise self._error
        moments = []
        while self._moments:
            moments.append(self._moments.popleft())
        chosen = self._chosen
        if not moments or chosen is None:
            return None
        about = (chosen.layer, chosen.neurons, chosen.threshold, chosen.neuron, chosen.rows)
        return Watched(*about, self._rates, moments)

    def _note(self, learner: OnlineLearner, result: StepResult, now: float) -> None:
        network = learner.predictor
        if (chosen := self._chosen) is None:
            if not (layers := layers_of(network)):
                return
            chosen = self._chosen = self._choose(layers, states_of(network), network.decay)
        state = states_of(network)[chosen.index]
        if state.output is None:  # at rest
            return
        if now >= self._count_at:
            self._count_at = now + RATES_S
            self._count(layers_of(network))
        spikes = state.spike_image()[chosen.places]
        # The presynaptic factor as the learning rule has it, from the moment at which the probe began.
        before = 0.0 if result.timestep.new_sample else self._trace
        self._trace = chosen.decay * before + bool(spikes[chosen.row] > 0)
        potential = state.potential(chosen.place, chosen.threshold)
        self._moments.append(Moment(result.timestep.index, spikes, potential, self._trace))

    def _choose(self, layers: list[Layer], states: list[Any], decay: float) -> _Chosen:
        layer = next((one for one in layers if one.name == self._name), layers[0])
        spikes = layer.spikes()
        neurons = spikes.size
        neuron = int(spikes.argmax()) if self._wanted is None else min(self._wanted, neurons - 1)
        # At random, as an even spread would meet the same channels everywhere; the same ones each time.
        rows = np.random.default_rng(0).choice(neurons, min(ROWS, neurons), replace=False)
        rows = np.unique(np.append(rows, neuron))
        places = layer.places(rows)
        at = int(np.searchsorted(rows, neuron))
        place = tuple(int(axis[at]) for axis in places)
        return _Chosen(
            states.index(layer.state), layer.name, neurons, layer.threshold, neuron, rows, at, decay, place, places
        )

    def _count(self, layers: list[Layer]) -> None:
        means = {name: mean for name, _, mean in self._rates}
        rates = []
        for layer in layers:
            spikes = layer.spikes()
            rate = float(np.count_nonzero(spikes) / spikes.size)
            mean = means.get(layer.name, rate)
            rates.append((layer.name, spikes.size, mean + SMOOTHING * (rate - mean)))
        self._rates = rates


def probe_part(watched: Watched) -> bytes:
    """What a probe has seen, for a browser.

    Arrays: ``steps`` int32 [timesteps], ``spikes`` uint8 [timesteps, rows], ``rows`` int32 [rows], ``u`` and ``trace``
    float32 [timesteps].
    """
    moments = watched.moments
    fields = {
        "layer": watched.layer,
        "neuron": watched.neuron,
        "neurons": watched.neurons,
        "threshold": watched.threshold,
        "layers": [{"name": name, "neurons": n, "rate": rate} for name, n, rate in watched.rates],
    }
    arrays: Arrays = {
        "steps": np.array([m.step for m in moments], np.int32),
        "spikes": (np.stack([m.spikes for m in moments]) > 0).astype(np.uint8),
        "rows": watched.rows.astype(np.int32),
        "u": np.array([m.u for m in moments], np.float32),
        "trace": np.array([m.trace for m in moments], np.float32),
    }
    return encode_part("inside", fields, arrays)
