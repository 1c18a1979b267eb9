"""What tests note of a run or a learner while it works."""

from __future__ import annotations

import sys
import threading

from helpers import run
from torch import Tensor

from stream_ottt.learning.session import Session
from stream_ottt.network.config import OptimizerConfig
from stream_ottt.network.optimizer import SGD
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.view import RunSnapshot


def watched(pipeline: Pipeline) -> list[RunSnapshot]:
    """Run to the end while another thread takes one snapshot after the other."""
    seen: list[RunSnapshot] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(pipeline.snapshot())

    watcher = threading.Thread(target=watch, daemon=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    watcher.start()
    try:
        run(pipeline)
    finally:
        over.set()
        watcher.join(60)
        sys.setswitchinterval(interval)
    return seen


def taught(session: Session) -> list[int]:
    """The labels with which a session learns from now on, in order."""
    seen: list[int] = []
    feedback = session.learner.feedback

    def note(step: int, label: int) -> bool:
        seen.append(label)
        return feedback(step, label)

    session.learner.feedback = note  # type: ignore[method-assign]
    return seen


class RecordingSGD(SGD):
    """SGD that keeps every gradient it is given, one table an optimizer step."""

    def __init__(self, config: OptimizerConfig) -> None:
        super().__init__(config)
        self.seen: list[dict[str, Tensor]] = []

    def begin(self) -> None:
        super().begin()
        self.seen.append({})

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        self.seen[-1][name] = gradient.clone()
        super().update(name, parameter, gradient)
