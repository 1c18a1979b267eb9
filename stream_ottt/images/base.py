"""What a data set of images is: labelled items in a training and a test part, each decoded when asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stream_ottt.errors import InputError

Image = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8 [height, width] or [height, width, 3], RGB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One sample of a data set.

    Attributes:
        label: its class, 0, 1, 2, ….
        key: what tells it from all others of the data set, for a cache.
        where: where it lies, as the data set wants it.
    """

    label: int
    key: str
    where: Any


class ImageSet(ABC):
    """Base of the data sets of images. A subclass reads its files as their authors publish them.

    Class attributes:
        name: the short name.
        published: one line, where its authors publish it and where to put it.

    Args:
        path: its folder.
        test_share: what is tested on where the data set has no test part.

    Attributes:
        train, test: the items of the two parts.
        class_names: name per label.

    Raises:
        InputError: the files are not there (:meth:`missing`) or not as published.
    """

    name: ClassVar[str]
    published: ClassVar[str]

    def __init__(self, path: str | Path, *, test_share: float = 0.2) -> None:
        self.path = Path(path)
        self.test_share = test_share
        self.class_names: list[str] = []
        self._named = str(path)
        self.train, self.test = self.open()

    @abstractmethod
    def open(self) -> tuple[list[Item], list[Item]]:
        """Find the items of the two parts; sets ``class_names``."""

    @abstractmethod
    def image(self, item: Item) -> Image:
        """One image."""

    def missing(self, what: str) -> InputError:
        """The one line for data that are not there, to be raised by the caller."""
        return InputError(f"{what} not found; {self.published}", path=self._named or "data.path")


def select(items: Sequence[Item], n: int | None) -> list[Item]:
    """The first ``n`` items, classes in turn so that each has its share, in the order of ``items``; all for None."""
    if n is None or n >= len(items):
        return list(items)
    by_class: dict[int, list[int]] = {}
    for i, item in enumerate(items):
        by_class.setdefault(item.label, []).append(i)
    turns = [i for _, i in sorted((k, i) for own in by_class.values() for k, i in enumerate(own))]
    return [items[i] for i in sorted(turns[:n])]


def class_folders(path: Path) -> list[Path]:
    """The folders in ``path`` in alphabetical order, hidden ones left out; none where there is no folder."""
    if not path.is_dir():
        return []
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith("."))
