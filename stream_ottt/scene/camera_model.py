"""A model of an event camera: from images of light intensity to the events a DVS would send.

The pixel follows Rebecq et al., "ESIM: an Open Event Camera Simulator" (CoRL 2018) and Hu et al., "v2e: From
Video Frames to Realistic DVS Events" (CVPR Workshops 2021), reduced to what shapes the events of a well-lit
scene::

    L = log(I + eps)                                       log intensity
    ON  event when L − L_ref ≥  θ_on,  then L_ref += θ_on
    OFF event when L − L_ref ≤ −θ_off, then L_ref −= θ_off

Between two images L is taken to change linearly, so an event is timed where that line crosses the threshold,
and one pixel can cross several in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EventArray, make_events

MIN_THRESHOLD = 0.01
"""Thresholds drawn below this are set to it: a pixel of no threshold would send events without end."""

LONG_AGO_US = -(2**61)

Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]
"""Pixel numbers (y · width + x), times in µs, polarities."""


class EventCamera:
    """Turns images into events. The same seed and the same images give the same events.

    Args:
        width, height: pixels of the sensor.
        threshold_on, threshold_off: mean contrast thresholds θ, in units of log intensity.
        mismatch: standard deviation of θ from pixel to pixel, drawn once for each polarity (as in v2e).
        refractory_us: a crossing sooner than this after the pixel's last event moves L_ref but sends nothing
            (as in ESIM), µs.
        noise_hz: background activity: events per second and pixel, a Poisson process of either polarity. It
            neither moves L_ref nor starts a refractory period.
        eps: the intensity below which the logarithm flattens, in the units of the images.
        seed: of the thresholds and the noise.

    Raises:
        ValueError: a size, threshold, rate or time out of range.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        threshold_on: float = 0.25,
        threshold_off: float = 0.25,
        mismatch: float = 0.03,
        refractory_us: int = 300,
        noise_hz: float = 0.1,
        eps: float = 0.01,
        seed: int = 0,
    ) -> None:
        if not (0 < width < 2**15 and 0 < height < 2**15):
            raise ValueError(f"sensor of {width}×{height} pixels; each side must be in [1, 32767]")
        if min(threshold_on, threshold_off) < MIN_THRESHOLD or eps <= 0:
            raise ValueError(f"thresholds must be at least {MIN_THRESHOLD}, and eps above 0")
        if min(mismatch, refractory_us, noise_hz) < 0:
            raise ValueError("mismatch, refractory_us and noise_hz must not be negative")
        self.width = width
        self.height = height
        self.refractory_us = refractory_us
        self.noise_hz = noise_hz
        self.eps = np.float32(eps)
        self.seed = seed
        mean = [[threshold_off], [threshold_on]]
        theta = np.random.default_rng((seed, 0)).normal(mean, mismatch, (2, height * width))
        theta = np.maximum(theta, MIN_THRESHOLD).astype(np.float32)
        self._step_off, self._step_on = -theta[0], theta[1]  # what an event adds to L_ref, [pixels]
        self.reset()

    def reset(self, noise_seed: int | Sequence[int] | None = None) -> None:
        """Forget all images. The thresholds stay: they are the camera.

        Args:
            noise_seed: begins another course of noise; None begins the same one again.
        """
        self._noise = np.random.default_rng((self.seed, 1) if noise_seed is None else noise_seed)
        self._t: int | None = None
        self._level = np.zeros(0, np.float32)  # L of the last image, [pixels]
        self._ref = self._level  # L_ref, [pixels]
        self._last = np.full(self.height * self.width, LONG_AGO_US)  # time of each pixel's last event, µs

    def feed(self, image: npt.NDArray[np.float32], t: int) -> EventArray:
        """See the next image.

        Args:
            image: float32 [height, width], linear intensity ≥ 0 (about 1 for white with the default ``eps``).
            t: its time, µs.

        Returns:
            The events of [time of the last image, t), in order of time; no events for the first image, which
            sets L_ref.

        Raises:
            ValueError: another shape, a negative or non-finite intensity, or a time not after the last
                image's.
        """
        if image.shape != (self.height, self.width):
            raise ValueError(f"image of shape {image.shape}; expected {(self.height, self.width)}")
        if not (image.min() >= 0 and image.max() < np.inf):
            raise ValueError("image with a negative or non-finite intensity")
        level = np.log(image.ravel().astype(np.float32, copy=False) + self.eps)
        if self._t is None:
            self._ref = level.copy()
            pixel, time, on = _none()
        elif t <= self._t:
            raise ValueError(f"image at {t} µs after one at {self._t} µs; times must increase")
        else:
            columns = (self._crossings(level, self._t, t), self._background(self._t, t))
            pixel, time, on = (np.concatenate(c) for c in zip(*columns, strict=True))
            order = np.argsort(time, kind="stable")
            pixel, time, on = pixel[order], time[order], on[order]
        self._level, self._t = level, t
        y, x = np.divmod(pixel, self.width)
        return make_events(x.astype(np.int16), y.astype(np.int16), time, on)

    def _crossings(self, level: npt.NDArray[np.float32], t0: int, t: int) -> Columns:
        """The events by which L_ref follows ``level``, and L_ref moved with them."""
        change = level - self._ref
        pixel = np.flatnonzero((change >= self._step_on) | (change <= self._step_off))
        if not len(pixel):
            return _none()
        gap = change[pixel].astype(np.float64)
        on = gap > 0
        step = np.where(on, self._step_on[pixel], self._step_off[pixel]).astype(np.float64)
        crossed = (gap / step).astype(np.int64)
        k = np.arange(1, crossed.max() + 1)[:, None]

        # [k, pixel]: where on the line from the last image to this one the k-th threshold lies. Rounding of
        # L_ref can leave a crossing to an image that brings no change of its own; it is timed at the start.
        ref, before = self._ref[pixel].astype(np.float64), self._level[pixel].astype(np.float64)
        rise = level[pixel] - before
        rise[rise == 0] = np.inf
        time = ((ref - before + k * step) / rise * (t - t0)).astype(np.int64)
        time = np.minimum(np.maximum(time, 0), t - t0 - 1) + t0

        sent = k <= crossed
        last = self._last[pixel]
        for j in range(len(k)):
            sent[j] &= time[j] - last >= self.refractory_us
            last = np.where(sent[j], time[j], last)
        self._last[pixel] = last
        self._ref[pixel] = ref + crossed * step
        column = np.nonzero(sent)[1]
        return pixel[column], time[sent], on[column]

    def _background(self, t0: int, t: int) -> Columns:
        """Noise events of [t0, t): Poisson in number, uniform over time, pixels and polarities."""
        if self.noise_hz == 0:
            return _none()
        pixels = self.height * self.width
        n = int(self._noise.poisson(self.noise_hz * pixels * (t - t0) * 1e-6))
        pixel, time, on = self._noise.random((3, n)) * [[pixels], [t - t0], [2]]
        return pixel.astype(np.int64), t0 + time.astype(np.int64), on >= 1


def _none() -> Columns:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)
