"""stream-ottt: a streaming online learner for event cameras.

The names below are imported when they are first used, so that ``import stream_ottt`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_ottt.events.binning import Binner, BinningConfig
    from stream_ottt.events.packet import EventPacket, Ledger
    from stream_ottt.events.timestep import Prediction, StepResult, Timestep
    from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
    from stream_ottt.learning.config import LearnerConfig
    from stream_ottt.learning.learner import OnlineLearner
    from stream_ottt.network.config import NetworkConfig
    from stream_ottt.network.topologies import build_network
    from stream_ottt.sinks.opening import open_sink
    from stream_ottt.sources.opening import open_source

_HOME = {
    "Binner": "events.binning",
    "BinningConfig": "events.binning",
    "EventPacket": "events.packet",
    "Ledger": "events.packet",
    "LabelInterval": "labels.timeline",
    "LabelTimeline": "labels.timeline",
    "LearnerConfig": "learning.config",
    "NetworkConfig": "network.config",
    "OnlineLearner": "learning.learner",
    "Prediction": "events.timestep",
    "StepResult": "events.timestep",
    "Timestep": "events.timestep",
    "build_network": "network.topologies",
    "open_sink": "sinks.opening",
    "open_source": "sources.opening",
}

__all__ = [
    "Binner",
    "BinningConfig",
    "EventPacket",
    "LabelInterval",
    "LabelTimeline",
    "LearnerConfig",
    "Ledger",
    "NetworkConfig",
    "OnlineLearner",
    "Prediction",
    "StepResult",
    "Timestep",
    "build_network",
    "open_sink",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
