"""The learning methods: one file each. To add one: write the file, add its line here."""

from __future__ import annotations

from stream_ottt.registry import Registry

METHODS = Registry(
    "method",
    {
        "ottt_o": "stream_ottt.replay.methods.ottt:OtttO",
        "ottt_a": "stream_ottt.replay.methods.ottt:OtttA",
        "bptt": "stream_ottt.replay.methods.bptt:Bptt",
        "sltt": "stream_ottt.replay.methods.sltt:Sltt",
        "frozen": "stream_ottt.replay.methods.frozen:Frozen",
    },
)
