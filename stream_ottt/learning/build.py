"""The way to make a learner: network, rule and engine together."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch

from stream_ottt.engine.build import place
from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.precision import flush_denormals
from stream_ottt.learning.average import Average
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer, build_optimizer


def build_learner(
    network: Network,
    optimizer: Optimizer | None = None,
    config: LearnerConfig | None = None,
    *,
    classes: Iterable[int] | None = None,
    history: int = 0,
    engine: EngineConfig | None = None,
    threads: int | None = 1,
) -> OnlineLearner:
    """A learner that is fast where it can be: for one stream on a CPU by default.

    The network's layers are taken over: use ``learner.network`` from then on.

    Args:
        network: from :func:`stream_ottt.build_network`.
        optimizer, config, classes, history: those of :class:`OnlineLearner`.
        engine: how it computes; None for the fast engine where it can do what is asked.
        threads: of torch in this process, as ``run`` sets them: at batch size 1 more than one only wait for each other.
            None leaves them as they are.

    Raises:
        UsageError: an engine, a precision or an overlap that this network or rule does not allow; no such device.
    """
    config = config or LearnerConfig()
    optimizer = optimizer or build_optimizer(config)
    if threads is not None:
        torch.set_num_threads(threads)
    overlaps = bool(config.error_delay) and config.rule == "ottt_o"
    flush_denormals()
    engine = engine or EngineConfig()
    average = None
    if config.average:
        # It never learns, so that a second thread would have nothing to do.
        alone = engine.model_copy(update={"overlap": False})
        average = Average(place(deepcopy(network), optimizer, alone, overlaps=False), config.average)
    network = place(network, optimizer, engine, overlaps=overlaps)
    return OnlineLearner(network, optimizer, config, classes=classes, history=history, average=average)
