"""N-CARS as its authors publish it: ``n-cars_train`` and ``n-cars_test``, each with ``background`` and ``cars``."""

from __future__ import annotations

from pathlib import Path

from stream_ottt.events.packet import EventArray
from stream_ottt.images.base import Item
from stream_ottt.replay.datasets.base import EventData, read_events


class NCars(EventData):
    """Cars or background seen from a driving car, 100 ms each (Sironi et al. 2018)."""

    name = "ncars"
    sensor = (120, 100)
    published = (
        "N-CARS is published by Prophesee (https://www.prophesee.ai/dataset-n-cars-download): "
        "unpack it and name the folder that holds n-cars_train and n-cars_test with --data"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        self.class_names = ["background", "cars"]
        parts = [self._part(part) for part in ("train", "test")]
        if not all(parts):
            raise self.missing("n-cars_train/{background,cars}/*.dat and n-cars_test")
        return parts[0], parts[1]

    def _part(self, part: str) -> list[Item]:
        folders = [f for f in (self.path / f"n-cars_{part}", self.path / part) if f.is_dir()]
        files: list[tuple[int, Path]] = []
        for label, name in enumerate(self.class_names):
            files += [(label, f) for folder in folders[:1] for f in sorted((folder / name).glob("*.dat"))]
        return [Item(label, f"{part}/{f.parent.name}/{f.name}", f) for label, f in files]

    def events(self, item: Item) -> EventArray:
        return read_events(item.where, format="dat", width=self.sensor[0], height=self.sensor[1])
