"""The learner in the manner of river: predict one frame, learn one frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import Prediction, Timestep


class OneByOne(ABC):
    """Short forms of a learner's ``step`` and ``feedback``, for frames that come one at a time without times."""

    _shown: tuple[int, npt.NDArray[np.float32]] | None = None  # step and frame of predict_one

    @property
    @abstractmethod
    def latest_step(self) -> int:
        """Index of the timestep that was seen last; −1 before the first."""

    @abstractmethod
    def step(self, timestep: Timestep, *, learn: bool = True) -> Prediction:
        """Predict one timestep."""

    @abstractmethod
    def feedback(self, step: int, label: int) -> bool:
        """Learn from the label of one timestep."""

    def predict_one(self, frame: npt.NDArray[np.generic]) -> int:
        """The label predicted for the next timestep: a short form of :meth:`step`.

        Args:
            frame: [polarities, height, width], of any dtype.
        """
        shown, index = frame.astype(np.float32), self.latest_step + 1
        prediction = self.step(Timestep(shown, index, index + 1, index, int(shown.sum())))
        self._shown = index, shown
        return prediction.label

    def learn_one(self, frame: npt.NDArray[np.generic], label: int) -> None:
        """Learn the label of a timestep: a short form of :meth:`feedback`.

        The frame that :meth:`predict_one` was given last is not seen twice; another one is the next timestep.

        Args:
            frame: as in :meth:`predict_one`.
            label: one of ``classes``.

        Raises:
            ValueError: a label that is no class.
        """
        shown, self._shown = self._shown, None
        if shown is None or shown[0] != self.latest_step or not np.array_equal(shown[1], frame):
            self.predict_one(frame)
            self._shown = None
        self.feedback(self.latest_step, label)
