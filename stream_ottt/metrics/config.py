"""Options of the metrics: where they are served, and when a part of a run counts as stalled."""

from __future__ import annotations

from pydantic import Field

from stream_ottt.pipeline.sink import SinkConfig
from stream_ottt.settings import Duration

PORT = 9464
"""The port that OpenTelemetry's exporter for Prometheus uses, too."""


class MetricsConfig(SinkConfig):
    """Options of the metrics.

    Attributes:
        target: ``HOST:PORT``, ``HOST`` or ``PORT``; 127.0.0.1:9464 unless told otherwise. Port 0 means any free one.
        source: a source that gives no event for so long has stalled. A sensor gives some noise even of a scene that
            stands still.
        learner: a learner that is at one piece of work for so long has stalled. The first one may compile for half
            a minute.
        checkpoint: checkpoints have stalled when the latest is so old, though timesteps came after it. Ten of them
            are due in that time with the default of ``stream.checkpoint_every``.
    """

    source: Duration = Field(60_000_000, ge=1000)
    learner: Duration = Field(60_000_000, ge=1000)
    checkpoint: Duration = Field(300_000_000, ge=1000)
