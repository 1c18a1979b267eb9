"""N-MNIST as its authors publish it: ``Train/<digit>/NNNNN.bin`` and ``Test/<digit>/NNNNN.bin``."""

from __future__ import annotations

from stream_ottt.events.packet import EventArray
from stream_ottt.images.base import Item, class_folders
from stream_ottt.replay.datasets.base import EventData, join
from stream_ottt.sources.nmnist import read_bin


class NMnist(EventData):
    """Saccades over MNIST digits, 34×34 (Orchard et al. 2015)."""

    name = "nmnist"
    sensor = (34, 34)
    published = (
        "N-MNIST is published at https://www.garrickorchard.com/datasets/n-mnist: unpack Train.zip and Test.zip "
        "into one folder and name it with --data (an .npz collection: --data.name stream)"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        self.class_names = [str(digit) for digit in range(10)]
        parts = [self._part(part) for part in ("Train", "Test")]
        if not all(parts):
            raise self.missing("Train/<digit>/*.bin and Test/<digit>/*.bin")
        return parts[0], parts[1]

    def _part(self, part: str) -> list[Item]:
        # In the order of their numbers, which is MNIST's, so that a subset is the same as of MNIST.
        files = [f for d in class_folders(self.path / part) if d.name in self.class_names for f in d.glob("*.bin")]
        return [
            Item(int(f.parent.name), f"{part}/{f.parent.name}/{f.name}", f) for f in sorted(files, key=lambda f: f.name)
        ]

    def events(self, item: Item) -> EventArray:
        return join(p.events for p in read_bin(item.where, *self.sensor))
