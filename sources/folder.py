"""A folder of recordings as one stream, with their labels.

- ``CLASS/*.ext``, or one recording a class, ``CLASS.ext``: each recording is a sample. Class names in alphabetical
  order are the labels 0, 1, 2, ….
- ``NAME.ext`` with ``NAME_labels.csv`` beside it (DVS128 Gesture): each recording has the labels of its file.
  Recordings without one are passed over.
- ``?join=true``: the pieces into which a recorder cut one session, in the order of their numbers, without labels.

The recordings may be in any file format that is read here, each recognised by its content. They are read one after the
other, so memory stays bounded; but where each begins and ends must be known before the first packet. So every selected
recording is decoded once beforehand, and what was learned is kept for later passes, unless ``duration``, ``width`` and
``height`` are all given.

Not read: recordings of several kinds at once (``pattern=`` chooses); folders within class folders.

Traps of other readers: class names are numbered in alphabetical order, as text: 10 stands before 2; README files,
``.DS_Store`` and ``Thumbs.db`` are no recordings; DVS128 Gesture's labels count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.excerpt import from_its_first
from stream_ottt.pipeline.source import BlockingSource, FileSource
from stream_ottt.sources.natural_order import natural_order
from stream_ottt.sources.packed import BESIDE
from stream_ottt.sources.samples import LabelledStream, Reach, SampleConfig, SampleSource

LABELS = "_labels.csv"
PASSED_OVER = re.compile(BESIDE.pattern + r"|.*\.(bias|tmp_index)", re.IGNORECASE)
"""Names of files that are no recordings: what people and systems add, and what recorders write beside theirs."""
PIECE = re.compile(r"(.*[_.-])(\d+)")
"""Names that recorders give to the pieces of a session, without the ending."""
PADDED = re.compile(r"0\d{2}")
"""How recorders begin their numbers, that do not go on by one where a piece was taken away."""
DATE = re.compile(r"(?<!\d)20\d\d([-_.]?)(0[1-9]|1[0-2])\1([0-2]\d|3[01])")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
LISTS = re.compile(r"(?i)(labels?|class(es|_names)|annotations?|ground_?truth|metadata)")
"""Names of what stands beside recordings and says what they are."""
CLASSES = re.compile(r"(?i)(.*[\W_])?(class|label|digit|category|categorie|gesture|object|target)e?s?[_.-]")
"""What stands before the number of a class."""


class FolderConfig(SampleConfig):
    """Options of folders, besides those of all labelled collections.

    Attributes:
        pattern: which files are recordings, such as ``*.aedat``.
        limit: the first so many recordings of each class.
        join: takes all recordings for the pieces of one session; None asks where their names look like pieces.
        width: sensor width in pixels; None takes the widest of the recordings.
        height: sensor height in pixels; None takes the highest of the recordings.
    """

    pattern: str = Field(default="*", pattern=r"^[^/\\]+$")
    limit: int | None = Field(default=None, ge=1)
    join: bool | None = None
    width: int | None = Field(default=None, ge=1, le=2**15)
    height: int | None = Field(default=None, ge=1, le=2**15)


class FolderSource(SampleSource, FileSource):
    """All recordings of a folder, one after another, with their labels."""

    name = "folder"
    Config = FolderConfig
    config: FolderConfig

    def __init__(self, config: FolderConfig) -> None:
        super().__init__(config)
        self._files: list[Path] = []
        self._without_labels: list[str] = []

    def describe(self) -> dict[str, Any]:
        """How many recordings are passed over, where others of their kind have a file of labels."""
        count, first = len(self._without_labels), self._without_labels[:1]
        passed_over = {"without_labels": f"{count} passed over, such as {first[0]}"} if count else {}
        return {**super().describe(), **passed_over}

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """Any folder; tried last."""
        return path.is_dir()

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; each further pass over shuffled samples has another order."""
        if not self.path.is_dir():
            raise self.fail("no folder; expected one with recordings in CLASS/*.ext or CLASS.ext")
        if self.config.join:
            yield from self._joined()
        else:
            yield from super().packets()

    def open_stream(self) -> LabelledStream:
        config = self.config
        size = (config.width, config.height) if config.width and config.height else None

        def fail(i: int, message: str) -> InputError:
            return InputError(message, path=self._files[i])

        recordings = self._recordings(self.path)
        labelled = {f: _label_file(f) for f in recordings if _label_file(f).is_file()}
        if labelled:
            self._of_one_kind(list(labelled))
            kind = next(iter(labelled)).suffix.lower()
            self._without_labels = [f.name for f in recordings if f.suffix.lower() == kind and f not in labelled]
            self._files = list(labelled)[: config.limit]
            files = [read_label_csv(labelled[f]) for f in self._files]
            for file in files:
                self._names.update(file.names)
            intervals: list[Sequence[LabelInterval]] = [file.intervals for file in files]
            for own in intervals:
                self._names = {**{i.label: str(i.label) for i in own}, **self._names}
            return LabelledStream([0] * len(files), self._read, fail, config, size, intervals.__getitem__)
        classes = self._classes()
        self._names = dict(enumerate(classes))
        labels: list[int] = []
        for label, recordings in enumerate(classes.values()):
            self._files += recordings[: config.limit]
            labels += [label] * len(recordings[: config.limit])
        return LabelledStream(labels, self._read, fail, config, size)

    def _classes(self) -> dict[str, list[Path]]:
        """Class name → its recordings, both in alphabetical order."""
        inside = {d.name: self._recordings(d) for d in self._folders(self.path)}
        classes = {name: files for name, files in inside.items() if files}
        files = self._recordings(self.path)
        named = [f for f in files if f.stem.lower() == "events"]
        if named and len(classes) + len(files) > 1:
            raise UsageError(f"{self.path}: give {named[0]}, if that is the recording")
        if not classes:
            # Without class folders each file is a class of its own.
            classes = {_stem(f): [f] for f in files}
            lists = [f.name for f in files if LISTS.fullmatch(_stem(f))]
            if lists and len(files) > 1:
                raise UsageError(
                    f"{self.path}: {lists[0]} looks like a list of labels, not a recording; put the recordings of each "
                    "class into a folder, or leave it out with pattern="
                )
            if self.config.join is None and _are_pieces(list(classes)):
                raise UsageError(
                    f"{self.path}: {files[0].name} and the others look like the pieces of one session; "
                    "join them with join=true, or take each for a class with join=false"
                )
        files = [f for group in classes.values() for f in group]
        if not files:
            deeper = [d for d in self._folders(self.path) if any(self._recordings(e) for e in self._folders(d))]
            fix = f"they lie deeper: give {deeper[0]}" if deeper else "expected CLASS/*.ext or CLASS.ext"
            raise self.fail(f"no recordings{self._wanted()} in this folder; {fix}")
        self._of_one_kind(files)
        return classes

    def _of_one_kind(self, files: list[Path]) -> None:
        endings = sorted({f.suffix.lower() or "none" for f in files})
        if len(endings) > 1:
            raise UsageError(
                f"{self.path}: files of several kinds ({', '.join(endings)}); say which are recordings, "
                f"such as pattern=*{endings[0]}"
            )

    def _folders(self, folder: Path) -> list[Path]:
        try:
            return [d for d in sorted(folder.iterdir()) if _shown(d) and d.is_dir()]
        except OSError as e:
            raise InputError(f"cannot be read: {e.strerror}; check its permissions", path=folder) from e

    def _recordings(self, folder: Path) -> list[Path]:
        found = (f for f in folder.glob(self.config.pattern) if _shown(f) and f.is_file())
        return sorted(f for f in found if not f.name.endswith(LABELS))

    def _wanted(self) -> str:
        return "" if self.config.pattern == "*" else f" {self.config.pattern}"

    def _joined(self) -> Iterator[EventPacket]:
        """The pieces one after another. A piece whose time does not go on begins 1 µs after the one before."""
        self.config.refuse("one session")
        self._files = sorted(self._recordings(self.path), key=natural_order)
        if not self._files:
            raise self.fail(f"no recordings{self._wanted()} in this folder")
        self._of_one_kind(self._files)
        sizes = [(p.width, p.height) for i in range(len(self._files)) for p in self._first(i)]
        width = self.config.width or max((w for w, _ in sizes), default=1)
        height = self.config.height or max((h for _, h in sizes), default=1)
        newest: int | None = None
        for i in range(len(self._files)):
            first, packets = from_its_first(self._read(i), self.config.tolerance)
            shift = 0 if newest is None or first >= newest else newest + 1 - first
            reach = Reach(first, self.config.tolerance)
            for packet in filter(len, packets):
                reach.take(packet)
                events = packet.events
                if shift:
                    events = events.copy()
                    events["t"] += shift
                yield EventPacket(events, width, height)
            if (last := reach.newest()) is not None:
                newest = last + shift if newest is None else max(newest, last + shift)

    def _first(self, i: int) -> Iterator[EventPacket]:
        for packet in self._read(i):
            yield packet
            break

    def _read(self, i: int) -> Iterator[EventPacket]:
        from stream_ottt.sources.opening import open_source

        config = self.config
        source = cast("BlockingSource", open_source(self._files[i]))
        known = type(source.config).model_fields
        size = {k: v for k, v in (("width", config.width), ("height", config.height)) if v and k in known}
        if size:
            source = cast("BlockingSource", open_source({"uri": str(self._files[i]), **size}))
        for packet in source.excerpt():
            if self.size_from != "guess":
                self.size_from = source.size_from
            yield packet


def _label_file(recording: Path) -> Path:
    return recording.with_name(recording.stem + LABELS)


def _are_pieces(stems: list[str]) -> bool:
    """Whether names differ by a running number or by the time of recording alone, and its word is none for classes."""
    if len(stems) > 1 and all(map(DATE.search, stems)) and len({re.sub(r"\d+", "0", stem) for stem in stems}) == 1:
        return True
    found = [match for match in map(PIECE.fullmatch, stems) if match]
    numbers = sorted(int(match[2]) for match in found)
    return (
        len(stems) == len(found) > 1
        and len({match[1] for match in found}) == 1
        and CLASSES.fullmatch(found[0][1]) is None
        and (numbers == list(range(numbers[0], numbers[0] + len(numbers))) or all(PADDED.match(m[2]) for m in found))
    )


def _stem(path: Path) -> str:
    """The name without its ending, and without that of a packed file."""
    return Path(path.stem).stem if path.suffix.lower() in PACKED else path.stem


def _shown(path: Path) -> bool:
    return PASSED_OVER.fullmatch(path.name) is None
