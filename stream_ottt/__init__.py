"""stream-ottt: a streaming online learner for event cameras.

The names below are imported when they are first used, so that ``import stream_ottt`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_ottt import plot
    from stream_ottt.engine.config import EngineConfig
    from stream_ottt.errors import InputError, ModelError, OutputError, StreamOtttError, UsageError
    from stream_ottt.events.binning import Binner
    from stream_ottt.events.config import BinningConfig
    from stream_ottt.events.packet import EventPacket, Ledger
    from stream_ottt.events.timestep import Prediction, StepResult, Timestep
    from stream_ottt.labels.sidecar import read_label_csv
    from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
    from stream_ottt.learning.build import build_learner
    from stream_ottt.learning.config import LearnerConfig
    from stream_ottt.learning.learner import OnlineLearner
    from stream_ottt.network.config import NetworkConfig
    from stream_ottt.network.topologies import build_network
    from stream_ottt.notebook.learn import learn
    from stream_ottt.report.recorded import RecordedRun, read_run
    from stream_ottt.run.models import load_model, save_model
    from stream_ottt.sinks.opening import open_sink
    from stream_ottt.sources.opening import open_source

    __version__: str

_HOMES = {
    "learning.build": ["build_learner"],
    "engine.config": ["EngineConfig"],
    "errors": ["InputError", "ModelError", "OutputError", "StreamOtttError", "UsageError"],
    "events.binning": ["Binner"],
    "events.config": ["BinningConfig"],
    "events.packet": ["EventPacket", "Ledger"],
    "events.timestep": ["Prediction", "StepResult", "Timestep"],
    "labels.sidecar": ["read_label_csv"],
    "labels.timeline": ["LabelInterval", "LabelTimeline"],
    "learning.config": ["LearnerConfig"],
    "learning.learner": ["OnlineLearner"],
    "network.config": ["NetworkConfig"],
    "network.topologies": ["build_network"],
    "notebook.learn": ["learn"],
    "report.recorded": ["RecordedRun", "read_run"],
    "run.models": ["load_model", "save_model"],
    "sinks.opening": ["open_sink"],
    "sources.opening": ["open_source"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Binner",
    "BinningConfig",
    "EngineConfig",
    "EventPacket",
    "InputError",
    "LabelInterval",
    "LabelTimeline",
    "LearnerConfig",
    "Ledger",
    "ModelError",
    "NetworkConfig",
    "OnlineLearner",
    "OutputError",
    "Prediction",
    "RecordedRun",
    "StepResult",
    "StreamOtttError",
    "Timestep",
    "UsageError",
    "__version__",
    "build_learner",
    "build_network",
    "learn",
    "load_model",
    "open_sink",
    "open_source",
    "plot",
    "read_label_csv",
    "read_run",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("stream-ottt")
    if name == "plot":
        return import_module(f"{__name__}.plot")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
