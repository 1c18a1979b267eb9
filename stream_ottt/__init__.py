"""stream-ottt: a streaming online learner for event cameras.

The names below are imported when they are first used, so that ``import stream_ottt`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_ottt.binning import Binner, BinningConfig
    from stream_ottt.events import EventPacket, Ledger
    from stream_ottt.labels import LabelInterval, LabelTimeline
    from stream_ottt.learner import LearnerConfig, OnlineLearner
    from stream_ottt.network.topologies import NetworkConfig, build_network
    from stream_ottt.registry import open_sink, open_source
    from stream_ottt.timestep import Prediction, StepResult, Timestep

_HOME = {
    "Binner": "binning",
    "BinningConfig": "binning",
    "EventPacket": "events",
    "Ledger": "events",
    "LabelInterval": "labels",
    "LabelTimeline": "labels",
    "LearnerConfig": "learner",
    "NetworkConfig": "network.topologies",
    "OnlineLearner": "learner",
    "Prediction": "timestep",
    "StepResult": "timestep",
    "Timestep": "timestep",
    "build_network": "network.topologies",
    "open_sink": "registry",
    "open_source": "registry",
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
