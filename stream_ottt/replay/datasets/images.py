"""Data sets of images (:mod:`stream_ottt.images`), each shown as equal frames."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from stream_ottt.images.base import Image, ImageSet, Item
from stream_ottt.images.cifar import Cifar10, Cifar100
from stream_ottt.images.folder import ImageFolder
from stream_ottt.images.mnist import Mnist
from stream_ottt.replay.datasets.base import DataSet
from stream_ottt.replay.framing import Raw


def scaled(image: Image, width: int | None, height: int | None) -> Image:
    """An image in another size, each pixel the mean of those that it covers; None keeps a side."""
    size = width or image.shape[1], height or image.shape[0]
    if size == (image.shape[1], image.shape[0]):
        return image
    import cv2

    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), np.uint8)


class ImageData(DataSet):
    """A data set of images, scaled to ``data.width`` × ``data.height`` unless ``data.keep_aspect``.

    Class attributes:
        images: what reads its files.
    """

    static = True
    images: ClassVar[type[ImageSet]]

    def __init_subclass__(cls) -> None:
        cls.name, cls.published = cls.images.name, cls.images.published

    def open(self) -> tuple[list[Item], list[Item]]:
        self._set = self.images(self.config.path, test_share=self.config.test_share)
        self.class_names = self._set.class_names
        return self._set.train, self._set.test

    def image(self, item: Item) -> Image:
        """One image."""
        return self._set.image(item)

    def decode(self, item: Item) -> Raw:
        image = self.image(item)
        if not self.config.keep_aspect:
            image = scaled(image, self.config.width, self.config.height)
        return image[None, None] if image.ndim == 2 else np.ascontiguousarray(image.transpose(2, 0, 1))[None]


class Cifar10Data(ImageData):
    images = Cifar10


class Cifar100Data(ImageData):
    images = Cifar100


class MnistData(ImageData):
    images = Mnist


class FolderData(ImageData):
    images = ImageFolder
