"""What every sink is: a consumer of step results, opened before the first and closed after the last.

Each runs in an event loop in a thread of its own and may block there. One that fails is reported and tried again; it
never stops the learning, the other sinks or the run's event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from stream_ottt.events.packet import EventArray
from stream_ottt.events.timestep import StepResult
from stream_ottt.settings import Settings
from stream_ottt.state import State

if TYPE_CHECKING:
    from stream_ottt.learning.session import Session
    from stream_ottt.pipeline.view import RunView


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
        gives_labels: True when a person can give labels in it, through ``run.controls.label_now``.
        in_main_thread: True when it must run in the main thread, and so must not block.
        looks: True when :meth:`look` is to be called.
        takes_events: True when :meth:`take_events` is to be called.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SinkConfig]] = SinkConfig
    schemes: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False
    in_main_thread: ClassVar[bool] = False
    looks: ClassVar[bool] = False
    gives_labels: bool = False
    takes_events: bool = False

    def __init__(self, config: SinkConfig) -> None:
        self.config = config

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """Build from loose options. Raises UsageError naming a wrong key and its near miss."""
        return cls(cls.Config.load(options, where="sink"))

    def check(self, *, overwrite: bool) -> None:  # noqa: B027 - most sinks write no file
        """Find out, before anything is opened, what would be refused.

        Args:
            overwrite: whether an output that exists may be written anew.

        Raises:
            OutputError: the target cannot be written, or exists.
        """

    async def open(self, run: RunView) -> None:  # noqa: B027 - most sinks need no set-up
        """Called once before the first result.

        Args:
            run: what may be known of the run and done to it, at any time.

        Raises:
            OutputError: the target cannot be written.
        """

    @abstractmethod
    async def consume(self, result: StepResult) -> None:
        """Take one step's result. Called in stream order, never concurrently.

        Raises:
            OutputError: it was not taken. It is given once more after a pause.
        """

    def rest(self) -> float:
        """Seconds for which it can wait for more, asked once it has taken all that came; 0 to have each as it comes.

        What comes meanwhile waits in its queue. A run that ends, or waits for its sinks, ends the rest.
        """
        return 0.0

    def look(self, session: Session, result: StepResult) -> None:  # noqa: B027 - most sinks do not
        """See the session after a timestep, in the learner's thread, where :attr:`looks` says so.

        The same result comes to :meth:`consume` afterwards. It must be short, change nothing and raise nothing.
        """

    def take_events(self, events: EventArray, size: tuple[int, int]) -> None:  # noqa: B027 - most sinks do not
        """Take events as they were recorded, in the binner's thread, where :attr:`takes_events` says so.

        Args:
            events: [n] well-formed, non-decreasing in t over the run, before the filters; of the first pass.
            size: (width, height) of the sensor, pixels.

        It must raise nothing.
        """

    async def settle(self) -> State:
        """Make what was taken so far outlast this process, and say what :meth:`go_on` needs to write behind it.

        Called in stream order, as :meth:`consume`.
        """
        return {}

    def go_on(self, state: State | None, step: int) -> None:  # noqa: B027 - most sinks need nothing
        """Go on from what :meth:`settle` gave in another process, None where it did not come to that.

        Called before :meth:`open`.

        Args:
            state: what it gave.
            step: index of the first timestep whose result will come; what was written of it and later ones is to go.

        Raises:
            OutputError: what was written then is no longer there.
        """

    async def close(self, summary: dict[str, Any] | None) -> None:  # noqa: B027 - most sinks need no tear-down
        """Called once after the last result, also after Ctrl-C or an error.

        Args:
            summary: the run's summary (schema in docs/summary.md), or None when the run never began.
        """
