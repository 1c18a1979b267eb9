"""Watches one layer and one neuron of it, timestep by timestep, for a page that shows them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import StepResult
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.web.message import encode_part
from stream_ottt.web.neurons import Layer, layers_of

ROWS = 64
"""Neurons of a layer that a raster shows, evenly spread over it."""

TIMESTEPS = 256
"""Timesteps that are kept until somebody takes them; the oldest go."""

RATES_S = 0.25
"""Shortest time between two counts of all layers' spikes."""

SMOOTHING = 0.3
"""Weight of the latest of these counts in their mean."""

FORGOTTEN_S = 1.5
"""A probe that nobody has read for so long ends."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One timestep: its index, the spikes of the raster's neurons, and the picked neuron's u and â (NaN: none)."""

    step: int
    spikes: npt.NDArray[np.bool_]
    u: float
    trace: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What a probe has seen since it was last read.

    Attributes:
        layer: which layer.
        neuron: index of the picked neuron in it.
        rows: index of the neuron in each row of the raster.
        rates: of each layer: its name, its number of neurons, the share of them that fire at a timestep.
        moments: the timesteps, oldest first.
    """

    layer: Layer
    neuron: int
    rows: npt.NDArray[np.intp]
    rates: list[tuple[str, int, float]]
    moments: list[Moment]


class Probe:
    """Called in the learner's thread after each timestep of the stream; read from another thread.

    Args:
        layer: name of the layer; None, or one that there is not, for the first.
        neuron: index of the neuron in it; one beyond the last means the last.

    Attributes:
        error: what went wrong in the learner's thread; it ends the probe alone.
    """

    def __init__(self, layer: str | None, neuron: int) -> None:
        self._name = layer
        self._wanted = neuron
        self._moments: deque[Moment] = deque(maxlen=TIMESTEPS)
        self._layer: Layer | None = None
        self._neuron = 0
        self._rows = np.zeros(0, np.intp)
        self._rates: list[tuple[str, int, float]] = []
        self._count_at = 0.0
        self._read_at = time.monotonic()
        self.error: Exception | None = None

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody has read it for a while."""
        return time.monotonic() - self._read_at > FORGOTTEN_S

    def __call__(self, learner: OnlineLearner, result: StepResult) -> bool:
        """Note a timestep; False when it wants no more."""
        if self.is_forgotten:
            return False
        try:
            self._note(learner, result)
        except Exception as e:  # a page must not end the learning
            self.error = e
            return False
        return True

    def take(self) -> Watched | None:
        """What was seen since the last time; None when that is nothing. Raises what went wrong."""
        self._read_at = time.monotonic()
        if self.error is not None:
            raise self.error
        moments = []
        while self._moments:
            moments.append(self._moments.popleft())
        if not moments or self._layer is None:
            return None
        return Watched(self._layer, self._neuron, self._rows, self._rates, moments)

    def _note(self, learner: OnlineLearner, result: StepResult) -> None:
        layers = layers_of(learner.network)
        if not layers:
            return
        layer = next((one for one in layers if one.name == self._name), layers[0])
        if self._layer is None:
            self._neuron = min(self._wanted, layer.neurons - 1)
            rows = np.linspace(0, layer.neurons - 1, min(ROWS, layer.neurons)).astype(np.intp)
            self._rows = np.unique(np.append(rows, self._neuron))
            self._layer = layer
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + RATES_S
            counts = [np.count_nonzero(one.spikes()) / one.neurons for one in layers]
            means = [mean for _, _, mean in self._rates] or counts
            self._rates = [
                (one.name, one.neurons, mean + SMOOTHING * (count - mean))
                for one, count, mean in zip(layers, counts, means, strict=True)
            ]
        trace = layer.trace()
        self._moments.append(
            Moment(
                result.timestep.index,
                layer.spikes()[self._rows] > 0,
                float(layer.u()[self._neuron]),
                np.nan if trace is None else float(trace[self._neuron]),
            )
        )


def probe_part(watched: Watched) -> bytes:
    """What a probe has seen, for a browser.

    Arrays: ``steps`` int32 [timesteps], ``spikes`` uint8 [timesteps, rows], ``rows`` int32 [rows], ``u`` and ``trace``
    float32 [timesteps].
    """
    moments = watched.moments
    fields = {
        "layer": watched.layer.name,
        "neuron": watched.neuron,
        "neurons": watched.layer.neurons,
        "threshold": watched.layer.threshold,
        "layers": [{"name": name, "neurons": n, "rate": rate} for name, n, rate in watched.rates],
    }
    arrays = {
        "steps": np.array([m.step for m in moments], np.int32),
        "spikes": np.stack([m.spikes for m in moments]).astype(np.uint8),
        "rows": watched.rows.astype(np.int32),
        "u": np.array([m.u for m in moments], np.float32),
        "trace": np.array([m.trace for m in moments], np.float32),
    }
    return encode_part("inside", fields, arrays)
