"""What a data set is: labelled items in a training and a test part, each decoded to raw frames when asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray
from stream_ottt.images.base import Item as Item
from stream_ottt.images.base import select as select
from stream_ottt.replay.cache import SampleCache, cache_folder
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.framing import Raw, frame_events
from stream_ottt.replay.tonic_transforms import TonicTransforms

KEEP_BYTES = 512 * 2**20
"""Decoded samples kept in memory by one data set, bytes."""


class DataSet(ABC):
    """Base of the data sets. A subclass reads its files as their authors publish them.

    Class attributes:
        name: the short name.
        published: one line, where its authors publish it and where to put it.
        static: True for images, which are shown as T equal frames.

    Args:
        config: the ``[data]`` table.

    Attributes:
        train, test: the items of the two parts, after ``classes``, ``train`` and ``test`` of the settings.
        class_names: name per label.
    """

    name: ClassVar[str]
    published: ClassVar[str]
    static: ClassVar[bool]

    @classmethod
    def require_path(cls, config: DataConfig) -> None:
        """Find out, before anything is imported or read, whether ``data.path`` names something.

        Raises:
            UsageError: it is empty.
            InputError: there is no such file or folder.
        """
        if not config.path:
            raise UsageError(f"data.path is empty; {cls.published}")
        if not {":", "?"} & set(config.path) and not Path(config.path).exists():  # else it may be a source's URI
            raise InputError(f"not found; {cls.published}", path=config.path)

    def __init__(self, config: DataConfig) -> None:
        self.require_path(config)
        self.config = config
        self.path = Path(config.path)
        if config.transforms and self.static:
            raise UsageError(
                f"data.transforms are of events, and {self.name!r} holds images; see the [transform] table"
            )
        self.class_names: list[str] = []
        train, test = self.open()
        self.train = select(self._only(train), config.train)
        self.test = select(self._only(test), config.test)
        if not self.train or not self.test:
            which = "training" if not self.train else "test"
            raise InputError(f"no {which} samples are left of this data set by the settings", path=config.path)
        self._kept: dict[str, Raw] = {}
        self._bytes = 0

    @abstractmethod
    def open(self) -> tuple[list[Item], list[Item]]:
        """Find the samples; sets ``class_names``.

        Raises:
            InputError: the files are not there (:meth:`missing`) or not as published.
        """

    @abstractmethod
    def decode(self, item: Item) -> Raw:
        """The raw frames of one item, [T or 1, channels, height, width]."""

    def raw(self, item: Item) -> Raw:
        """:meth:`decode`, kept in memory while there is room."""
        kept = self._kept.get(item.key)
        if kept is None:
            kept = self.decode(item)
            if self._bytes + kept.nbytes <= KEEP_BYTES:
                self._kept[item.key] = kept
                self._bytes += kept.nbytes
        return kept

    def missing(self, what: str) -> InputError:
        """The one line for data that are not there, to be raised by the caller."""
        return InputError(f"{what} not found; {self.published}", path=self.config.path or "data.path")

    def _only(self, items: list[Item]) -> list[Item]:
        classes = self.config.classes
        if classes is None:
            return items
        new = {old: i for i, old in enumerate(classes)}
        return [Item(new[i.label], i.key, i.where) for i in items if i.label in new]

    @property
    def names(self) -> list[str]:
        """Class names in the order of the network's outputs."""
        return self.class_names if self.config.classes is None else [self.class_names[c] for c in self.config.classes]


class EventData(DataSet):
    """A data set of event recordings: :meth:`events` is decoded, framed and cached on disk.

    Class attributes:
        sensor: (width, height).
    """

    static = False
    sensor: ClassVar[tuple[int, int]]

    def __init__(self, config: DataConfig) -> None:
        # Before all samples are looked for, so that a wrong name is said at once.
        self._transforms = TonicTransforms(config.transforms, config) if config.transforms else None
        super().__init__(config)
        keys = ("name", "path", "test_path", "labels", "time_steps", "binning", "window", "count", "width", "height")
        settings = {k: getattr(config, k) for k in keys}
        settings["path"] = str(self.path.absolute())
        settings["version"] = self.fingerprint()
        if self._transforms is not None:
            settings |= {"transforms": config.transforms, "tonic": self._transforms.version()}
        self._cache = SampleCache(cache_folder(config.cache), settings)

    @abstractmethod
    def events(self, item: Item) -> EventArray:
        """All events of one item."""

    def fingerprint(self) -> list[float]:
        """What changes when the files at ``path`` are replaced by others."""
        try:
            info = self.path.stat()
        except OSError:
            return []
        return [info.st_size, info.st_mtime]

    def size(self, item: Item) -> tuple[int, int]:
        """(width, height) of an item's sensor."""
        return self.sensor

    def decode(self, item: Item) -> Raw:
        return self._cache.get(item.key, lambda: self._framed(item))

    def _framed(self, item: Item) -> Raw:
        if self._transforms is not None:
            return self._transforms(self.events(item), self.size(item), item.key)
        return frame_events(self.events(item), self.size(item), self.config)


def read_events(path: Path, **options: Any) -> EventArray:
    """All events of one recording in any format that is read here."""
    from stream_ottt.pipeline.source import BlockingSource
    from stream_ottt.sources.opening import open_source

    source = open_source({"uri": str(path), **options})
    if not isinstance(source, BlockingSource):
        raise InputError("a live source cannot be replayed; record it first", path=path)
    return join(packet.events for packet in source.excerpt())


def join(parts: Iterator[EventArray]) -> EventArray:
    """The parts one after another, as an array of its own."""
    from stream_ottt.events.packet import EVENT_DTYPE

    kept = list(parts)
    return np.concatenate(kept) if kept else np.zeros(0, EVENT_DTYPE)
