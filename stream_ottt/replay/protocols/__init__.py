"""The protocols: one file each. To add one: write the file, add its line here and its name to ``ProtocolConfig``."""

from __future__ import annotations

from stream_ottt.registry import Registry

PROTOCOLS = Registry(
    "protocol",
    {
        "epochs": "stream_ottt.replay.protocols.epochs:Epochs",
        "prequential": "stream_ottt.replay.protocols.prequential:Prequential",
        "class-incremental": "stream_ottt.replay.protocols.class_incremental:ClassIncremental",
        "real-time": "stream_ottt.replay.protocols.real_time:RealTime",
        "sessions": "stream_ottt.replay.protocols.sessions:Sessions",
        "drift": "stream_ottt.replay.protocols.drift:Drift",
    },
)
