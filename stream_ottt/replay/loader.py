"""Batches for the network: items to tensors, in an order and with augmentation that follow from the seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_ottt.images.base import Item
from stream_ottt.network.device import find_device
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets.base import DataSet
from stream_ottt.replay.framing import Raw
from stream_ottt.replay.transforms import Transform


class Loader:
    """Reads a data set as a network wants it.

    Args:
        dataset: the data.
        config: its ``data``, ``transform`` and ``compute`` tables.
    """

    def __init__(self, dataset: DataSet, config: ReplayConfig) -> None:
        self.dataset = dataset
        self.seed = config.compute.seed
        self.device = find_device(config.compute.device, key="compute.device")
        self.time_steps = config.data.time_steps
        size = config.data
        self.transform = Transform(config.transform, (size.height, size.width) if size.height and size.width else None)

    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network's input."""
        _, channels, height, width = self.transform(self.dataset.raw(self.dataset.train[0])).shape
        return channels, height, width

    def order(self, n: int, epoch: int) -> list[int]:
        """A shuffled order of n items, the same for a seed and an epoch."""
        order: list[int] = np.random.default_rng([self.seed, 1, epoch]).permutation(n).tolist()
        return order

    def batch(
        self, items: Sequence[Item], *, augment: Sequence[tuple[int, int]] | None = None, time_steps: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Some items as a batch.

        Args:
            items: which.
            augment: for training, (epoch, position in the part) of each: the seeds of its random transforms.
            time_steps: T of static images, when not the settings'.

        Returns:
            Frames float32 [T, batch, channels, height, width] (equal frames share their memory), targets int64 [batch].
        """
        return self.tensors([self.dataset.raw(i) for i in items], items, augment, time_steps)

    def tensors(
        self,
        raws: Sequence[Raw],
        items: Sequence[Item],
        augment: Sequence[tuple[int, int]] | None = None,
        time_steps: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`batch`, of raw frames at hand."""
        seeds: Sequence[tuple[int, int] | None] = augment or [None] * len(items)
        frames: list[npt.NDArray[np.float32]] = []
        for raw, seed in zip(raws, seeds, strict=True):
            rng = None if seed is None else np.random.default_rng([self.seed, 2, *seed])
            frames.append(self.transform(raw, rng))
        x = torch.from_numpy(np.stack(frames, axis=1)).to(self.device)
        if len(x) == 1:
            x = x.expand(time_steps or self.time_steps, *x.shape[1:])
        return x, torch.tensor([i.label for i in items], device=self.device)
