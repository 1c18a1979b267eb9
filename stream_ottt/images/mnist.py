"""MNIST in its authors' IDX files, packed with gzip or not; Fashion-MNIST and its like have the same form."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.images.base import ImageSet, Item

MAX_BYTES = 1 << 30


class Mnist(ImageSet):
    """Handwritten digits, 28×28 (LeCun et al. 1998)."""

    name = "mnist"
    published = (
        "MNIST is published at http://yann.lecun.com/exdb/mnist: put train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or their .gz) into one folder and name it with --data"
    )

    def open(self) -> tuple[list[Item], list[Item]]:
        self.class_names = [str(digit) for digit in range(10)]
        return self._part("train"), self._part("t10k")

    def _part(self, part: str) -> list[Item]:
        images = self._read(f"{part}-images-idx3-ubyte", 3)
        labels = self._read(f"{part}-labels-idx1-ubyte", 1)
        if len(images) != len(labels) or labels.max(initial=0) > 9:
            raise InputError(
                f"{len(images)} {part} images and {len(labels)} labels; expected one label in 0…9 for each",
                path=self.path,
            )
        return [Item(int(label), f"{part}/{i}", images[i]) for i, label in enumerate(labels)]

    def _read(self, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
        for path in (self.path / name, self.path / f"{name}.gz", self.path / name.replace("-idx", ".idx")):
            if path.is_file():
                return read_idx(path, dimensions)
        raise self.missing(name)

    def image(self, item: Item) -> npt.NDArray[np.uint8]:
        image: npt.NDArray[np.uint8] = item.where
        return image


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """An IDX array of bytes.

    Raises:
        InputError: no IDX file of unsigned bytes with so many dimensions, or one that ends early.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as f:
            data = f.read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as e:
        raise InputError(f"cannot be read: {e}", path=path) from e
    start = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < start:
        raise InputError(f"expected an IDX file of bytes with {dimensions} dimensions", path=path, offset=0)
    shape = [int(n) for n in np.frombuffer(data, ">u4", dimensions, 4)]
    size = int(np.prod(shape, dtype=np.int64))
    if len(data) != start + size:
        raise InputError(f"expected {size} bytes for {shape}, found {len(data) - start}", path=path, offset=start)
    return np.frombuffer(data, np.uint8, size, start).reshape(shape)
