"""From raw frames to the network's input: augmentation, then normalization."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import UsageError
from stream_ottt.replay.config import TransformConfig
from stream_ottt.replay.framing import Raw

Frames = npt.NDArray[np.float32]
"""[T or 1, channels, height, width]."""


class Transform:
    """What ``config`` says, for frames of one size.

    Args:
        config: the steps.
        size: (height, width) of the result; None keeps the frames' own.
    """

    def __init__(self, config: TransformConfig, size: tuple[int, int] | None = None) -> None:
        self.config = config
        self.size = size
        self._mean = np.asarray(config.mean, np.float32)[:, None, None]
        self._std = np.asarray(config.std, np.float32)[:, None, None]

    def __call__(self, raw: Raw, rng: np.random.Generator | None = None) -> Frames:
        """Transform one sample, with random augmentation when ``rng`` is given."""
        c = self.config
        if c.resized_crop:
            raw = self._resized_crop(raw, rng)
        x = raw.astype(np.float32)
        if rng is not None:
            x = self._augment(x, rng)
        if c.scale != 1:
            x *= np.float32(c.scale)
        if c.mean:
            if len(c.mean) != x.shape[1]:
                raise UsageError(f"transform.mean has {len(c.mean)} values; the frames have {x.shape[1]} channels")
            x -= self._mean
            x /= self._std
        return x

    def _augment(self, x: Frames, rng: np.random.Generator) -> Frames:
        c = self.config
        height, width = x.shape[-2:]
        if c.crop:
            padded = np.pad(x, ((0, 0), (0, 0), (c.crop, c.crop), (c.crop, c.crop)))
            top, left = rng.integers(2 * c.crop + 1, size=2)
            x = padded[:, :, top : top + height, left : left + width]
        if c.flip and rng.random() < 0.5:
            x = x[..., ::-1]
        x = np.ascontiguousarray(x)
        if c.cutout:
            half = c.cutout // 2
            cy, cx = rng.integers(height), rng.integers(width)
            x[..., max(cy - half, 0) : cy + half, max(cx - half, 0) : cx + half] = 0
        return x

    def _resized_crop(self, raw: Raw, rng: np.random.Generator | None) -> Raw:
        import cv2

        height, width = raw.shape[-2:]
        out_h, out_w = self.size or (height, width)
        if rng is None:
            # The middle of the image scaled to 8/7 of the size: 256 → 224.
            scale = 8 / 7 * max(out_h / height, out_w / width)
            h, w = min(round(out_h / scale), height), min(round(out_w / scale), width)
            top, left = (height - h) // 2, (width - w) // 2
        else:
            area = height * width * rng.uniform(0.08, 1)
            aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            h = int(np.clip(round(np.sqrt(area / aspect)), 1, height))
            w = int(np.clip(round(np.sqrt(area * aspect)), 1, width))
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        cut = raw[:, :, top : top + h, left : left + w]
        resized = [
            cv2.resize(np.ascontiguousarray(f.transpose(1, 2, 0)), (out_w, out_h), interpolation=cv2.INTER_AREA)
            for f in cut
        ]
        # One channel comes back from OpenCV without its axis.
        return np.stack(resized).reshape(len(raw), out_h, out_w, raw.shape[1]).transpose(0, 3, 1, 2)
