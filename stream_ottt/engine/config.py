"""The settings of the engine, apart from what needs torch."""

from __future__ import annotations

from typing import Literal

from stream_ottt.network.config import Device
from stream_ottt.settings import Settings

Precision = Literal["float32", "bf16-backward", "bf16"]


class EngineConfig(Settings):
    """How the learner computes.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:1``; on a GPU the plain engine learns.
        engine: ``fast`` (one stream, on a CPU), ``plain`` (anything), or ``auto``: fast where it can.
        precision: of the operands of the fast engine's convolutions: ``float32``, or bfloat16 where this processor
            multiplies it faster than float32 (else float32 is used, with a warning); small convolutions that need no
            patches stay float32, which is faster. ``bf16-backward`` is the safer half: the forward pass stays float32,
            so that no spikes near the threshold flip.
        overlap: with an error delay, learn in a second thread while the next timestep is predicted. The results are the
            same to the bit.
        compiled: have torch compile the plain engine's forward pass at its first timesteps, for long runs with batches;
            on a CPU it needs a C++ compiler.
    """

    device: Device = "cpu"
    engine: Literal["auto", "plain", "fast"] = "auto"
    precision: Precision = "float32"
    overlap: bool = False
    compiled: bool = False
