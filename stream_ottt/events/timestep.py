"""What passes between binner, learner and sinks: the timestep, and the prediction made on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import Shares


@dataclass(slots=True, eq=False)
class Timestep:
    """One frame of events and where it stands in event time.

    Attributes:
        frame: float32 [planes, height, width], events per pixel or what ``binning.frame`` says; of two polarities, OFF
            comes first.
        t_start: first instant covered, µs.
        t_end: first instant no longer covered, µs.
        index: 0, 1, 2, … over the whole stream.
        events: how many events it was made of (before clamping).
        new_sample: True when the network's state must be reset before it.
        counts: whether the frame holds counts.
        shares: how many of the events are of which of several sources; empty for one.
    """

    frame: npt.NDArray[np.float32]
    t_start: int
    t_end: int
    index: int
    events: int
    new_sample: bool = False
    counts: bool = True
    shares: Shares = field(default_factory=Counter)

    def picture(self) -> npt.NDArray[np.float32]:
        """The frame for people, in at most two planes: of four, the two of each polarity are added up."""
        if len(self.frame) <= 2:
            return self.frame
        added: npt.NDArray[np.float32] = self.frame.reshape(-1, 2, *self.frame.shape[1:]).sum(axis=0)
        return added

    @property
    def middle(self) -> float:
        """The middle of its span, µs."""
        return (self.t_start + self.t_end) / 2


@dataclass(slots=True, eq=False)
class Prediction:
    """What the network said of one timestep, before anything was learned from it.

    Attributes:
        step: index of the timestep.
        t_start, t_end: its span, µs.
        logits: float64 [classes], the read-out of this step alone.
        index: position of the largest logit.
        label: the class that stands at that position.
        confidence: softmax probability of ``label``.
        learned: True when the weights were updated at this step.
        learned_from: index of the step whose error signal was applied, or None.
        latency_s: seconds from the moment the timestep was complete until the prediction was out.
        unknown: True when what is seen is none of the classes, as far as is remembered.
    """

    step: int
    t_start: int
    t_end: int
    logits: npt.NDArray[np.float64]
    index: int
    label: int
    confidence: float
    learned: bool = False
    learned_from: int | None = None
    latency_s: float = 0.0
    unknown: bool = False

    @classmethod
    def of(cls, timestep: Timestep, logits: npt.NDArray[np.float64], classes: Sequence[int]) -> Prediction:
        """The prediction that a read-out float64 [classes] makes."""
        index = int(logits.argmax())
        e = np.exp(logits - logits[index])
        return cls(
            step=timestep.index,
            t_start=timestep.t_start,
            t_end=timestep.t_end,
            logits=logits,
            index=index,
            label=classes[index],
            confidence=float(1 / e.sum()),
        )

    def softmax(self) -> npt.NDArray[np.float64]:
        """Probabilities [classes] of the logits."""
        e: npt.NDArray[np.float64] = np.exp(self.logits - self.logits.max())
        e /= e.sum()
        return e


@dataclass(slots=True, eq=False)
class StepResult:
    """What sinks receive: a timestep, the prediction on it, and the label where it was known by then.

    Attributes:
        timestep: the frame that was seen.
        prediction: what the network said.
        truth: label of the interval that holds the timestep, known or not yet to the learner; None without one.
        scored: True when this prediction counts: made before any of its presentation's label was used.
    """

    timestep: Timestep
    prediction: Prediction
    truth: int | None = None
    scored: bool = False
