"""Transforms of tonic's that a replay's settings name: between a sample's events and its frames.

Forms of a specification, as of filters::

    MergePolarities                                  a class of tonic.transforms with its defaults
    Denoise:?filter_time=10000                       its arguments as a query
    {uri = "CenterCrop", size = [24, 24]}            a table

``sensor_size`` is filled in where a class has it and it is not given. A class that makes frames of the events, such as
``ToTimesurface``, comes last; its frames take the place of our counts: the first T, with empty ones behind where
there are fewer. Times begin at 0 in each sample. What tonic draws at random is drawn once a sample, by the sample's key
alone.
"""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray
from stream_ottt.registry import near_miss, options_of
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.framing import Raw, frame_events, on_sensor

Spec = str | Mapping[str, Any]
Size = tuple[int, int]
"""(width, height), pixels."""

OF_TARGETS = ("Compose", "Repeat", "ToOneHotEncoding")
"""Classes of tonic.transforms that take no events."""

NUMBERS_OF_FRAMES = ("n_time_bins", "n_event_bins", "n_frames")
"""Arguments that say how many frames are made, which must then be T."""

TRIED = (34, 34)
"""Sensor on which the arguments are tried before a sample is there."""


class TonicTransforms:
    """A chain of tonic's transforms, made anew for each sample: some remember what they saw.

    Args:
        specs: one for each, in their order.
        config: the ``[data]`` table: how events become frames, where none of the transforms does it.

    Raises:
        UsageError: tonic is not installed, has no such class, or the class does not take these arguments.
    """

    def __init__(self, specs: Sequence[Spec], config: DataConfig) -> None:
        self.config = config
        try:
            import tonic.transforms as theirs
        except ImportError as e:
            raise UsageError("data.transforms needs a package: pip install 'stream-ottt[tonic]'") from e
        known = {
            name: one
            for name, one in vars(theirs).items()
            if inspect.isclass(one) and one.__module__ == theirs.__name__ and name not in OF_TARGETS
        }
        self._parts = [_parse(spec, known) for spec in specs]
        for part in self._parts:
            _make(*part, TRIED)

    @staticmethod
    def version() -> str:
        """Of tonic."""
        return version("tonic")

    def __call__(self, events: EventArray, sensor: Size, key: str) -> Raw:
        """Frames [T or 1, planes, height, width] of one sample.

        Args:
            events: [n], in any order of time; those outside the sensor are left out. They are not changed.
            sensor: (width, height).
            key: of the sample; what is random follows from it.

        Raises:
            UsageError: a transform fails, or gives neither events nor T frames.
        """
        events = on_sensor(events, sensor).copy()
        if len(events):
            events["t"] -= events["t"][0]
        value: Any = events
        before = ""
        with _seeded(zlib.crc32(key.encode())):
            for name, make, options in self._parts:
                if not len(value):
                    if name.startswith("To"):
                        raise UsageError(f"data.transforms: no event of sample {key!r} is left for {name}")
                    continue
                transform = _make(name, make, options, sensor)
                try:
                    value = transform(value)
                except Exception as e:  # of code that is not ours, with values that a person wrote
                    after = f" after {before}; what takes events comes before what makes frames" if before else ""
                    fault = f"{type(e).__name__}: {e}"
                    raise UsageError(f"data.transforms: {name} fails on sample {key!r}{after}: {fault}") from e
                sensor = _size_after(transform, sensor)
                before = "" if _is_events(value) else name
        return frame_events(_ours(value), sensor, self.config) if _is_events(value) else self._frames(value)

    def _frames(self, value: Any) -> Raw:
        """The frames that tonic made, as many as the settings say."""
        (name, _, options), steps = self._parts[-1], self.config.time_steps
        shape = tuple(np.shape(value)) if isinstance(value, np.ndarray) else ()
        if len(shape) not in (3, 4) or not np.issubdtype(value.dtype, np.number):
            raise UsageError(
                f"data.transforms: {name} gives neither events nor frames [T, planes, height, width] "
                f"(found {type(value).__name__} {list(shape)})"
            )
        width, height = self.config.width or shape[-1], self.config.height or shape[-2]
        if (height, width) != shape[-2:]:
            raise UsageError(
                f"data.transforms: {name} gives frames of {shape[-1]}×{shape[-2]} pixels, and data.width and "
                f"data.height say {width}×{height}; leave them out, or put a Downsample in front"
            )
        frames: Raw = value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
        if len(shape) == 3:
            return frames[None]
        if len(frames) != steps and any(key in options for key in NUMBERS_OF_FRAMES):
            raise UsageError(f"data.transforms: {name} gives {len(frames)} frames, and data.time_steps says {steps}")
        if len(frames) < steps:
            frames = np.concatenate([frames, np.zeros((steps - len(frames), *shape[1:]), frames.dtype)])
        return frames[:steps]


def _parse(spec: Spec, known: Mapping[str, Callable[..., Any]]) -> tuple[str, Callable[..., Any], dict[str, Any]]:
    if isinstance(spec, Mapping):
        if "uri" not in spec:
            example = '{uri = "Denoise", filter_time = 10000}'
            raise UsageError(f"data.transforms: a table needs the key 'uri', such as {example}")
        options = {key: value for key, value in spec.items() if key != "uri"}
        spec = str(spec["uri"])
    else:
        options = {}
    head, _, query = spec.partition("?")
    name = head.strip().removesuffix(":")
    if name not in known:
        raise UsageError(f"unknown transform {name!r} of tonic's{near_miss(name, known)}")
    options = {**{key: _value(text) for key, text in options_of(query).items()}, **options}
    takes = inspect.signature(known[name]).parameters
    for key in options:
        if key not in takes:
            raise UsageError(f"data.transforms: unknown key '{name}.{key}'{near_miss(key, takes)}")
    for key, parameter in takes.items():
        if key not in options and key != "sensor_size" and parameter.default is parameter.empty:
            raise UsageError(f"data.transforms: key '{name}.{key}' is required; write {name}:?{key}=…")
    return name, known[name], {key: _tuples(value) for key, value in options.items()}


def _make(name: str, make: Callable[..., Any], options: Mapping[str, Any], sensor: Size) -> Callable[[Any], Any]:
    takes = inspect.signature(make).parameters
    own = {"sensor_size": (*sensor, 2)} if "sensor_size" in takes else {}
    try:
        made: Callable[[Any], Any] = make(**{**own, **options})
    except (TypeError, ValueError, AssertionError) as e:
        raise UsageError(f"data.transforms: tonic's {name} does not take these arguments: {e}") from e
    return made


def _value(text: str) -> Any:
    """A number, a truth value or a list as JSON writes it; else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _tuples(value: Any) -> Any:
    """Lists as tuples, by which tonic tells a range from a number."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _is_events(value: Any) -> bool:
    return isinstance(value, np.ndarray) and {"x", "y", "t", "p"} <= set(value.dtype.names or ())


def _ours(value: npt.NDArray[Any]) -> EventArray:
    """Events of whatever types as EVENT_DTYPE."""
    if value.dtype == EVENT_DTYPE:
        return value
    events: EventArray = np.empty(len(value), EVENT_DTYPE)
    for name in EVENT_DTYPE.names or ():
        events[name] = value[name]
    return events


def _size_after(transform: Any, sensor: Size) -> Size:
    """The sensor that a transform leaves, by those of its arguments that change it."""
    size = getattr(transform, "target_size", None) or getattr(transform, "size", None)
    if size is not None:
        width, height = (size, size) if isinstance(size, int) else size
        return int(width), int(height)
    factor = getattr(transform, "spatial_factor", 1)
    fx, fy = factor if isinstance(factor, tuple) else (factor, factor)
    return int((sensor[0] - 1) * fx) + 1, int((sensor[1] - 1) * fy) + 1


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Numpy's common generator, which tonic draws from, set for a while."""
    kept = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(kept)  # noqa: NPY002
