"""What a protocol works with: data, loader, network and method of one run, built from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.images.base import Item
from stream_ottt.labels.score import Score
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.rehearsal import RehearsalMemory, Stretch, as_stored, cut
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer, build_optimizer
from stream_ottt.network.topologies import build_network
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.datasets.base import DataSet
from stream_ottt.replay.distributed import ReducingOptimizer, World
from stream_ottt.replay.framing import Raw
from stream_ottt.replay.loader import Loader
from stream_ottt.replay.methods import find_method
from stream_ottt.replay.methods.base import Method

TEST_BATCH = 50
"""Samples predicted at once by a network that takes batches."""


class Workbench:
    """Everything of one run but its protocol.

    Args:
        config: the settings.
        batches: batches of new samples that the whole run will learn, for the cosine schedule.
        world: the processes of this run.
        dataset: opened already, or None.

    Attributes:
        learned: batches of new samples so far.
        at: told before each how much of the run is done, 0 … 1.
    """

    def __init__(
        self, config: ReplayConfig, *, batches: int, world: World | None = None, dataset: DataSet | None = None
    ) -> None:
        self.config = config
        self.world = world or World()
        self.batches = batches
        self.learned = 0
        self._remembered = 0  # samples that went to the memory
        self.at: Callable[[float], None] = lambda share: None
        torch.set_num_threads(config.compute.threads)
        self.dataset = dataset or open_dataset(config.data)
        self.loader = Loader(self.dataset, config)
        method: type[Method] = find_method(config.method.name)
        if method.alone and self.world.size > 1:
            raise UsageError(f"method {method.name!r} follows one stream; it cannot be shared by processes")
        self.learner_config = self._learner_config(method, batches)
        self.network = self.fresh_network()
        self.network.to(self.loader.device)
        optimizer: Optimizer = build_optimizer(self.learner_config)
        if self.world.size > 1:
            optimizer = ReducingOptimizer(optimizer)
        self.method = method(
            self.network,
            optimizer,
            self.learner_config,
            config.method,
            batch_size=config.protocol.batch_size,
        )
        self.method.rng = np.random.default_rng([config.compute.seed, 5])
        seed = [config.compute.seed, 3]
        self.memory = RehearsalMemory(config.rehearsal.max_bytes, np.random.default_rng(seed))

    def _learner_config(self, method: type[Method], batches: int) -> LearnerConfig:
        """The settings of the learner; its cosine ends with the run's last update, those of rehearsal counted too."""
        c = self.config
        if c.learner.schedule != "cosine" or c.learner.schedule_steps:
            return c.learner
        whole = c.data.time_steps
        steps = method.updates(whole, c.learner)
        if c.rehearsal.mode == "ratio":
            parts = cut(whole, whole if self.dataset.static else c.rehearsal.stretch)
            steps += int(c.rehearsal.ratio) * sum(method.updates(p.stop - p.start, c.learner) for p in parts)
        return c.learner.model_copy(update={"schedule_steps": batches * steps})

    def fresh_network(self) -> Network:
        """The network as it is before training."""
        return build_network(
            self.config.network,
            input_shape=self.loader.shape(),
            classes=len(self.dataset.names),
            seed=self.config.compute.seed,
        )

    def plain_copy(self) -> Network:
        """A network of the plain kind, on the CPU, with the weights as they are now."""
        copy = self.fresh_network()
        for name, value in copy.parameters.items():
            value.copy_(self.method.network.parameters[name])
        copy.weights_changed()
        return copy

    @property
    def learner(self) -> OnlineLearner:
        """Network and optimizer as what a checkpoint holds."""
        return OnlineLearner(self.method.network, self.method.optimizer, self.learner_config)

    # --- learning and testing ----------------------------------------------------------------------------------------

    def learn(self, items: Sequence[Item], augment: Sequence[tuple[int, int]]) -> int:
        """Learn one batch of new samples; how many of this process's were classified correctly while it learned."""
        self.at(min(self.learned / max(self.batches, 1), 1.0))
        self.learned += 1
        pairs, share = self.world.share(list(zip(items, augment, strict=True)))
        if isinstance(self.method.optimizer, ReducingOptimizer):
            self.method.optimizer.share = share
        own, seeds = [i for i, _ in pairs], [s for _, s in pairs]
        frames, targets = self.loader.batch(own, augment=seeds)
        said = self.method.learn(frames, targets).mean(0).argmax(1)
        return int((said == targets).sum()) if share else 0

    def rehearse(self, items: Sequence[Item], raws: Sequence[Raw], *, learn: bool = True) -> None:
        """Remember new samples in stretches, then learn ``rehearsal.ratio`` batches of remembered stretches for each
        stretch of a sample; without ``learn`` only draw them, so that a resumed run goes on with the same draws."""
        how = self.config.rehearsal
        if how.mode != "ratio":
            return
        due = 0
        for item, raw in zip(items, raws, strict=True):
            parts = cut(len(raw), how.stretch)
            due = len(parts)
            for part in parts:
                counts = np.issubdtype(raw.dtype, np.integer)
                frames = as_stored(raw[part]) if counts else raw[part].copy()
                self.memory.store(Stretch(frames, item.label, self._remembered))
            self._remembered += 1
        for _ in range(int(how.ratio) * due):
            drawn = [self._draw() for _ in range(self.config.protocol.batch_size)]
            kept = [s for s in drawn if s is not None]
            if kept and learn:
                self._learn_again(kept)

    def _draw(self) -> Stretch | None:
        """A remembered stretch, seen from a little aside where the settings say so."""
        stretch, how = self.memory.draw(), self.config.rehearsal
        return None if stretch is None else Stretch(self.memory.varied(stretch, how), stretch.label)

    def _learn_again(self, stretches: Sequence[Stretch]) -> None:
        """Learn remembered stretches as one batch, as long as the shortest of them."""
        length = min(len(s.frames) for s in stretches)
        items = [Item(s.label, "", None) for s in stretches]
        steps = None if self.dataset.static else length
        frames, targets = self.loader.tensors([s.frames[:length] for s in stretches], items, time_steps=steps)
        self.method.learn(frames, targets)

    def say(self, items: Sequence[Item], raws: Sequence[Raw]) -> list[int]:
        """The class of each sample, from the mean of its logits over time; nothing is learned."""
        frames, _ = self.loader.tensors(raws, items)
        return self._classes(frames)

    def _classes(self, frames: Tensor) -> list[int]:
        said: list[int] = self.method.predict(frames).mean(0).argmax(1).tolist()
        return said

    def test(self, items: Sequence[Item], *, time_steps: int | None = None) -> Score:
        """Classify ``items`` with learning off, shared among the processes."""
        self.method.before_test()
        batched = type(self.method.network) is Network
        size = TEST_BATCH if batched else 1
        own = items[self.world.rank :: self.world.size]
        score = Score()
        for at in range(0, len(own), size):
            part = own[at : at + size]
            frames, _ = self.loader.batch(part, time_steps=time_steps)
            for item, said in zip(part, self._classes(frames), strict=True):
                score.add(item.label, said)
        if self.world.size == 1:
            return score
        n = len(self.dataset.names)
        counts = [float(score.table.get((a, b), 0)) for a in range(n) for b in range(n)]
        summed = self.world.total(counts)
        return Score({divmod(i, n): int(c) for i, c in enumerate(summed) if c})
