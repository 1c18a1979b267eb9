"""What the pipeline asks of whoever builds network, learner and session, which need the stream to have begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stream_ottt.pipeline.handed import Pass

if TYPE_CHECKING:
    from stream_ottt.learning.session import Session
    from stream_ottt.pipeline.source_reader import Labels
    from stream_ottt.pipeline.view import RunFacts


class Builder(Protocol):
    """Builds what needs the stream to have begun."""

    def begin_pass(self, labels: Labels | None, first: int) -> Pass:
        """What depends on a pass, from the source's own labels and the first event's time; in the binner's thread.

        Raises:
            StreamOtttError: labels that cannot be used.
        """

    def build(self, width: int, height: int, begins: Pass) -> tuple[Session, RunFacts]:
        """Network, learner and session for the first pass; in the learner's thread.

        ``width`` and ``height`` are the sensor's, as the filters leave it; of the facts, ``sensor`` is replaced.

        Raises:
            StreamOtttError: settings, a model or labels that do not fit each other.
        """
