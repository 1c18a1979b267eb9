"""Spatial learning through time (Meng et al., ICCV 2023): gradients of each timestep alone, no temporal trace."""

from __future__ import annotations

from stream_ottt.replay.methods.bptt import Bptt


class Sltt(Bptt):
    """BPTT whose graph is cut after every timestep: memory that does not grow with T, one optimizer step a batch."""

    name = "sltt"

    @property
    def window(self) -> int | None:
        return 1
