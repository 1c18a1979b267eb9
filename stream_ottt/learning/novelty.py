"""Whether what is seen is none of the classes: far from all that is remembered, and nothing the network is sure of.

    d = 1 - max over r of cos(â, â_r)        â: the read-out's presynaptic traces, â_r: those of remembered timesteps
    c = 1 - confidence
    e = (p(d) + p(c)) / 2                    p(x) = n(x) / (n + 1), n(x) of n remembered values are below x
    E = Σ FADING^i e[t-i] / Σ FADING^i       over the timesteps since the sample began

d and c of a remembered timestep are measured when it is learned again, so that they are those of the present weights;
its d is to other presentations, and is taken where its class has others. A timestep is unknown where E is above the
quantile, which the settings name, of the latest E of remembered timesteps. (The nearest neighbour of the features, as
in Sun et al.: "Out-of-distribution detection with deep nearest neighbors", ICML 2022. The confidence, as in Hendrycks
and Gimpel: "A baseline for detecting misclassified and out-of-distribution examples", ICLR 2017. 1 - p is a conformal
p-value; those of both are added up, as in Edgington's test.)
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_ottt.network.network_state import NetworkState
from stream_ottt.network.saved import as_tensor
from stream_ottt.state import State, take

Traces = npt.NDArray[np.float32]

REMEMBERED = 600
"""Latest remembered timesteps that are compared with."""
LATEST, FEWEST = 2000, 100
"""Most values of remembered timesteps that shares and the threshold are of, and the fewest."""
EVERY = 50
"""Values between two times at which shares and threshold are taken anew."""
FADING = 0.8
"""What a timestep's evidence still weighs at the next."""
NOBODY = -1
"""The presentation of a place that holds nothing."""


class Evidence(NamedTuple):
    """What the timesteps of a sample so far say against all classes: a fading sum and its weight."""

    total: float = 0.0
    weight: float = 0.0

    def after(self, e: float) -> Evidence:
        """It and one timestep more."""
        return Evidence(FADING * self.total + e, FADING * self.weight + 1)

    @property
    def mean(self) -> float:
        """E; 0 before the first timestep."""
        return self.total / self.weight if self.weight else 0.0


NEUTRAL = Evidence(0.5 / (1 - FADING), 1 / (1 - FADING))
"""How what is seen begins: right after rest little has fired, and first timesteps of anything are doubted. Stretches
that are remembered begin with nothing, so that the threshold is that of whole evidence."""


class Novelty:
    """Knows where what is remembered lies, and how sure of it the network is.

    Args:
        share: of remembered timesteps that count as known.

    Attributes:
        evidence: of the sample that is seen.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._traces: Traces = np.zeros((REMEMBERED, 0), np.float32)
        self._of = np.full(REMEMBERED, NOBODY)
        self._labels = np.full(REMEMBERED, NOBODY)
        self._count = 0  # ever remembered
        self._values: deque[tuple[float, float]] = deque(maxlen=LATEST)  # d and c
        self._evidences: deque[float] = deque(maxlen=LATEST)
        self._since = 0
        self._sorted = np.zeros((2, 0))  # d and c that p is taken of
        self._threshold = np.inf
        self.evidence = NEUTRAL

    def learned(self, label: int, of: int, state: NetworkState, confidence: float, before: Evidence) -> Evidence:
        """A remembered timestep of this class and presentation was learned again.

        Args:
            label: the class.
            of: number of the presentation.
            state: a network's state right after the timestep.
            confidence: what it predicted, with which probability.
            before: evidence of the stretch before this timestep.

        Returns:
            The stretch's evidence with it.
        """
        traces = direction_of(state)
        if traces is None:
            return before
        if not self._count:
            self._traces = np.zeros((REMEMBERED, len(traces)), np.float32)
        others = (self._of != of) & (self._of != NOBODY)
        if (others & (self._labels == label)).any():
            distance = 1 - float((self._traces @ traces)[others].max())
            before = self._measure(distance, 1 - confidence, before)
        at = self._count % REMEMBERED
        self._traces[at], self._of[at], self._labels[at] = traces, of, label
        self._count += 1
        return before

    def _measure(self, distance: float, doubt: float, before: Evidence) -> Evidence:
        if self._sorted.size:
            before = before.after(self._against(distance, doubt))
            self._evidences.append(before.mean)
        self._values.append((distance, doubt))
        self._since += 1
        if self._since >= EVERY and len(self._values) >= FEWEST:
            self._since = 0
            self._sorted = np.sort(np.array(self._values).T)
            if len(self._evidences) >= FEWEST:
                self._threshold = float(np.quantile(self._evidences, self._share))
        return before

    def _against(self, distance: float, doubt: float) -> float:
        """e of one timestep."""
        n = self._sorted.shape[1]
        below = [np.searchsorted(known, x) for known, x in zip(self._sorted, (distance, doubt), strict=True)]
        return float(np.mean(below)) / (n + 1)

    def forget(self, of: int) -> None:
        """A presentation is remembered no longer."""
        gone = self._of == of
        self._traces[gone], self._of[gone] = 0, NOBODY

    def distance(self, state: NetworkState) -> float | None:
        """d of the timestep that left this state; None where nothing is remembered, or nothing has fired."""
        traces = direction_of(state) if (self._of != NOBODY).any() else None
        return None if traces is None else 1 - float((self._traces @ traces).max())

    def begin(self) -> None:
        """What comes is another sample."""
        self.evidence = NEUTRAL

    def is_unknown(self, state: NetworkState, confidence: float) -> bool:
        """Whether the timestep that left this state, predicted with this probability, is none of the classes."""
        distance = self.distance(state) if self._sorted.size else None
        if distance is None:
            return False
        self.evidence = self.evidence.after(self._against(distance, 1 - confidence))
        return self.evidence.mean > self._threshold

    def state_dict(self) -> State:
        """All of it."""
        return {
            "traces": self._traces.copy(),
            "of": self._of.copy(),
            "labels": self._labels.copy(),
            "count": self._count,
            "values": np.array(self._values, np.float64).reshape(-1, 2),
            "evidences": np.array(self._evidences, np.float64),
            "since": self._since,
            "sorted": self._sorted.copy(),
            "threshold": None if self._threshold == np.inf else self._threshold,
            "evidence": list(self.evidence),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._traces, self._of, self._labels = (take(state, name).copy() for name in ("traces", "of", "labels"))
        self._count, self._since = take(state, "count"), take(state, "since")
        self._values = deque(map(tuple, take(state, "values").tolist()), maxlen=LATEST)
        self._evidences = deque(take(state, "evidences").tolist(), maxlen=LATEST)
        self._sorted = take(state, "sorted").copy()
        threshold = take(state, "threshold")
        self._threshold = np.inf if threshold is None else threshold
        self.evidence = Evidence(*take(state, "evidence"))


def direction_of(state: NetworkState) -> Traces | None:
    """The read-out's presynaptic traces [features], of length 1; None at rest, or where nothing has fired."""
    if not state.saved:
        return None
    found: Traces = as_tensor(state.saved[-1].pre).flatten().float().cpu().numpy()
    length = float(np.linalg.norm(found))
    return found / length if length else None
