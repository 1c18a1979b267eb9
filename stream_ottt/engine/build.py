"""Which implementation learns: the plain one, or the fast one where it can do what is asked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.precision import Products
from stream_ottt.errors import UsageError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.device import find_device
from stream_ottt.network.layers import AvgPool, ReadOut
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import SGD, Optimizer, build_optimizer
from stream_ottt.network.spiking_conv import SpikingConv


def build_learner(
    network: Network,
    optimizer: Optimizer | None = None,
    config: LearnerConfig | None = None,
    *,
    classes: Iterable[int] | None = None,
    engine: EngineConfig | None = None,
) -> OnlineLearner:
    """A learner on the engine that ``engine`` names; the arguments are those of :class:`OnlineLearner`.

    The network moves to ``engine.device``; with ``cpu`` it stays where it is. The fast engine takes its weights
    over: use ``learner.network`` from then on.

    Raises:
        UsageError: an engine, a precision or an overlap that this network or rule does not allow; no such device.
    """
    engine = engine or EngineConfig()
    config = config or LearnerConfig()
    optimizer = optimizer or build_optimizer(config)
    if engine.device != "cpu":
        network.to(find_device(engine.device, key="engine.device"))
    reason = why_not_fast(network)
    wanted = engine.engine == "fast" or engine.precision != "float32" or engine.overlap
    if wanted and (reason is not None or engine.engine == "plain"):
        what = "engine = 'fast'" if engine.engine == "fast" else "precision and overlap"
        raise UsageError(f"{what}: only the fast engine has it, and {reason or 'engine = plain was asked for'}")
    if engine.compiled and wanted:
        raise UsageError("engine.compiled: only the plain engine has it; leave out engine, precision and overlap")
    fused = config.rule == "ottt_o" and type(optimizer) is SGD
    if engine.overlap and not (fused and config.error_delay):
        raise UsageError("overlap: needs learner.error_delay of 1 or more, rule = 'ottt_o' and optimizer = 'sgd'")
    # Adam moves the means of the rows that the fast network has taken out.
    if reason is None and engine.engine != "plain" and not engine.compiled and isinstance(optimizer, SGD):
        # Imported here: compiled kernels are not for those who only ask for help.
        from stream_ottt.engine.network import FastNetwork
        from stream_ottt.engine.overlap import OverlapNetwork

        products = Products.of(engine.precision)
        if engine.precision != "float32" and not products.reduced:
            said = f"engine.precision = {engine.precision!r} is no faster here, so float32 is used"
            warnings.warn(f"{said}: this processor has no fast products of that format", stacklevel=2)
        if engine.overlap:
            network = OverlapNetwork(network, products=products)
        else:
            network = FastNetwork(network, fused=fused, products=products)
    elif wanted:
        raise UsageError("the fast engine has no Adam; use optimizer = 'sgd'")
    elif engine.compiled:
        network.compile()
    return OnlineLearner(network, optimizer, config, classes=classes)


def why_not_fast(network: Network) -> str | None:
    """What the fast engine lacks for this network, or None."""
    for layer in network.layers:
        if not isinstance(layer, (SpikingConv, AvgPool, ReadOut)):
            return f"it has no {type(layer).__name__}"
        if isinstance(layer, SpikingConv):
            if layer.feedback is not None:
                return "it has no feedback connections"
            if layer.neuron.dropout:
                return "it has no dropout"
        if any(p.device.type != "cpu" for p in layer.parameters.values()):
            return "it works on a CPU only"
    return None
