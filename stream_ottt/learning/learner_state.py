"""What a learner remembers between two timesteps, as a value."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stream_ottt.network.growth import with_zero_columns, with_zero_rows
from stream_ottt.network.network import Network
from stream_ottt.network.network_state import NetworkState
from stream_ottt.network.optimizer import GradientSum
from stream_ottt.network.saved import Saved, pack_saved, unpack_saved


@dataclass(slots=True)
class LearnerCounts:
    """What became of the labels that :meth:`OnlineLearner.feedback` was given.

    Attributes:
        updates: optimizer steps.
        learned: timesteps whose error signal reached the synapses.
        too_late: labels of timesteps no longer kept.
        discarded: error signals that never reached the synapses: a new sample began while they were on their way, a
            label was taken back, the weights went back, or nothing was learned of the timestep that they met.
    """

    updates: int = 0
    learned: int = 0
    too_late: int = 0
    discarded: int = 0


@dataclass(slots=True)
class Kept:
    """What is kept of a timestep until its label can no longer be used, or its error signal has met the synapses."""

    step: int
    logits: Tensor
    saved: Sequence[Saved]


@dataclass(slots=True)
class LearnerState:
    """All that a learner remembers between two timesteps but for the weights and the optimizer: a value.

    Several may be kept at once; :meth:`OnlineLearner.swap` goes on from one. Nothing is copied.

    Attributes:
        network: membrane potentials and traces.
        outputs: classes of the network when it was last gone on from.
        step: index of the latest timestep.
        kept: timesteps whose label may still come.
        pending: timesteps whose error signal is on its way.
        sums: OTTT_A's gradients added up so far.
        summed: of how many timesteps.
        predicting: of the averaged network, once it has predicted from this state.
    """

    network: NetworkState
    outputs: int
    step: int = -1
    kept: deque[Kept] = field(default_factory=deque)
    pending: deque[Kept] = field(default_factory=deque)
    sums: GradientSum = field(default_factory=GradientSum)
    summed: int = 0
    predicting: NetworkState | None = None

    def widen(self, network: Network) -> None:
        """Bring it to the outputs that the network has, where a class was added meanwhile.

        At a timestep before that, the class's logit counts as 0, and no error goes to its row.
        """
        if self.outputs == network.outputs:
            return
        self.outputs = network.outputs
        for kept in (*self.kept, *self.pending):
            kept.logits = with_zero_columns(kept.logits, self.outputs)
        for signal in self.pending:
            network.widen(signal.saved)
        parameters, sums = network.parameters, self.sums.sums
        for name in sums:
            sums[name] = with_zero_rows(sums[name], len(parameters[name]))

    def pack(self, network: Network) -> dict[str, Any]:
        """As tensors and plain JSON values by name."""
        network.settle()
        self.widen(network)
        found: dict[str, Any] = {f"state/{k}": v for k, v in self.network.pack(network.names).items()}
        found |= {f"sums/{k}": v.clone() for k, v in self.sums.sums.items()}
        # One timestep may be the latest, kept and pending: its saved tensors are written once.
        latest = [self.network.saved] if self.network.saved else []
        steps = {id(saved): saved for saved in (*latest, *(k.saved for k in (*self.kept, *self.pending)))}
        formed = {id(k.saved) for k in self.pending}
        for i, saved in enumerate(steps.values()):
            for name, own in zip(network.names, saved, strict=True):
                found |= pack_saved(f"saved/{i}.{name}.", own, formed=id(saved) in formed)
        place = {key: i for i, key in enumerate(steps)}
        sample: dict[str, Any] = {"step": self.step, "summed": self.summed, "steps": len(steps), "latest": bool(latest)}
        for key, held in (("kept", self.kept), ("pending", self.pending)):
            found |= {f"{key}/{i}": k.logits.clone() for i, k in enumerate(held)}
            sample[key] = [[k.step, place[id(k.saved)]] for k in held]
        return found | {"sample": sample}

    @classmethod
    def unpack(cls, network: Network, found: dict[str, Any]) -> LearnerState:
        """The state that :meth:`pack` gave.

        Raises:
            KeyError: it is of another network, or of another engine.
        """
        sample = found["sample"]
        steps: list[Sequence[Saved]] = []
        for i in range(sample["steps"]):
            saved = network.new_saved()
            for name, own in zip(network.names, saved, strict=True):
                unpack_saved(f"saved/{i}.{name}.", own, found)
                network.take_up(own)
            steps.append(saved)
        state = cls(network.rest(), network.outputs, step=sample["step"], summed=sample["summed"])
        tensors = {k.removeprefix("state/"): v for k, v in found.items() if k.startswith("state/")}
        state.network.unpack(network.names, tensors, steps[0] if sample["latest"] else [])
        state.sums.sums = {k.removeprefix("sums/"): v.clone() for k, v in found.items() if k.startswith("sums/")}
        for key, held in (("kept", state.kept), ("pending", state.pending)):
            held.extend(Kept(step, found[f"{key}/{i}"].clone(), steps[at]) for i, (step, at) in enumerate(sample[key]))
        return state
