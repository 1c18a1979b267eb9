"""N-Caltech101 as its authors publish it: ``Caltech101/<class>/image_NNNN.bin``, in N-MNIST's records."""

from __future__ import annotations

from stream_ottt.events.packet import EventArray
from stream_ottt.images.base import Item, class_folders
from stream_ottt.replay.datasets.base import EventData, join
from stream_ottt.sources.nmnist import read_bin


class NCaltech101(EventData):
    """Saccades over Caltech101's pictures (Orchard et al. 2015). There is no published split: the last share of each
    class is tested on."""

    name = "ncaltech101"
    sensor = (240, 180)
    published = (
        "N-Caltech101 is published at https://www.garrickorchard.com/datasets/n-caltech101: "
        "unpack Caltech101.zip and name the folder Caltech101 with --data"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        folders = [d for d in class_folders(self.path) if any(d.glob("*.bin"))]
        if not folders:
            raise self.missing("<class>/image_*.bin")
        self.class_names = [d.name for d in folders]
        train: list[Item] = []
        test: list[Item] = []
        for label, folder in enumerate(folders):
            own = [Item(label, f"{folder.name}/{f.name}", f) for f in sorted(folder.glob("*.bin"))]
            cut = len(own) - max(round(self.config.test_share * len(own)), 1)
            train, test = train + own[:cut], test + own[cut:]
        return train, test

    def events(self, item: Item) -> EventArray:
        return join(p.events for p in read_bin(item.where, *self.sensor))
