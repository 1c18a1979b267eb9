"""GDumb: a memory that is filled greedily and balanced over the classes, and a network trained on it from scratch.

Prabhu, Torr, Dokania: "GDumb: A Simple Approach that Questions Our Progress in Continual Learning", ECCV 2020,
Algorithm 1. It learns nothing while the stream lasts: what it says then comes from the network as it was drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.memory import Sample, as_batch, in_one, pack_samples, samples, unpack_samples
from stream_ottt.replay.methods.online import Online
from stream_ottt.state import State, part, take, under


class GDumb(Online):
    """Before held-out samples are tested, OTTT_O learns the memory from the first weights on.

    It passes over the memory until as many samples were learned as the stream had: the same number of updates as a
    method that learns each sample once.
    """

    name = "gdumb"
    alone = True

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        self.kept: list[Sample] = []
        self.seen = 0
        self._first = {name: value.clone() for name, value in network.parameters.items()}
        self._fitted = 0

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        new = in_one(frames)
        logits = self.predict(new)
        for sample in samples(new, targets, logits):
            self.add(sample)
        return logits

    def add(self, sample: Sample) -> None:
        """Greedy and balanced: a class below its share is let in, at the cost of the class with the most samples."""
        self.seen += 1
        held = Counter(s.target for s in self.kept)
        classes = len(held | Counter([sample.target]))
        if held[sample.target] >= self.options.memory / classes:
            return
        if len(self.kept) >= self.options.memory:
            largest = max(held, key=lambda label: (held[label], -label))
            places = [i for i, s in enumerate(self.kept) if s.target == largest]
            del self.kept[places[int(self.rng.integers(len(places)))]]
        self.kept.append(sample)

    def before_test(self) -> None:
        if self._fitted == self.seen:
            return
        self._fitted = self.seen
        for name, value in self.network.parameters.items():
            value.copy_(self._first[name])
        self.network.weights_changed()
        self.optimizer.set_state({}, 0)
        left = self.seen
        while left > 0:
            order = self.rng.permutation(len(self.kept))[:left]
            for at in range(0, len(order), self.batch_size):
                batch = [self.kept[i] for i in order[at : at + self.batch_size]]
                super().learn(*as_batch(batch, next(iter(self.network.parameters.values()))))
            left -= len(order)

    def state_dict(self) -> State:
        memory = {"seen": self.seen, "fitted": self._fitted, **pack_samples(self.kept)}
        return super().state_dict() | under("memory", memory)

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        memory = part(state, "memory")
        self.seen, self._fitted = take(memory, "seen"), take(memory, "fitted")
        self.kept = unpack_samples(memory)
