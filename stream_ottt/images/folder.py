"""A folder of images: ``train/<class>/*`` and ``val/<class>/*`` as ImageNet has it, or ``<class>/*`` alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.images.base import ImageSet, Item, class_folders

ENDINGS = {".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm"}


class ImageFolder(ImageSet):
    """Images in class folders. Without train/ and val/ the last share of each class is tested on."""

    name = "folder"
    published = (
        "name a folder of images with --data, as <class>/*.jpg or as train/<class>/*.jpg with val/<class>/*.jpg "
        "(ImageNet is published at https://www.image-net.org; sort its validation images into class folders)"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        tested = next((d for d in ("val", "test") if (self.path / d).is_dir()), None)
        split = (self.path / "train").is_dir() and tested is not None
        root = self.path / "train" if split else self.path
        self.class_names = [d.name for d in class_folders(root)]
        train = self._part(root)
        if not train:
            raise self.missing("<class>/*.jpg")
        if split:
            assert tested is not None
            return train, self._part(self.path / tested)
        kept: list[Item] = []
        held: list[Item] = []
        for label in range(len(self.class_names)):
            own = [i for i in train if i.label == label]
            cut = len(own) - max(round(self.test_share * len(own)), 1)
            kept, held = kept + own[:cut], held + own[cut:]
        return kept, held

    def _part(self, root: Path) -> list[Item]:
        items: list[Item] = []
        for folder in class_folders(root):
            if folder.name not in self.class_names:
                raise InputError(f"class {folder.name!r} is not among those of the training folder", path=folder)
            label = self.class_names.index(folder.name)
            files = sorted(f for f in folder.iterdir() if f.suffix.lower() in ENDINGS)
            items += [Item(label, f"{root.name}/{folder.name}/{f.name}", f) for f in files]
        return items

    def image(self, item: Item) -> npt.NDArray[np.uint8]:
        import cv2

        decoded = cv2.imread(str(item.where), cv2.IMREAD_COLOR)
        if decoded is None:
            raise InputError("no readable image", path=item.where)
        rgb: npt.NDArray[np.uint8] = np.ascontiguousarray(decoded[..., ::-1])
        return rgb
