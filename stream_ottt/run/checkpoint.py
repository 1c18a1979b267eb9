"""What a checkpoint says, and what a run goes on from: the manifest and the state of a run after one timestep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import ModelError
from stream_ottt.run.learned_from import Stream
from stream_ottt.settings import Settings
from stream_ottt.state import State, part, take

if TYPE_CHECKING:
    from stream_ottt.learning.learner import OnlineLearner
    from stream_ottt.run.checkpoint_folder import CheckpointFolder

LEARNER = "learning/learner"
"""Where the learner's state is in that of a run."""


class RunOfOld(Settings):
    """What was asked for when the run began; the fields of a request, as text.

    Attributes:
        folder: the working folder, to which the paths are relative.
        source, sinks, save, summary, learn: as in the request.
        settings: all settings, nested tables.
        learned_from: what the model that it began with had learned from; None without one.
    """

    folder: str
    source: str | None
    sinks: tuple[str, ...]
    save: str | None
    summary: str | None
    learn: bool
    settings: dict[str, Any]
    learned_from: tuple[Stream, ...] | None = None


class Gap(Settings):
    """A time in which the run did not run.

    Attributes:
        timesteps: predicted before it.
        since: when the checkpoint was written from which it went on, ISO 8601.
        until: when it went on.
        lost: whether the stream went on meanwhile.
    """

    timesteps: int
    since: str
    until: str
    lost: bool


class Manifest(Settings):
    """What the JSON file of a checkpoint says.

    Attributes:
        format: ``stream-ottt/checkpoint/1``.
        number: 1, 2, 3, … in the order of writing.
        timesteps: predicted before it.
        written: when, ISO 8601.
        run: what was asked for.
        classes: the label at each position of the logits.
        class_names: label → name.
        gaps: times in which the run did not run, before this checkpoint.
        files: name → SHA-256 of each file that it needs.
        stretches: number of a remembered stretch → the file that holds it.
        sinks: name → what it needs to go on; None where it was not known.
        state: the state, with the names of arrays and tensors in their places.
    """

    format: str
    number: int
    timesteps: int
    written: str
    run: RunOfOld
    classes: tuple[int, ...]
    class_names: dict[int, str]
    gaps: tuple[Gap, ...]
    files: dict[str, str]
    stretches: dict[int, str]
    sinks: dict[str, dict[str, Any] | None]
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A checkpoint that was read and found good; what a run goes on from.

    Attributes:
        folder: where it was found, opened.
        manifest: what it says.
        state: the state, as :class:`stream_ottt.pipeline.cut.Cut` has it.
    """

    folder: CheckpointFolder
    manifest: Manifest
    state: State

    @property
    def classes(self) -> list[int]:
        """The label at each position of the logits; the manifest may know one that was added a moment later."""
        return list(take(self.state, f"{LEARNER}/classes"))

    @property
    def class_names(self) -> dict[int, str]:
        """Label → name."""
        return self.manifest.class_names

    @property
    def steps_before(self) -> int:
        """Optimizer steps of a model that the run began with."""
        learner = part(self.state, LEARNER)
        return int(take(learner, "steps")) - int(take(take(learner, "counts"), "updates"))

    def restore(self, learner: OnlineLearner) -> None:
        """Put weights, optimizer and state into ``learner``.

        Raises:
            ModelError: a field is missing, or is of another network.
        """
        try:
            learner.load_state_dict(part(self.state, LEARNER))
        except KeyError as e:
            raise ModelError(f"the checkpoint has no field {e} of the learner; use another one") from e
        except ValueError as e:
            raise ModelError(f"the checkpoint does not fit: {e}") from e
