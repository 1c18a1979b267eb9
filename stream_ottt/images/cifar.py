"""CIFAR-10 and CIFAR-100: the authors' Python batches or binary files, or a pack of JPEG images."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.images.base import ImageSet, Item

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = 3 * 32 * 32


class _Cifar(ImageSet):
    """What the two have in common: rows of 3072 bytes, red, green, blue."""

    published: ClassVar[str]
    files: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]
    label_key: ClassVar[str]
    label_bytes: ClassVar[int]
    count: ClassVar[int]

    def open(self) -> tuple[list[Item], list[Item]]:
        self._images: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]] = []
        self.class_names = self.names_of_classes()
        return self._part("train", self.files[0]), self._part("test", self.files[1])

    def names_of_classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return [str(i) for i in range(self.count)]

    def _part(self, part: str, names: tuple[str, ...]) -> list[Item]:
        pickled = [self.path / name for name in names]
        binary = [self.path / f"{name}.bin" for name in names]
        if all(f.is_file() for f in pickled):
            rows, labels = zip(*(self._unpickle(f) for f in pickled), strict=True)
        elif all(f.is_file() for f in binary):
            rows, labels = zip(*(self._binary(f) for f in binary), strict=True)
        else:
            raise self.missing(f"{names[0]} (or {names[0]}.bin)")
        which = len(self._images)
        self._images.append((np.concatenate(rows), np.concatenate(labels)))
        return [Item(int(label), f"{part}/{i}", (which, i)) for i, label in enumerate(self._images[-1][1])]

    def _unpickle(self, path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        try:
            with path.open("rb") as f:
                batch = _ArraysOnly(f, encoding="latin1").load()
            rows = np.asarray(batch["data"], np.uint8).reshape(-1, PIXELS)
            labels = np.asarray(batch[self.label_key], np.int64)
        except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as e:
            raise InputError(
                f"no CIFAR batch with 'data' and {self.label_key!r}: {e}; unpack it again", path=path
            ) from e
        self._check(path, rows, labels)
        return rows, labels

    def _binary(self, path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        record = self.label_bytes + PIXELS
        data = np.fromfile(path, np.uint8)
        if len(data) % record:
            raise InputError(f"expected records of {record} bytes; the file is truncated", path=path, offset=len(data))
        records = data.reshape(-1, record)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        self._check(path, records, labels)
        return records[:, self.label_bytes :], labels

    def _check(self, path: Path, rows: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
        if len(rows) != len(labels) or labels.min(initial=0) < 0 or labels.max(initial=0) >= self.count:
            raise InputError(f"expected a label in 0…{self.count - 1} for each image", path=path)

    def image(self, item: Item) -> npt.NDArray[np.uint8]:
        which, i = item.where
        row: npt.NDArray[np.uint8] = self._images[which][0][i]
        return row.reshape(3, 32, 32).transpose(1, 2, 0)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays in plain containers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        of_numpy = module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype", "_frombuffer")
        if of_numpy or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")


class Cifar10(_Cifar):
    """CIFAR-10 (Krizhevsky 2009). Also as ``cifar10_train_jpegpack.npz`` and ``cifar10_test_jpegpack.npz``, arrays
    ``blob`` (JPEG bytes), ``offsets`` [n + 1] and ``labels`` [n]: lossy, to be said beside every figure."""

    name = "cifar10"
    published = (
        "CIFAR-10 is published at https://www.cs.toronto.edu/~kriz/cifar.html: "
        "unpack cifar-10-python.tar.gz and name the folder cifar-10-batches-py with --data"
    )
    files = (tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",))
    label_key = "labels"
    label_bytes = 1
    count = 10

    def names_of_classes(self) -> list[str]:
        return list(CLASSES)

    def _part(self, part: str, names: tuple[str, ...]) -> list[Item]:
        packed = self.path / f"cifar10_{part}_jpegpack.npz"
        if not packed.is_file():
            return super()._part(part, names)
        try:
            with np.load(packed, allow_pickle=False) as z:
                blob, offsets, labels = z["blob"], z["offsets"], z["labels"]
        except (OSError, KeyError, ValueError, EOFError) as e:
            raise InputError(f"no pack with blob, offsets and labels: {e}", path=packed) from e
        if len(offsets) != len(labels) + 1 or offsets[-1] > len(blob) or (np.diff(offsets) <= 0).any():
            raise InputError("offsets must ascend from 0 to the end of blob, one more than labels", path=packed)
        return [Item(int(label), f"{part}/{i}", blob[offsets[i] : offsets[i + 1]]) for i, label in enumerate(labels)]

    def image(self, item: Item) -> npt.NDArray[np.uint8]:
        if isinstance(item.where, tuple):
            return super().image(item)
        import cv2

        decoded = cv2.imdecode(item.where, cv2.IMREAD_COLOR)
        if decoded is None:
            raise InputError(f"image {item.key} is no JPEG", path=self.path)
        rgb: npt.NDArray[np.uint8] = np.ascontiguousarray(decoded[..., ::-1])
        return rgb


class Cifar100(_Cifar):
    """CIFAR-100 with its fine labels (Krizhevsky 2009)."""

    name = "cifar100"
    published = (
        "CIFAR-100 is published at https://www.cs.toronto.edu/~kriz/cifar.html: "
        "unpack cifar-100-python.tar.gz and name the folder cifar-100-python with --data"
    )
    files = (("train",), ("test",))
    label_key = "fine_labels"
    label_bytes = 2
    count = 100
