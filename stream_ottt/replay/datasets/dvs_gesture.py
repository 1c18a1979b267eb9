"""DVS128 Gesture: the authors' AEDAT 3.1 recordings with ``*_labels.csv``, or tonic's copies, one .npy a gesture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.images.base import Item
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.replay.datasets.base import EventData, read_events

TRAIN_USERS = range(1, 24)
"""Users 1–23 train, 24–29 test."""

NAMES = [
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
]


class DvsGesture(EventData):
    """Eleven hand and arm gestures of 29 people (Amir et al. 2017)."""

    name = "dvs-gesture"
    sensor = (128, 128)
    published = (
        "DVS128 Gesture is published at https://research.ibm.com/interactive/dvsgesture: unpack DvsGesture.tar.gz and "
        "name its folder with --data (or the folder with tonic's ibmGestureTrain and ibmGestureTest)"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        self.class_names = list(NAMES)
        self._held: tuple[Path, EventArray] | None = None
        items = self._of_authors() or self._of_tonic()
        train = [item for user, item in items if user in TRAIN_USERS]
        test = [item for user, item in items if user not in TRAIN_USERS]
        if not train or not test:
            raise self.missing(
                "user01_*.aedat … user29_*.aedat with *_labels.csv (or ibmGestureTrain and ibmGestureTest)"
            )
        return train, test

    def _of_authors(self) -> list[tuple[int, Item]]:
        items: list[tuple[int, Item]] = []
        for path in sorted(self.path.glob("user*.aedat")):
            labels = path.with_name(f"{path.stem}_labels.csv")
            if not labels.is_file():
                raise InputError(f"no {labels.name} beside it; it is part of DvsGesture.tar.gz", path=path)
            for i in read_label_csv(labels, classes=range(1, len(NAMES) + 1)).intervals:
                where = (path, i.t_start, i.t_end)
                items.append((_user(path.name), Item(i.label - 1, f"{path.name}/{i.t_start}", where)))
        return items

    def _of_tonic(self) -> list[tuple[int, Item]]:
        items: list[tuple[int, Item]] = []
        for path in sorted(self.path.glob("ibmGesture*/user*/*.npy")):
            if not path.stem.isdigit() or int(path.stem) >= len(NAMES):
                raise InputError(f"expected a file named by its class, 0.npy … {len(NAMES) - 1}.npy", path=path)
            folder = path.parent
            key = f"{folder.parent.name}/{folder.name}/{path.name}"
            items.append((_user(folder.name), Item(int(path.stem), key, (path, None, None))))
        return items

    def events(self, item: Item) -> EventArray:
        path, start, end = item.where
        if start is None:
            return read_tonic(path)
        # The gestures of one recording follow one another: it is decoded once for all of them.
        if self._held is None or self._held[0] != path:
            self._held = (path, read_events(path))
        events = self._held[1]
        own: EventArray = events[(events["t"] >= start) & (events["t"] < end)]
        return own


def read_tonic(path: Path) -> EventArray:
    """Events of one of tonic's files: [n, 4] of x, y, polarity and time in ms."""
    try:
        rows: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise InputError(f"no readable NPY array: {e}", path=path) from e
    if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iuf":
        raise InputError(
            f"expected numbers [n, 4] (x, y, p, t in ms), found {rows.dtype} {list(rows.shape)}", path=path
        )
    return make_events(rows[:, 0], rows[:, 1], (rows[:, 3].astype(np.float64) * 1000).astype(np.int64), rows[:, 2] > 0)


def _user(name: str) -> int:
    match = re.match(r"user(\d+)", name)
    return int(match[1]) if match else 0
