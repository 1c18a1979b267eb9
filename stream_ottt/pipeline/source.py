"""What every source is: an asynchronous iterator of event packets, and what it knows of itself.

A source that reads a file, or makes its events, writes one synchronous generator,
:meth:`BlockingSource.packets`; reading it off the event loop is done here.
A live source (socket, camera) subclasses :class:`Source` and is asynchronous itself.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket, Ledger
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.excerpt import as_asked, from_its_first
from stream_ottt.pipeline.off_the_loop import off_the_loop
from stream_ottt.settings import Duration, Settings, parse_duration_us
from stream_ottt.state import State

SizeFrom = Literal["file", "option", "camera", "sender", "guess"]
"""Where a sensor's size comes from: the recording says it, the user said it, the camera (or the data set) is known by
its name, or nothing says it."""


def parse_shift(value: object) -> object:
    """``"auto"``, or a duration in µs that may be negative, such as ``"-1.5s"``."""
    if isinstance(value, int) or value == "auto" or value is None:
        return value
    text = str(value).strip()
    if text.lstrip("+-").isdecimal():
        return int(text)  # µs, as a recording says its times
    duration = parse_duration_us(text.lstrip("+-"))
    return -duration if text.startswith("-") else duration


class SourceConfig(Settings):
    """Options that a source takes, as ``?key=value`` of its URI or keys of its table.

    Attributes:
        tolerance: events up to this much (µs, ``"10ms"``) older than the newest one before them are put in their place.
    """

    tolerance: Duration = 0


class FileConfig(SourceConfig):
    """Options of a source that reads one file.

    Attributes:
        path: the file.
        sort: puts the events of the whole recording in order of time.
        shift: ``auto`` moves the first event to 0; a number of µs (or ``"-1.5s"``) is added to all times.
        from_: given as ``from``; leaves out what comes before, counted from the recording's first event.
        to: leaves out what comes at this time or after, counted from the recording's first event.
    """

    shift: Annotated[int | Literal["auto"] | None, BeforeValidator(parse_shift)] = None
    from_: Duration | None = Field(default=None, alias="from")
    to: Duration | None = None
    sort: bool = False
    path: Path
    tolerance: Duration = 10_000

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ is not None and self.to is not None and self.to <= self.from_:
            raise ValueError("from= must lie before to=")
        return self


class Source(ABC):
    """Where events come from. ``async for packet in source`` yields :class:`EventPacket` until the stream ends.

    Class attributes:
        name: the short name in the registry; also the ``format`` that ``info`` shows.
        Config: the pydantic model of its options.
        schemes: URI schemes that mean this source (empty for file formats).
        reads_files: True when the source takes a path and takes part in format recognition.
        live: True when the source cannot wait: an overflow policy then decides.
        gives_labels: True when labels come with the stream: it then calls ``on_label`` for each, in the event loop.

    Attributes:
        on_label: takes a label that came with the stream; None while nobody wants any.
        size_from: where the sensor's size comes from; right once the first packet has come.
        fits: options of another sensor, such as ``chip=davis346``, that fit where those that were given do not.
        named: whether the recording names its columns, so that ``columns=`` is of no use.
        untimed: events so far whose time the recording does not say, as it began without one; their time is negative.
    """

    name: ClassVar[str]
    Config: ClassVar[type[SourceConfig]]
    schemes: ClassVar[tuple[str, ...]] = ()
    reads_files: ClassVar[bool] = False
    live: ClassVar[bool] = False
    gives_labels: ClassVar[bool] = False

    def __init__(self, config: SourceConfig) -> None:
        self.config = config
        self.on_label: Callable[[LabelInterval], None] | None = None
        self.size_from: SizeFrom = "sender" if self.live else "file"
        self.fits = ""
        self.named = False
        self.untimed = 0

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """Build from loose options. Raises UsageError naming a wrong key and its near miss."""
        return cls(cls.Config.load(options, where="source"))

    def check(self) -> None:  # noqa: B027 - most sources find out when they are opened
        """Find out at once, before anything else of a run is begun, whether there is what it reads.

        Raises:
            InputError: there is not.
        """

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """Whether a file whose first 4 KiB are ``head`` (empty for a directory) is in this format."""
        return False

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[EventPacket]:
        """Start the stream from its beginning. Iterating again starts again (another pass)."""

    @property
    def synchronous(self) -> bool:
        """Whether ``packets()`` gives the whole stream, so that a thread can read it without the event loop."""
        return False

    def take_notes(self, inner: Source) -> None:
        """What another source, which reads in this one's place, has found out while it read."""
        self.size_from, self.fits, self.named, self.untimed = inner.size_from, inner.fits, inner.named, inner.untimed

    @property
    def options(self) -> SourceConfig:
        """The options that the recording is read with."""
        return self.config

    @property
    def labels(self) -> Sequence[LabelInterval] | None:
        """The source's own labels, known once iteration has begun, or None when it has none."""
        return None

    @property
    def class_names(self) -> dict[int, str]:
        """Names of its own classes, where it has any."""
        return {}

    @property
    def coming_classes(self) -> list[int]:
        """The labels of which it is known beforehand that they will come with the stream."""
        return []

    def describe(self) -> dict[str, Any]:
        """Facts beside the events for ``info``: other streams, the camera's name. JSON-ready."""
        return {}

    def statistics(self) -> dict[str, Any]:
        """What a live source has counted so far beside events: messages, losses, interruptions. JSON-ready."""
        return {}

    def accounts(self) -> list[Ledger]:
        """Of each of several sources, the events that were read and not given on: held, late, malformed or dropped."""
        return []

    def share_read(self, t: int = 0) -> float | None:
        """How much of the present pass has been read, 0 … 1; None where that is not known. From any thread.

        Args:
            t: time of the latest event, µs. Where a source's own labels are known, these say where it ends.
        """
        labels = self.labels
        return min(max(t / labels[-1].t_end, 0.0), 1.0) if labels else None

    def parts(self) -> dict[str, Any]:
        """Facts of each source by its name, where this one is made of several. JSON-ready."""
        return {}

    def state_dict(self) -> State:
        """What it has counted up to the packet that it gave last, for :meth:`load_state_dict`."""
        return {}

    def load_state_dict(self, state: State, pass_number: int, events: int) -> None:  # noqa: B027 - most count nothing
        """Go on from :meth:`state_dict`, before the first pass.

        Args:
            state: the state.
            pass_number: the pass in which it was taken.
            events: how many events it had given in that pass.
        """


class BlockingSource(Source):
    """A source that reads or makes its events synchronously, packet by packet, in bounded memory."""

    @abstractmethod
    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning. Yields packets of about ``PACKET_EVENTS`` events.

        Raises:
            InputError: at the first damage, after everything good before it was yielded; with the byte offset.
        """

    @property
    def synchronous(self) -> bool:
        return True

    def excerpt(self) -> Iterator[EventPacket]:
        """The stream as the user wants it: :meth:`packets`, sorted, cut out and moved as the options say.

        Raises:
            InputError: as :meth:`packets`.
            UsageError: ``shift`` for a labelled collection, whose labels would stay where they are.
        """
        config = self.config
        if not isinstance(config, FileConfig):
            yield from self.packets()
            return
        if config.from_ is None or config.sort:
            origin, packets = None, self.packets()
        else:
            origin = self.origin()
            packets = self.packets_from(origin + config.from_)
        if config.shift is not None:
            packets = self._unlabelled(packets, config.path)
        yield from as_asked(packets, config, origin, config.path)

    def origin(self) -> int:
        """Time of the first event whose time is not wrong, µs; 0 without events."""
        packets = self.packets()
        with closing(packets):  # type: ignore[type-var]  # packets() is a generator
            return from_its_first(packets, self.config.tolerance)[0]

    def packets_from(self, start: int) -> Iterator[EventPacket]:
        """:meth:`packets`, from where a format with an index finds the events of ``start`` (µs): all of them and those
        after, in bounded memory; earlier ones may be among them."""
        return self.packets()

    def _unlabelled(self, packets: Iterator[EventPacket], path: Path) -> Iterator[EventPacket]:
        for packet in packets:
            if self.labels is not None:
                raise UsageError(f"{path}: 'shift' is not for a labelled collection, which begins at 0 already")
            yield packet

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        async with aclosing(off_the_loop(self.excerpt())) as packets:
            async for packet in packets:
                yield packet


class FileSource(BlockingSource):
    """A source that reads a file."""

    reads_files = True
    Config = FileConfig
    config: FileConfig
    _opened: BinaryIO | None = None
    _rows: float | None = None

    @property
    def path(self) -> Path:
        """The file being read."""
        return self.config.path

    def open(self) -> BinaryIO:
        """Open the file for reading bytes. Raises InputError when it cannot be read."""
        try:
            self._opened = self.path.open("rb")
            return self._opened
        except OSError as e:
            raise self.fail(f"cannot be read: {e.strerror}; check the path") from e

    def rows_read(self, share: float) -> None:
        """Taken in the place of the file's position by :meth:`share_read`: of a format that is not read in order."""
        self._rows = share

    def share_read(self, t: int = 0) -> float | None:
        known = super().share_read(t)
        if known is not None or self._rows is not None:
            return known if known is not None else self._rows
        if self._opened is None:
            return None
        try:
            return self._opened.tell() / (os.fstat(self._opened.fileno()).st_size or 1)
        except (OSError, ValueError):  # closed meanwhile
            return None

    def fail(self, message: str, offset: int | None = None) -> InputError:
        """An InputError about this file, to be raised by the caller."""
        return InputError(message, path=self.config.path, offset=offset)
