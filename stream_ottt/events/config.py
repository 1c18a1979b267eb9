"""How events become timesteps: the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from stream_ottt.events.frames import parse_frame
from stream_ottt.settings import Duration, Pixels, Settings, format_duration


class BinningConfig(Settings):
    """How events become timesteps.

    Attributes:
        window: duration of a timestep.
        count: events in a timestep, instead of a fixed duration.
        width: of the frame, pixels; ``"sensor"`` for the sensor's own.
        height: of the frame, pixels; ``"sensor"`` for the sensor's own.
        reduce: how the sensor meets the frame: ``sum`` maps it onto the frame and adds up, ``letterbox`` does so
            without changing the aspect, ``crop`` takes the middle.
        polarity: ``both`` in a plane each (OFF, ON), or ``merged`` in one.
        frame: what a frame shows of its events (docs/filters.md): ``counts``, ``time-surface:?tau=50ms``,
            ``decay:?tau=50ms`` or ``voxel-2``.
        clamp: largest value of a pixel; None for no limit.
        silence: a gap between events of at least this begins a new sample, and is not filled with empty frames.
        filters: what leaves out or moves events before they are binned, in this order; each as ``NAME``,
            ``NAME:?option=value`` or a table with the key ``uri`` (docs/filters.md).
    """

    window: Duration = Field(20_000, ge=1)
    count: int | None = Field(None, ge=1, le=2**31)
    width: Pixels | Literal["sensor"] = 32
    height: Pixels | Literal["sensor"] = 32
    reduce: Literal["sum", "letterbox", "crop"] = "sum"
    polarity: Literal["both", "merged"] = "both"
    frame: str = "counts"
    clamp: int | None = Field(None, ge=1, le=2**31)
    silence: Duration = Field(1_000_000, ge=1)
    filters: tuple[str | dict[str, Any], ...] = ()

    @field_validator("filters", mode="before")
    @classmethod
    def _one_filter(cls, value: object) -> object:
        return (value,) if isinstance(value, (str, Mapping)) else value

    @field_validator("frame")
    @classmethod
    def _a_frame_there_is(cls, value: str) -> str:
        parse_frame(value)
        return value

    @model_validator(mode="after")
    def _silence_holds_a_window(self) -> BinningConfig:
        if self.count is None and self.silence < self.window:
            said = format_duration(self.silence), format_duration(self.window)
            raise ValueError("binning.silence ({}) must be at least binning.window ({})".format(*said))
        return self

    @property
    def polarities(self) -> int:
        """Polarities that are told apart."""
        return 2 if self.polarity == "both" else 1

    @property
    def planes(self) -> int:
        """Planes of a frame."""
        return self.polarities * parse_frame(self.frame)[0].planes_per_polarity

    def frame_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(planes, height, width) of the frames of a ``width`` × ``height`` sensor."""
        own_width = width if self.width == "sensor" else self.width
        own_height = height if self.height == "sensor" else self.height
        return self.planes, own_height, own_width
