"""Which pass over its source a run is in, as who looks at results can tell."""

from __future__ import annotations

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.view import RunView


class Passes:
    """Counts passes by the times that begin again: the source may have been read further than what is shown.

    Args:
        run: the run, which has not begun yet.

    Attributes:
        number: 0, 1, 2, … of the pass of the latest result.
        whole: how many there will be.
    """

    def __init__(self, run: RunView) -> None:
        self.whole = int(run.facts.settings.get("stream", {}).get("passes", 1))
        self.number = run.pass_number()  # a resumed run begins in a later one
        self._t = 0

    def see(self, result: StepResult) -> None:
        """Take the next result; each of them."""
        t = result.timestep.t_end
        if t < self._t:
            self.number = min(self.number + 1, self.whole - 1)
        self._t = t

    @property
    def text(self) -> str:
        """``pass 2 of 5``; empty where there is one."""
        return f"pass {self.number + 1} of {self.whole}" if self.whole > 1 else ""
