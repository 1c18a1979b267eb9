"""The network in a model file, as torch computes it, and what its connections multiply by in plain weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.engine.config import EngineConfig
from stream_ottt.network.connection import Connection
from stream_ottt.network.network import Network
from stream_ottt.run.model_file import Checkpoint, load_checkpoint
from stream_ottt.run.models import learner_of

Floats = npt.NDArray[np.float32]


def load_network(path: Path) -> tuple[Network, Checkpoint]:
    """The network that predicts, in float32 on the CPU, at rest; where the weights were averaged, the average.

    Raises:
        ModelError: no such file, no model, or one whose parts do not fit each other.
    """
    checkpoint = load_checkpoint(path)
    return learner_of(checkpoint, engine=EngineConfig(engine="plain"), threads=None).predictor, checkpoint


def plain(connection: Connection, scale: float = 1.0) -> tuple[Floats, Floats]:
    """Weight and bias of a connection, standardized where they are, so that it may be given spikes of 0 and 1.

    Args:
        connection: a convolution or dense product.
        scale: factor on the spikes that it is given in the network; it goes into the weight.
    """
    weight = connection.effective_weight.detach().cpu().numpy()
    bias = connection.parameters["bias"].detach().cpu().numpy()
    return (weight * np.float32(scale)).astype(np.float32), bias.astype(np.float32)


def facts(checkpoint: Checkpoint, network: Network) -> dict[str, Any]:
    """What whoever feeds the network must know; plain JSON values."""
    neurons = next(iter(network.populations.values())).model
    binning = {k: v for k, v in checkpoint.settings.get("binning", {}).items() if k != "filters"}
    return {
        "classes": checkpoint.classes,
        "class_names": {str(k): v for k, v in checkpoint.class_names.items()},
        "input_shape": list(network.input_shape),
        "input": "events per pixel of one timestep, OFF before ON",
        "input_scale": network.input_scale,
        "input_mass": network.input_mass,
        "decay": neurons.decay,
        "threshold": neurons.threshold,
        "reset": "subtract",
        "binning": binning,
    }
