"""``stream-ottt convert``: any recording into another event file format, packet by packet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stream_ottt.errors import InputError, OutputError, UsageError
from stream_ottt.events.clock import Clock
from stream_ottt.events.misfits import Misfits
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.chain import FilterChain, Spec, open_filters, parse_filter
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.pipeline.verdict import CURE_OF_TIMES, size_note, unusable
from stream_ottt.progress import Bar
from stream_ottt.registry import options_of, split_uri
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sinks.writers.base import EventWriter
from stream_ottt.sources.opening import open_source


def convert(
    source_uri: str, target: str, *, filters: Sequence[Spec] = (), force: bool = False, **times: str | None
) -> int:
    """Convert to the end.

    Args:
        source_uri: any source that has an end.
        target: a file whose ending names the format, or ``FILE?format=NAME``. It stands there once it is complete.
        filters: what leaves out or moves events, in this order.
        force: replace a file that exists.
        times: ``shift``, ``from`` and ``to``, as the source's options; None is not given.

    Returns:
        The exit code: 0, or 3 when the recording was damaged or held events that were left out (all good ones were
        written).

    Raises:
        UsageError: a source without an end, or a target of no known format.
        OutputError: the target exists, cannot be written, or cannot hold an event; nothing is left of it then.
    """
    path, writer_class = _writer_for(target)
    source = open_source({"uri": source_uri, **{k: v for k, v in times.items() if v is not None}})
    if not isinstance(source, BlockingSource):
        raise UsageError(f"{source_uri}: a live source has no end; record it with its own tools first")
    if path.exists() and path.resolve() == Path(split_uri(source_uri)[1]).resolve():
        raise UsageError(f"{target}: source and target are the same file; name another target")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is {'a folder' if path.is_dir() else 'no file'}; name a file to be written")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; replace it with --force, or name another target")
    path = path.resolve() if path.is_symlink() else path  # what it leads to is replaced, and the link stays
    for spec in filters:
        parse_filter(spec)
    work = _Conversion(source, path, writer_class, filters)
    error: InputError | None = None
    try:
        with Bar(f"writing {path.name}") as bar:
            work.run(bar)
    except InputError as e:
        error = e
    except OutputError as e:
        work.give_up()
        raise OutputError(work.explained(e)) from e
    except BaseException:
        work.give_up()
        raise
    try:
        work.finish()
    except OutputError as e:
        work.give_up()
        raise OutputError(work.explained(e)) from e
    if work.read == 0 and error is None:
        error = InputError("the recording holds no events; nothing was written", path=source_uri)
    if not work.written and work.dropped and error is None:
        error = InputError(f"the filters left none of {work.read:,} events; nothing was written", path=source_uri)
    for line in (str(error) if error else None, *work.remarks(source_uri)):
        if line:
            print(f"stream-ottt: {line}", file=sys.stderr)
    for reason, n in work.dropped.items():
        print(f"{reason}: {n:,} events left out")
    if work.written:
        print(f"{target}: {work.written:,} events, {path.stat().st_size:,} bytes")
    return InputError.exit_code if error is not None or work.left_out else 0


@dataclass
class _Conversion:
    """One conversion under way, into a file beside the target that takes its place in the end."""

    source: BlockingSource
    path: Path
    writer_class: type[EventWriter]
    filters: Sequence[Spec] = ()
    read: int = 0
    written: int = 0
    outside: int = 0
    size: tuple[int, int] = (0, 0)
    t_first: int | None = None

    def __post_init__(self) -> None:
        self.clock, self.misfits = Clock(self.source.config.tolerance), Misfits()
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._writer: EventWriter | None = None
        self._chain: FilterChain | None = None

    @property
    def dropped(self) -> dict[str, int]:
        """Events that filters left out, by ``filter:NAME``."""
        return {} if self._chain is None else self._chain.dropped

    @property
    def left_out(self) -> int:
        return self.outside + self.clock.left_out

    def run(self, bar: Bar) -> None:
        """Write all events, those before a damage too; what a damage leaves undecided is written by :meth:`finish`."""
        began = time.monotonic()
        for packet in self.source.excerpt():
            self.size = packet.width, packet.height
            self.read += len(packet)
            events, outside = self.misfits.sift(packet)
            self.outside += outside
            self._write(self.clock.feed(events))
            rate = self.written / (time.monotonic() - began) / 1e6
            t = int(packet.events["t"][-1]) if len(packet) else 0
            bar.at(self.source.share_read(t), f"{self.written:,} events, {rate:.1f} M/s")

    def finish(self) -> None:
        """Write what is undecided, and put the file in its place."""
        self._write(self.clock.flush(ended=True))
        if self._writer is not None:
            self._writer.close()
            self._part.replace(self.path)

    def give_up(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            with suppress(OutputError):
                self._writer.close()
        self._part.unlink(missing_ok=True)

    def explained(self, error: OutputError) -> str:
        """The error in the target's name, with the cure for times that the format cannot hold."""
        text = str(error).replace(str(self._part), str(self.path))
        shift: Any = getattr(self.source.config, "shift", "")
        if self.t_first and shift is None and ("µs" in text or "holds t" in text):
            text += "; --shift auto moves the first event to 0"
        return text

    def remarks(self, source_uri: str) -> list[str | None]:
        """What was left out or guessed, a line each."""
        lines: list[str | None] = []
        if self.left_out:
            lines.append(
                f"{source_uri}: {self.outside} events outside the sensor and {self.clock.left_out} with wrong times "
                "were left out" + (f"; {CURE_OF_TIMES}" if self.clock.left_out else "")
            )
            left_out = self.outside, self.clock.left_out
            lines.append(unusable(self.source, self.read, *left_out, self.size, self.misfits))
        if self.clock.epochs > 1:
            jump = self.clock.jumps[0]
            lines.append(
                f"{source_uri}: the clock jumped {self.clock.epochs - 1} times, the first time from {jump.before} to "
                f"{jump.after} µs; times after a jump back go on after those before it"
            )
        lines.append(size_note(self.source, self.size))
        if self.written and (labels := self.source.labels):
            lines.append(
                f"{source_uri}: its {len(labels):,} labels were not written, since these formats have no place for them"
            )
        return lines

    def _write(self, events: EventArray) -> None:
        if not len(events):
            return
        if self._chain is None:
            self._chain = open_filters(self.filters, *self.size)
        events = self._chain(events)
        if not len(events):
            return
        if self._writer is None:
            self.t_first = int(events["t"][0])
            self._writer = self.writer_class(self._part, self._chain.width, self._chain.height)
        self._writer.write(events)
        self.written += len(events)


def _writer_for(target: str) -> tuple[Path, type[EventWriter]]:
    """The path and the writer that a target means."""
    name, mark, query = target.rpartition("?")
    options = options_of(query) if mark and "=" in query else {}
    path = Path(name if options else target)
    if target == "-" or name == "stdin:":
        raise UsageError("-: convert writes no standard output; name a file")
    chosen = options.pop("format", None)
    if options:
        raise UsageError(f"{target}: unknown option {next(iter(options))!r}; only 'format' is known")
    if chosen is not None:
        return path, cast("type[EventWriter]", WRITERS.get(chosen))
    for known in WRITERS.names():
        writer = cast("type[EventWriter]", WRITERS.get(known))
        if path.name.lower().endswith(writer.suffixes):
            return path, writer
    raise UsageError(f"{target}: no writer for this ending; add ?format=NAME ({', '.join(WRITERS.names())})")
