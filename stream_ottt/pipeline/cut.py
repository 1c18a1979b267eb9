"""A run at one place in its stream, to go on from: what the learner's thread gives to whoever keeps it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stream_ottt.state import State

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import CheckpointState


@dataclass(frozen=True, slots=True)
class Cut:
    """A run at one place in its stream: what every part of it was after the same timestep.

    Attributes:
        timesteps: timesteps predicted up to there.
        state: of source and binner (``stream/…``) and of the learner's thread (``learning/…``); nobody changes it.
        sinks: what each sink, by name, needs to go on behind the last of these timesteps; it comes once it is there.
    """

    timesteps: int
    state: State
    sinks: dict[str, Future[State | None]]


class Keeper(Protocol):
    """Takes cuts, in the learner's thread; must be quick."""

    def wants(self) -> bool:
        """Whether it takes one now."""

    def take(self, cut: Cut) -> None:
        """Take it."""

    def state(self) -> CheckpointState:
        """What has become of them; from any thread."""
