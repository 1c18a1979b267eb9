"""Which implementation computes: torch for batches and GPUs, or compiled kernels for one stream on a CPU."""

from __future__ import annotations

import warnings

from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.precision import Rounding
from stream_ottt.errors import UsageError
from stream_ottt.network.device import find_device
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import SGD, Adam, Optimizer


def place(network: Network, optimizer: Optimizer, engine: EngineConfig, *, overlaps: bool) -> Network:
    """The network as ``engine`` wants it computed: on its device, compiled where that is possible.

    With ``cpu`` it stays where it is. The compiled network takes over the layers of the one that is given.

    Args:
        network: as it was built.
        optimizer: that will learn; under SGD, the means of standardized rows never act, and are taken out.
        engine: the settings.
        overlaps: whether the learning rule allows a second thread.

    Raises:
        UsageError: an engine, a precision or an overlap that this network or rule does not allow; no such device.
    """
    if engine.device != "cpu":
        network.to(find_device(engine.device, key="engine.device"))
    wanted = engine.engine == "fast" or engine.precision != "float32" or engine.overlap
    on_cpu = all(p.device.type == "cpu" for p in network.parameters.values())
    if wanted and (not on_cpu or engine.engine == "plain"):
        what = "engine = 'fast'" if engine.engine == "fast" else "precision and overlap"
        reason = "engine = plain was asked for" if on_cpu else "it works on a CPU only"
        raise UsageError(f"{what}: only the fast engine has it, and {reason}")
    if engine.compiled and wanted:
        raise UsageError("engine.compiled: only the plain engine has it; leave out engine, precision and overlap")
    if engine.overlap and not (overlaps and type(optimizer) in (SGD, Adam)):
        raise UsageError("overlap: needs learner.error_delay of 1 or more and rule = 'ottt_o'")
    if engine.compiled:
        network.compile()
        return network
    if not on_cpu or engine.engine == "plain":
        return network
    # Imported here: compiled kernels are not for those who only ask for help.
    from stream_ottt.engine.network import CompiledNetwork
    from stream_ottt.engine.overlap import OverlapNetwork

    rounding = Rounding.of(engine.precision)
    if engine.precision != "float32" and not rounding.reduced:
        said = f"engine.precision = {engine.precision!r} is no faster here, so float32 is used"
        warnings.warn(f"{said}: this processor has no fast products of that format", stacklevel=3)
    kind = OverlapNetwork if engine.overlap else CompiledNetwork
    return kind(network, keep_means=not isinstance(optimizer, SGD), rounding=rounding)
