"""What every sink is: a consumer of step results, opened before the first and closed after the last.

A sink that fails is reported, counted and left out; it never stops the learning or the other sinks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from stream_ottt.events.timestep import StepResult
from stream_ottt.settings import Settings

if TYPE_CHECKING:
    from stream_ottt.pipeline.progress import Progress


class SinkConfig(Settings):
    """Options that a sink takes.

    Attributes:
        target: the file or address after ``name:``; empty for a sink that needs none.
    """

    target: str = ""


class Sink(ABC):
    """Where predictions go.

    Class attributes:
        name: the short name in the registry.
        Config: the pydantic model of its options.
        schemes: URI schemes that mean this sink.
        optional: True when a run goes on, and ends well, without it: for what only shows.
        gives_labels: True when a person can give labels in it, through ``progress.label_hook``.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SinkConfig]] = SinkConfig
    schemes: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False
    gives_labels: ClassVar[bool] = False

    def __init__(self, config: SinkConfig) -> None:
        self.config = config

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """Build from loose options. Raises UsageError naming a wrong key and its near miss."""
        return cls(cls.Config.load(options, where="sink"))

    async def open(self, progress: Progress) -> None:  # noqa: B027 - most sinks need no set-up
        """Called once before the first result.

        Args:
            progress: live counters of the run, which the sink may read at any time and must not change.

        Raises:
            OutputError: the target cannot be written.
        """

    @abstractmethod
    async def consume(self, result: StepResult) -> None:
        """Take one step's result. Called in stream order, never concurrently."""

    async def close(self, summary: dict[str, Any] | None) -> None:  # noqa: B027 - most sinks need no tear-down
        """Called once after the last result, also after Ctrl-C or an error.

        Args:
            summary: the run's summary (schema in docs/summary.md), or None when the run never began.
        """
