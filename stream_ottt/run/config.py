"""The settings of a run: defaults, then a preset or a TOML file, then dotted overrides, validated as one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from stream_ottt.engine.config import EngineConfig
from stream_ottt.errors import UsageError
from stream_ottt.events.config import BinningConfig
from stream_ottt.filters.chain import parse_filter
from stream_ottt.labels.evaluation import EvaluationConfig
from stream_ottt.labels.timeline import LabelsConfig
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.pipeline.pace import parse_speed
from stream_ottt.run.presets import Tables
from stream_ottt.settings import LONGEST_US, Duration, Settings, Threads, Unit, parse_duration_us

Side = Annotated[int, Field(ge=1, le=2**15)]


class StreamConfig(Settings):
    """How the stream is run.

    Attributes:
        sources: further sources beside the one that is given first; the learner sees them as one stream
            (docs/sources.md).
        merge_wait: how long an event of a live source waits for those of the others, which may be on their way; what
            is older than what has gone on is late.
        plane: width and height of the plane that several sources share, px; None for the smallest that holds them all.
        seed: of weights, dropout, rehearsal and shuffles.
        speed: ``"max"``, or stream seconds per wall second such as ``"1x"``.
        passes: how often the stream is seen; only the first pass is scored.
        max_steps: stop after this many timesteps; None runs to the end.
        threads: of torch.
        overflow: what happens to packets while the learner is busy: ``block`` waits, ``drop-oldest`` and
            ``drop-newest`` count and drop, ``auto`` blocks for files and drops the oldest for live sources.
        queue_events: events that may wait between source and learner before that happens.
        queue_span: event time that may wait there in a live stream, which bounds how late a slow learner can be.
        patience: how long a live source may send nothing before a window whose end has passed is closed without it.
        grace: how long source and sinks have to come back when the run ends.
        checkpoint_every: time from one checkpoint to the next, or a number of timesteps such as ``"1000"``.
        keep_checkpoints: how many of them stay.
        control: address to take commands at, such as ``zmq+rep://127.0.0.1:5557`` (docs/feed.md); None takes none.
    """

    sources: tuple[str, ...] = ()
    merge_wait: Duration = Field(50_000, ge=1000, le=60_000_000)
    plane: Annotated[tuple[Side, Side] | None, Unit("px")] = None
    seed: int = Field(0, ge=0, lt=2**63)
    speed: float | Literal["max"] = "max"
    passes: int = Field(1, ge=1, le=1_000_000)
    max_steps: int | None = Field(None, ge=1, le=2**62)
    threads: Threads = 1
    overflow: Literal["auto", "block", "drop-oldest", "drop-newest"] = "auto"
    queue_events: Annotated[int, Unit("events")] = Field(1 << 18, ge=1, le=2**31)
    queue_span: Duration = Field(2_000_000, ge=1000)
    patience: Duration = Field(500_000, ge=1000)
    grace: Duration = Field(2_000_000, ge=0, le=3_600_000_000)
    checkpoint_every: str = "30s"
    keep_checkpoints: int = Field(3, ge=1, le=1000)
    control: str | None = None

    @field_validator("checkpoint_every", mode="before")
    @classmethod
    def _every(cls, value: object) -> object:
        parse_every(str(value))
        return str(value)

    @field_validator("speed", mode="before")
    @classmethod
    def _speed(cls, value: object) -> object:
        try:
            speed = parse_speed(str(value))
        except UsageError as e:
            raise ValueError(str(e)) from e
        return "max" if speed is None else speed


def parse_every(text: str) -> tuple[float | None, int | None]:
    """Seconds, or timesteps, from one checkpoint to the next: ``"30s"`` or ``"1000"``.

    Raises:
        ValueError: neither, or nothing at all.
    """
    if text.strip().isdecimal():
        if not 0 < int(text) < 2**62:
            raise ValueError("expected one timestep or more")
        return None, int(text)
    us = parse_duration_us(text)
    if not 10_000 <= us <= LONGEST_US:
        raise ValueError("expected 10ms or more, or a number of timesteps")
    return us / 1e6, None


class RunConfig(Settings):
    """All settings of ``stream-ottt run``. The source is given beside it."""

    stream: StreamConfig = StreamConfig()
    binning: BinningConfig = BinningConfig()
    network: NetworkConfig = NetworkConfig()
    learner: LearnerConfig = LearnerConfig()
    engine: EngineConfig = EngineConfig()
    rehearsal: RehearsalConfig = RehearsalConfig()
    labels: LabelsConfig = LabelsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("binning")
    @classmethod
    def _filters_there_are(cls, value: BinningConfig) -> BinningConfig:
        for spec in value.filters:
            parse_filter(spec)
        return value


def sources_of(first: str | None, config: RunConfig) -> list[str]:
    """All sources of a run: the one that is given first, then those of the settings.

    Raises:
        UsageError: there is none.
    """
    uris = [*([] if first is None else [first]), *config.stream.sources]
    if not uris:
        raise UsageError("no source was given; name a recording, a folder or an address, such as demo.aedat4")
    return uris


def parse_overrides(words: Iterable[str]) -> Tables:
    """Tables from ``--table.key VALUE`` or ``--table.key=VALUE`` words.

    A value is read as TOML where it is a number, a truth value or a list (``0.01``, ``true``, ``[16, 32, "AP2"]``),
    and else as text (``20ms``).

    Raises:
        UsageError: a word that is no dotted option, an option without a value, or one that is both a value and a table.
    """
    tables: Tables = {}
    pending = iter(words)
    for word in pending:
        key, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or "." not in key:
            raise UsageError(
                f"unknown option {word!r}; settings are given as --table.key VALUE, such as --learner.lr 0.01"
            )
        if not has_value:
            following = next(pending, None)
            if following is None:
                raise UsageError(f"option --{key} needs a value")
            value = following
        _put(tables, key.replace("-", "_"), _plain_value(value))
    return tables


def _put(tables: Tables, key: str, value: Any) -> None:
    *path, last = key.split(".")
    table = tables
    for i, part in enumerate(path):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise UsageError(f"option --{key}: {'.'.join(path[: i + 1])} has a value, so no keys are below it")
    if isinstance(table.get(last), dict):
        raise UsageError(
            f"option --{key}: {key} is a table; set one of its keys, such as --{key}.{next(iter(table[last]))}"
        )
    table[last] = value


def _plain_value(text: str) -> Any:
    try:
        values = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    plain = len(values) == 1 and isinstance(values["value"], (str, int, float, list))
    return values["value"] if plain else text  # dates, tables and several lines are text


def merge(*layers: Mapping[str, Any]) -> Tables:
    """Nested tables merged key by key, later ones on top."""
    out: Tables = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(out.get(key), dict):
                out[key] = merge(out[key], value)
            else:
                out[key] = merge(value) if isinstance(value, Mapping) else value
    return out


def to_tables(config: RunConfig) -> Tables:
    """A configuration as JSON- and TOML-ready tables, without what is None."""
    return config.model_dump(mode="json", exclude_none=True)
