"""Dark experience replay (DER++): remembered samples are held to the logits that they had, and to their labels.

    L[t] = L(o[t], y)  +  (α / T) mse(o'[t], z'[t])  +  β L(o''[t], y'')

' and '' are two draws from a reservoir; z' are the logits that the sample had at the same timestep when it was learned.
Buzzega et al.: "Dark Experience for General Continual Learning: a Strong, Simple Baseline", NeurIPS 2020, Eq. 6. There
L is the cross-entropy; here it is the learner's loss of a timestep, and each term is a mean over its samples.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.replay.methods.er import ER
from stream_ottt.replay.methods.memory import as_batch, in_one, samples
from stream_ottt.replay.methods.online import Online


class DERpp(ER):
    """OTTT_O with DER++'s loss; as many samples in each draw as are new."""

    name = "derpp"

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        new = in_one(frames)
        held, again = (self.memory.draw(len(targets), self.rng) for _ in range(2))
        batch, labels = new, targets
        self._then = torch.zeros(0)
        self._new = len(targets)
        if held:
            self._then = torch.stack([s.logits for s in held], dim=1).to(new.device)
            for drawn in (held, again):
                remembered, theirs = as_batch(drawn, new)
                batch, labels = torch.cat([batch, remembered], dim=1), torch.cat([labels, theirs])
        logits = Online.learn(self, batch, labels)[:, : len(targets)]
        for sample in samples(new, targets, logits):
            self.memory.add(sample, self.rng)
        return logits

    def loss(self, logits: Tensor, targets: Tensor, t: int) -> Tensor:
        n, options = self._new, self.options
        value = super().loss(logits[:n], targets[:n], t)
        if not len(self._then):
            return value
        m = n + self._then.shape[1]
        value = value + options.der_alpha * F.mse_loss(logits[n:m], self._then[t]) / self.config.time_steps
        return value + options.der_beta * super().loss(logits[m:], targets[m:], t)
