"""A model file: weights and optimizer state as safetensors, settings and classes beside them as metadata.

A file is taken only when every name, dtype, shape and value in it fits. Nothing is allocated before names, dtypes and
shapes were checked, and a learner is changed only once everything was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from stream_ottt.errors import ModelError, OutputError, UsageError
from stream_ottt.outputs import write_atomically
from stream_ottt.run.config import RunConfig
from stream_ottt.run.learned_from import Stream
from stream_ottt.settings import Settings
from stream_ottt.state import part, under

if TYPE_CHECKING:
    from torch import Tensor

    from stream_ottt.learning.learner import OnlineLearner

FORMAT = "stream-ottt/model/1"
METADATA_KEY = "stream_ottt"
MAX_HEADER = 64 * 2**20
"""Largest header, bytes; a checkpoint of a replay keeps its figures there."""

MAX_DEPTH = 16
"""Deepest nesting of the metadata."""

LEARNED_WITH = ("binning", "network", "learner")
"""Tables that must be the same in a run for its model to fit."""

BUFFERS = {"sgd": {"momentum"}, "adam": {"first", "second"}}
"""Kinds of optimizer state by optimizer."""


class Facts(Settings):
    """What the metadata of a model file say.

    Attributes:
        format: ``stream-ottt/model/1``.
        settings: nested tables of the run that made it.
        classes: the label at each position of the logits.
        class_names: label → name.
        input_shape: (polarities, height, width).
        optimizer_steps: optimizer steps made.
        centred: whether the means of standardized rows were taken out of the weights.
        learned_from: the streams that the runs learned from, as far as they are known.
    """

    format: str
    settings: dict[str, Any]
    classes: tuple[Annotated[int, Field(strict=True)], ...] = Field(min_length=1)
    class_names: dict[int, str]
    input_shape: tuple[Annotated[int, Field(ge=1, le=32767)], ...] = Field(min_length=3, max_length=3)
    optimizer_steps: int = Field(ge=0)
    centred: bool
    learned_from: tuple[Stream, ...] = ()

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("a class is named twice")
        return classes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model file whose header was read.

    Attributes:
        path: the file.
        facts: what its metadata say.
    """

    path: Path
    facts: Facts

    @property
    def settings(self) -> dict[str, Any]:
        """Nested tables of the run that made it."""
        return self.facts.settings

    @property
    def classes(self) -> list[int]:
        """The label at each position of the logits."""
        return list(self.facts.classes)

    @property
    def class_names(self) -> dict[int, str]:
        """Label → name."""
        return self.facts.class_names

    @property
    def steps_before(self) -> int:
        """Optimizer steps made by the runs before."""
        return self.facts.optimizer_steps

    def restore(self, learner: OnlineLearner) -> None:
        """Put weights and optimizer state into ``learner``, which stays as it was when they do not fit.

        Raises:
            ModelError: the file is for another network, optimizer or kind of number; names the first tensor that
                differs. Or a number in it is not finite.
        """
        from safetensors import SafetensorError, safe_open

        parameters = learner.network.parameters
        try:
            with safe_open(self.path, framework="pt") as f:
                names = sorted(f.keys(), key=lambda name: (name.startswith("optimizer/"), name))
                self._check_names(names, parameters, learner)
                for name in names:
                    piece, own = f.get_slice(name), parameters[_parameter(name)]
                    _check_tensor(self.path, name, piece.get_dtype(), tuple(piece.get_shape()), own)
                tensors = {name: f.get_tensor(name) for name in names}
        except (SafetensorError, OSError, ValueError) as e:
            raise ModelError(f"{self.path}: no readable model file: {e}; save one with --save") from e
        wrong = not_finite(tensors)
        if wrong is not None:
            raise ModelError(f"{self.path}: {wrong} holds numbers that are not finite; the learning had failed")
        for name, own in parameters.items():
            own.copy_(tensors[f"weights/{name}"])
        learner.network.weights_changed(centred=self.facts.centred)
        if learner.average is not None:
            learner.average.take(part(tensors, "average"), centred=self.facts.centred)
        state = {k.removeprefix("optimizer/"): v for k, v in tensors.items() if k.startswith("optimizer/")}
        learner.optimizer.set_state(state, self.facts.optimizer_steps)

    def _check_names(self, names: list[str], parameters: dict[str, Tensor], learner: OnlineLearner) -> None:
        optimizer = learner.config.optimizer
        wanted = {f"weights/{name}" for name in parameters}
        if learner.average is not None:
            wanted |= {f"average/{name}" for name in parameters}
        state = {f"optimizer/{kind}/{name}" for kind in BUFFERS[optimizer] for name in parameters}
        for name in sorted(wanted - set(names)):
            raise ModelError(
                f"{self.path}: a model for another network: parameter {_parameter(name)!r} is absent; {CURE}"
            )
        for name in sorted(set(names) - wanted - state):
            if name.startswith("optimizer/"):
                raise ModelError(f"{self.path}: {name!r} is no state of the optimizer {optimizer!r}; {CURE}")
            raise ModelError(
                f"{self.path}: a model for another network: this one has no parameter {_parameter(name)!r}; {CURE}"
            )


CURE = "use the settings it was made with"


def _parameter(name: str) -> str:
    return name.rpartition("/")[2]


DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def _check_tensor(path: Path, name: str, dtype: str, shape: tuple[int, ...], own: Tensor) -> None:
    if shape != tuple(own.shape):
        raise ModelError(
            f"{path}: a model for another network: {_parameter(name)!r} is {_size(shape)} in the file and "
            f"{_size(own.shape)} in the network; {CURE}"
        )
    if DTYPES.get(dtype, dtype) != str(own.dtype).removeprefix("torch."):
        raise ModelError(f"{path}: {_parameter(name)!r} holds {dtype}; expected {own.dtype}")


def _size(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a number"


def not_finite(tensors: dict[str, Tensor]) -> str | None:
    """The name of the first tensor with NaN or infinity in it."""
    return next((name for name, value in tensors.items() if not bool(value.isfinite().all())), None)


# --- writing ---------------------------------------------------------------------------------------------------------


def save_checkpoint(
    path: Path,
    learner: OnlineLearner,
    *,
    settings: dict[str, Any],
    class_names: dict[int, str],
    learned_from: Iterable[Stream] = (),
) -> None:
    """Write a model file; a file that was there is replaced only once the new one is complete.

    Raises:
        OutputError: the file cannot be written, or the model holds numbers that are not finite.
    """
    from safetensors.torch import save

    tensors = {f"weights/{k}": v.contiguous() for k, v in learner.network.parameters.items()}
    tensors |= {f"optimizer/{k}": v.contiguous() for k, v in learner.optimizer.state().items()}
    if learner.average is not None:
        tensors |= under("average", {k: v.contiguous() for k, v in learner.average.network.parameters.items()})
    wrong = not_finite(tensors)
    if wrong is not None:
        raise OutputError(
            f"{path}: the model is not saved: {wrong} holds numbers that are not finite; use a smaller learner.lr"
        )
    facts = {
        "format": FORMAT,
        "settings": settings,
        "classes": learner.classes,
        "class_names": class_names,
        "input_shape": learner.network.input_shape,
        "optimizer_steps": learner.optimizer.steps,
        "centred": learner.network.centred,
        "learned_from": [stream.model_dump(mode="json") for stream in learned_from],
    }
    # One entry: safetensors writes several in no fixed order, and the same run must give the same file.
    metadata = {METADATA_KEY: json.dumps(facts)}
    try:
        write_atomically(path, save(tensors, metadata))
    except OSError as e:
        raise OutputError(f"{path}: the model cannot be written: {e.strerror}") from e


# --- reading ---------------------------------------------------------------------------------------------------------


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the header of a model file; no tensor is read yet, and torch is not imported.

    Raises:
        ModelError: no such file, or not a model of this program.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with path.open("rb") as f:
            size = int.from_bytes(f.read(8), "little")
            if not 2 <= size <= MAX_HEADER:
                raise ValueError("it does not begin with a safetensors header")
            metadata = json.loads(f.read(size)).get("__metadata__", {})
            facts = json.loads(metadata.get(METADATA_KEY, "{}"))
            if facts.get("format") != FORMAT:
                raise ModelError(
                    f"{path}: no model of this program: expected format {FORMAT!r} in its metadata, "
                    f"found {facts.get('format')!r}"
                )
        if _depth(facts) > MAX_DEPTH:
            raise ValueError(f"metadata nested deeper than {MAX_DEPTH}")
        return Checkpoint(path, Facts.load(facts, where="metadata"))
    except (ValueError, TypeError, AttributeError, RecursionError, OSError, UsageError) as e:
        raise ModelError(f"{path}: no readable model file: {e}; save one with --save") from e


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(v) for v in inner), default=0)


def settings_to_keep(checkpoint: Checkpoint) -> dict[str, Any]:
    """Those settings of the run that made a model which must be the same for the model to fit.

    Raises:
        ModelError: they are no settings of this program.
    """
    kept = {k: checkpoint.settings[k] for k in LEARNED_WITH if k in checkpoint.settings}
    try:
        RunConfig.load(kept)
    except UsageError as e:
        raise ModelError(f"{checkpoint.path}: the settings in it are none of this program: {e}") from e
    return kept
