"""A model file: weights and optimizer state as safetensors, settings and classes beside them as metadata."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import ModelError, OutputError

if TYPE_CHECKING:
    from torch import Tensor

    from stream_ottt.learning.learner import OnlineLearner

FORMAT = "stream-ottt/model/1"
METADATA_KEY = "stream_ottt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a model file holds.

    Attributes:
        path: the file.
        tensors: ``weights/<name>`` and ``optimizer/<name>``.
        settings: nested tables of the run that made it.
        classes: the label at each position of the logits.
        class_names: label → name.
        input_shape: (polarities, height, width).
        optimizer_steps: optimizer steps made.
        centred: whether the means of standardized rows were taken out of the weights.
    """

    path: Path
    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    classes: list[int]
    class_names: dict[int, str]
    input_shape: tuple[int, int, int]
    optimizer_steps: int
    centred: bool

    def restore(self, learner: OnlineLearner) -> None:
        """Put weights and optimizer state into ``learner``.

        Raises:
            ModelError: the file is for another network; names the first parameter that differs.
        """
        parameters = learner.network.parameters
        weights = {k.removeprefix("weights/"): v for k, v in self.tensors.items() if k.startswith("weights/")}
        for name in sorted(parameters.keys() | weights.keys()):
            ours, theirs = parameters.get(name), weights.get(name)
            if ours is None or theirs is None or ours.shape != theirs.shape:
                raise ModelError(
                    f"{self.path}: a model for another network: parameter {name!r} is "
                    f"{_shape(theirs)} in the file and {_shape(ours)} in the network; use the settings it was made with"
                )
        for name, value in weights.items():
            parameters[name].copy_(value)
        learner.network.weights_changed(centred=self.centred)
        state = {k.removeprefix("optimizer/"): v for k, v in self.tensors.items() if k.startswith("optimizer/")}
        learner.optimizer.set_state(state, self.optimizer_steps)


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "×".join(map(str, tensor.shape)) or "a number"


def save_checkpoint(
    path: Path, learner: OnlineLearner, *, settings: dict[str, Any], class_names: dict[int, str]
) -> None:
    """Write a model file; a file that was there is replaced only once the new one is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {f"weights/{k}": v.contiguous() for k, v in learner.network.parameters.items()}
    tensors |= {f"optimizer/{k}": v.contiguous() for k, v in learner.optimizer.state().items()}
    facts = {
        "format": FORMAT,
        "settings": settings,
        "classes": learner.classes,
        "class_names": class_names,
        "input_shape": learner.network.input_shape,
        "optimizer_steps": learner.optimizer.steps,
        "centred": learner.network.centred,
    }
    # One entry: safetensors writes several in no fixed order, and the same run must give the same file.
    metadata = {METADATA_KEY: json.dumps(facts)}
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as f:
            f.write(save(tensors, metadata))
            f.flush()
            os.fsync(f.fileno())
        partial.replace(path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: the model cannot be written: {e.strerror}") from e


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a model file.

    Raises:
        ModelError: no such file, or not a model of this program.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as f:
            facts = json.loads((f.metadata() or {}).get(METADATA_KEY, "{}"))
            if facts.get("format") != FORMAT:
                raise ModelError(
                    f"{path}: no model of this program: expected format {FORMAT!r} in its metadata, "
                    f"found {facts.get('format')!r}"
                )
            return Checkpoint(
                path=path,
                tensors={name: f.get_tensor(name) for name in f.keys()},  # noqa: SIM118 - not a mapping
                settings=facts["settings"],
                classes=facts["classes"],
                class_names={int(k): v for k, v in facts["class_names"].items()},
                input_shape=tuple(facts["input_shape"]),
                optimizer_steps=int(facts["optimizer_steps"]),
                centred=bool(facts["centred"]),
            )
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OSError) as e:
        raise ModelError(f"{path}: no readable model file: {e}; save one with --save") from e
