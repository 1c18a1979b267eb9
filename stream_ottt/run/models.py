"""Model files for programs: save what a learner has learned, and have it back as a learner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stream_ottt.errors import ModelError, UsageError
from stream_ottt.run.config import RunConfig
from stream_ottt.run.model_file import Checkpoint, load_checkpoint, save_checkpoint, settings_to_keep
from stream_ottt.settings import Settings

if TYPE_CHECKING:
    from stream_ottt.engine.config import EngineConfig
    from stream_ottt.learning.learner import OnlineLearner


def save_model(
    path: str | Path, learner: OnlineLearner, *, network: Settings, class_names: dict[int, str] | None = None
) -> None:
    """Write what a learner has learned to a file that :func:`load_model` and ``stream-ottt run --load`` read.

    Args:
        path: the file; one that is there is replaced once the new one is complete.
        learner: whose weights and optimizer state are written.
        network: the settings that its network was built with.
        class_names: label → name.

    Raises:
        OutputError: the file cannot be written, or the model holds numbers that are not finite.
    """
    settings = {"network": network.model_dump(mode="json"), "learner": learner.config.model_dump(mode="json")}
    _, height, width = learner.network.input_shape
    settings["binning"] = {"height": height, "width": width}
    save_checkpoint(Path(path), learner, settings=settings, class_names=class_names or {})


def load_model(path: str | Path) -> OnlineLearner:
    """The learner that :func:`save_model` or ``stream-ottt run --save`` wrote, on the fast engine where that can be.

    Raises:
        ModelError: no such file, no model, or one whose parts do not fit each other.
    """
    return learner_of(load_checkpoint(Path(path)))


def learner_of(checkpoint: Checkpoint, *, engine: EngineConfig | None = None, threads: int | None = 1) -> OnlineLearner:
    """The learner that a model file describes.

    Args:
        checkpoint: the file.
        engine, threads: as in :func:`stream_ottt.build_learner`.

    Raises:
        ModelError: its parts do not fit each other.
    """
    from stream_ottt.learning.build import build_learner
    from stream_ottt.network.topologies import build_network

    planes, height, width = checkpoint.facts.input_shape
    config = RunConfig.load(settings_to_keep(checkpoint))
    classes, rule = checkpoint.classes, config.learner.with_known_end()
    try:
        network = build_network(config.network, input_shape=(planes, height, width), classes=len(classes))
        learner = build_learner(network, config=rule, classes=classes, engine=engine, threads=threads)
    except UsageError as e:
        raise ModelError(f"{checkpoint.path}: no network can be built by the settings in it: {e}") from e
    checkpoint.restore(learner)
    return learner
