"""Whether what is seen is none of the classes: too far, in the read-out's features, from all that is remembered.

    d = min over classes c of |â - m_c|²        â: the read-out's presynaptic traces, m_c: their mean over class c

Means and distances are followed on remembered timesteps as they are learned again, so that they move with the
weights. A timestep is unknown where d is above the quantile of the latest distances that the settings name.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from stream_ottt.network.network_state import NetworkState
from stream_ottt.network.saved import as_tensor
from stream_ottt.state import State, pack, take

Traces = npt.NDArray[np.float64]

LATEST = 2000
"""Remembered timesteps whose distances make the threshold."""
FEWEST = 200
"""Before so many, nothing is unknown."""
EVERY = 50
"""Remembered timesteps between two thresholds."""
RATE = 0.02
"""Share of a class's latest remembered timestep in its mean."""


class Novelty:
    """Knows where the classes lie.

    Args:
        share: of remembered timesteps that count as known.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._means: dict[int, Traces] = {}
        self._distances: deque[float] = deque(maxlen=LATEST)
        self._since = 0
        self._threshold = np.inf

    def learned(self, label: int, state: NetworkState) -> None:
        """A remembered timestep of this class was learned again; a network's state right after it."""
        traces = traces_of(state)
        if traces is None:
            return
        mean = self._means.get(label)
        if mean is None:
            self._means[label] = traces
            return
        self._distances.append(self._distance(traces))
        mean += RATE * (traces - mean)
        self._since += 1
        if len(self._distances) >= FEWEST and self._since >= EVERY:
            self._since = 0
            self._threshold = float(np.quantile(self._distances, self._share))

    def is_unknown(self, state: NetworkState) -> bool:
        """Whether the timestep that left this state is none of the classes."""
        if self._threshold == np.inf:
            return False
        traces = traces_of(state)
        return traces is not None and self._distance(traces) > self._threshold

    def _distance(self, traces: Traces) -> float:
        return min(float(np.square(traces - mean).sum()) for mean in self._means.values())

    def state_dict(self) -> State:
        """All of it."""
        return {
            "labels": list(self._means),
            "means": pack(list(self._means.values())),
            "distances": np.array(self._distances, np.float64),
            "since": self._since,
            "threshold": None if self._threshold == np.inf else self._threshold,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        means = take(state, "means")
        self._means = {label: means[i].copy() for i, label in enumerate(take(state, "labels"))}
        self._distances = deque(take(state, "distances").tolist(), maxlen=LATEST)
        self._since = take(state, "since")
        threshold = take(state, "threshold")
        self._threshold = np.inf if threshold is None else threshold


def traces_of(state: NetworkState) -> Traces | None:
    """The read-out's presynaptic traces [features]; None at rest, or where nothing could be learned."""
    if not state.saved:
        return None
    found: Traces = as_tensor(state.saved[-1].pre).flatten().double().cpu().numpy()
    return found
