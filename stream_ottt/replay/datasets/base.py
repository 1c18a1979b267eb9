"""What a data set is: labelled items in a training and a test part, each decoded to raw frames when asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray
from stream_ottt.replay.cache import SampleCache, cache_folder
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.framing import Raw, frame_events

KEEP_BYTES = 512 * 2**20
"""Decoded samples kept in memory by one data set, bytes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One sample.

    Attributes:
        label: its class, 0, 1, 2, ….
        key: what tells it from all others of the data set, for the cache.
        where: where it lies, as the data set wants it.
    """

    label: int
    key: str
    where: Any


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

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        self.path = Path(config.path)
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
        super().__init__(config)
        keys = ("name", "path", "test_path", "labels", "time_steps", "binning", "window", "count", "width", "height")
        settings = {k: getattr(config, k) for k in keys}
        settings["path"] = str(self.path.absolute())
        settings["version"] = self.fingerprint()
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
        return self._cache.get(item.key, lambda: frame_events(self.events(item), self.size(item), self.config))


Image = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8 [height, width] or [height, width, 3], RGB."""


def scaled(image: Image, width: int | None, height: int | None) -> Image:
    """An image in another size, each pixel the mean of those that it covers; None keeps a side."""
    size = width or image.shape[1], height or image.shape[0]
    if size == (image.shape[1], image.shape[0]):
        return image
    import cv2

    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), np.uint8)


class ImageData(DataSet):
    """A data set of images, scaled to ``data.width`` × ``data.height`` unless ``data.keep_aspect``."""

    static = True

    @abstractmethod
    def image(self, item: Item) -> Image:
        """One image."""

    def decode(self, item: Item) -> Raw:
        image = self.image(item)
        if not self.config.keep_aspect:
            image = scaled(image, self.config.width, self.config.height)
        return image[None, None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def select(items: Sequence[Item], n: int | None) -> list[Item]:
    """The first ``n`` items, classes in turn so that each has its share, in the order of ``items``; all for None."""
    if n is None or n >= len(items):
        return list(items)
    by_class: dict[int, list[int]] = {}
    for i, item in enumerate(items):
        by_class.setdefault(item.label, []).append(i)
    turns = [i for _, i in sorted((k, i) for own in by_class.values() for k, i in enumerate(own))]
    return [items[i] for i in sorted(turns[:n])]


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


def class_folders(path: Path) -> list[Path]:
    """The folders in ``path`` in alphabetical order, hidden ones left out.; none where there is no folder."""
    if not path.is_dir():
        return []
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith("."))
