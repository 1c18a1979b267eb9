"""From a checkpoint of the released code to a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stream_ottt.engine.config import EngineConfig
from stream_ottt.errors import ModelError, UsageError
from stream_ottt.export.checkpoint import read_released
from stream_ottt.learning.build import build_learner
from stream_ottt.network.topologies import build_network
from stream_ottt.run.assembly import describe_network
from stream_ottt.run.config import RunConfig, merge, to_tables
from stream_ottt.run.model_file import save_checkpoint

EACH_POOL = 2


def import_released(file: Path, out: Path, overrides: dict[str, Any]) -> str:
    """Write a checkpoint of the released code as a model file, for ``run --load``.

    Args:
        file: the checkpoint, as ``torch.save`` wrote it.
        out: the model file.
        overrides: tables of settings on top; ``binning.width`` and ``height`` say the frames' size.

    Returns:
        The network in a few words.

    Raises:
        ModelError: a file that is none.
        UsageError: settings that do not fit it.
        OutputError: the model file cannot be written.
    """
    found = read_released(file)
    readout = {"readout": "gap" if found.pooled == 1 else "flatten"}
    network = {"topology": found.topology, "layers": list(found.layers), "weight_standardization": True, **readout}
    if found.pooled > 1:  # the image is as large as what its pooling leaves
        edge = found.pooled * EACH_POOL ** found.layers.count("AP2")
        overrides = merge({"binning": {"width": edge, "height": edge}}, overrides)
    # Their neurons' λ, threshold and surrogate are those of the settings; their traces follow the input itself.
    config = RunConfig.load(merge({"network": network}, overrides))
    for key, value in network.items():
        kept = getattr(config.network, key)
        if (list(kept) if isinstance(kept, tuple) else kept) != value:
            raise UsageError(f"network.{key}: the checkpoint says {value}; leave it out")
    width, height = config.binning.width, config.binning.height
    if isinstance(width, str) or isinstance(height, str):
        raise UsageError("the checkpoint does not say the frames' size: give --binning.width and --binning.height")
    built = build_network(config.network, input_shape=(found.planes, height, width), classes=found.classes)
    parameters = built.parameters
    for name in sorted(parameters.keys() | found.parameters.keys()):
        shapes = [tuple(held[name].shape) if name in held else None for held in (parameters, found.parameters)]
        if shapes[0] != shapes[1]:
            raise ModelError(f"{file}: {name} is {shapes[1]}; expected {shapes[0]} for frames of {width}×{height}")
    learner = build_learner(
        built, config=config.learner.with_known_end(), engine=EngineConfig(engine="plain"), threads=None
    )
    for name, value in found.parameters.items():
        learner.network.parameters[name].copy_(value)
    learner.network.weights_changed()
    if learner.average is not None:
        learner.average.take(found.parameters, centred=False)
    save_checkpoint(out, learner, settings=to_tables(config), class_names={})
    return f"{describe_network(config.network)}, {found.classes} classes"
