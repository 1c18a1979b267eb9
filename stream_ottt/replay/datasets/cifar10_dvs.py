"""CIFAR10-DVS: ten folders of DVS128 recordings, AEDAT 2.0 as its authors publish it or tonic's copies in AEDAT4."""

from __future__ import annotations

import re
from pathlib import Path

from stream_ottt.events.packet import EventArray
from stream_ottt.images.base import Item
from stream_ottt.images.cifar import CLASSES
from stream_ottt.replay.datasets.base import EventData, read_events

TESTED = 100
"""Of the 1000 recordings of each class, the last so many are tested on (as in Wu et al. 2019 and the paper)."""


class Cifar10Dvs(EventData):
    """CIFAR-10 images moving before a DVS128 (Li et al. 2017)."""

    name = "cifar10-dvs"
    sensor = (128, 128)
    published = (
        "CIFAR10-DVS is published at https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671: "
        "unpack the ten archives into one folder (airplane/, automobile/, …) and name it with --data"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        self.class_names = list(CLASSES)
        train: list[Item] = []
        test: list[Item] = []
        for label, name in enumerate(CLASSES):
            files = [f for f in (self.path / name).glob("*") if f.suffix in (".aedat", ".aedat4")]
            if not files:
                raise self.missing(f"{name}/*.aedat")
            own = [Item(label, f"{name}/{f.name}", f) for f in sorted(files, key=_number)]
            # A smaller copy keeps the same proportion.
            cut = len(own) - max(min(TESTED, len(own) // 10), 1)
            train, test = train + own[:cut], test + own[cut:]
        return train, test

    def events(self, item: Item) -> EventArray:
        return read_events(item.where)


def _number(path: Path) -> tuple[int, str]:
    """cifar10_airplane_12.aedat after cifar10_airplane_2.aedat."""
    numbers = re.findall(r"\d+", path.stem)
    return (int(numbers[-1]) if numbers else 0), path.name
