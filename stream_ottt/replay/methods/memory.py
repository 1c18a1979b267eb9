"""Whole samples that a method remembers, and the reservoir that decides which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stream_ottt.state import State, take


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample as it was learned.

    Attributes:
        frames: float32 [T, channels, height, width].
        target: its label.
        logits: [T, classes] when it was learned.
    """

    frames: Tensor
    target: int
    logits: Tensor


def samples(frames: Tensor, targets: Tensor, logits: Tensor) -> list[Sample]:
    """A batch's samples, each with memory of its own."""
    return [
        Sample(frames[:, i].clone(), target, logits[:, i].detach().clone()) for i, target in enumerate(targets.tolist())
    ]


class Reservoir:
    """Keeps each sample ever seen with the same probability (Vitter 1985).

    Args:
        size: samples kept at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = 0
        self.kept: list[Sample] = []

    def add(self, sample: Sample, rng: np.random.Generator) -> None:
        """Remember a sample, or not."""
        self.seen += 1
        if len(self.kept) < self.size:
            self.kept.append(sample)
            return
        place = int(rng.integers(self.seen))
        if place < self.size:
            self.kept[place] = sample

    def draw(self, n: int, rng: np.random.Generator) -> list[Sample]:
        """Up to n different samples, each equally likely."""
        n = min(n, len(self.kept))
        return [self.kept[i] for i in rng.choice(len(self.kept), n, replace=False)] if n else []

    def state_dict(self) -> State:
        """What is remembered."""
        return {"seen": self.seen, **pack_samples(self.kept)}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.seen = take(state, "seen")
        self.kept = unpack_samples(state)


def pack_samples(kept: list[Sample]) -> State:
    """Samples as a state, one field each."""
    state: State = {"targets": [s.target for s in kept]}
    for i, sample in enumerate(kept):
        state |= {f"frames/{i}": sample.frames, f"logits/{i}": sample.logits}
    return state


def unpack_samples(state: State) -> list[Sample]:
    """What :func:`pack_samples` took."""
    targets = take(state, "targets")
    return [Sample(take(state, f"frames/{i}"), t, take(state, f"logits/{i}")) for i, t in enumerate(targets)]


def as_batch(kept: list[Sample], like: Tensor) -> tuple[Tensor, Tensor]:
    """Samples as a batch: frames [T, batch, …] and targets int64 [batch], on the device of ``like``."""
    frames = torch.stack([s.frames for s in kept], dim=1).to(like.device)
    return frames, torch.tensor([s.target for s in kept], device=like.device)


def in_one(frames: object) -> Tensor:
    """Frames of T timesteps as one tensor [T, batch, …]."""
    return frames if isinstance(frames, Tensor) else torch.stack(list(frames))  # type: ignore[call-overload]
