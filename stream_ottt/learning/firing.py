"""Whether a layer is silent though there are events, or fires everywhere; said once."""

from __future__ import annotations

from stream_ottt.learning.counters import SessionCounters
from stream_ottt.network.network import Network
from stream_ottt.state import State, take

LOOK_EVERY, LOOKS = 20, 25
"""The spikes are looked at every so many timesteps, and said to be silent or everywhere after so many looks."""
EVERYWHERE = 0.95
"""Share of a layer's neurons that fire."""


class FiringWatch:
    """Looks at a network's spikes now and then.

    Args:
        network: the network.
        counters: where it is said.
    """

    def __init__(self, network: Network, counters: SessionCounters) -> None:
        self._network = network
        self._counters = counters
        self._timesteps = 0
        self._silent: dict[str, int] = {}  # layer → looks in a row
        self._everywhere: dict[str, int] = {}

    def look(self, events: int) -> None:
        """After a timestep of so many events."""
        self._timesteps += 1
        if self._timesteps % LOOK_EVERY or not events:
            return
        for name, share in self._network.firing().items():
            self._silent[name] = self._silent.get(name, 0) + 1 if not share else 0
            self._everywhere[name] = self._everywhere.get(name, 0) + 1 if share >= EVERYWHERE else 0
            if self._silent[name] == LOOKS:
                self._counters.warn(
                    f"silent/{name}",
                    f"no neuron of layer {name} has fired for {LOOKS * LOOK_EVERY} timesteps, so that nothing is "
                    "learned below it; use a larger network.input_scale or a lower network.threshold",
                )
            if self._everywhere[name] == LOOKS:
                self._counters.warn(
                    f"everywhere/{name}",
                    f"nearly all neurons of layer {name} have fired at each of {LOOKS * LOOK_EVERY} timesteps, so that "
                    "it tells nothing apart; use a smaller network.input_scale or a higher network.threshold",
                )

    def state_dict(self) -> State:
        """What was seen so far."""
        return {"timesteps": self._timesteps, "silent": dict(self._silent), "everywhere": dict(self._everywhere)}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._timesteps = take(state, "timesteps")
        self._silent, self._everywhere = dict(take(state, "silent")), dict(take(state, "everywhere"))
