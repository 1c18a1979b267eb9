"""Each loader on small files in the form in which its authors publish the data set."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream_ottt.errors import InputError, UsageError
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.datasets import DATASETS, open_dataset
from stream_ottt.replay.datasets.base import DataSet, Item, select


def dataset(name: str, path: Path, **options: object) -> DataSet:
    return open_dataset(DataConfig(name=name, path=str(path), cache="off", **options))


def split(data: DataSet) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    return [(i.label, i.key) for i in data.train], [(i.label, i.key) for i in data.test]


# --- event data sets -------------------------------------------------------------------------------------------------


def bin_record(x: int, y: int, p: int, t: int) -> bytes:
    return bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255])


def write_bin(path: Path, events: list[tuple[int, int, int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bin_record(x, y, p, t) for t, x, y, p in events))


EVENTS = [(1000, 3, 5, 1), (2000, 3, 5, 1), (21_500, 30, 33, 0)]


def test_nmnist_in_its_two_folders(tmp_path: Path) -> None:
    for part, digit, number in (("Train", 7, 2), ("Train", 1, 1), ("Test", 4, 3)):
        write_bin(tmp_path / part / str(digit) / f"{number:05d}.bin", EVENTS)
    data = dataset("nmnist", tmp_path, time_steps=3, window="10ms")
    # In the order of MNIST's numbers, across the folders of the digits.
    assert split(data) == ([(1, "Train/1/00001.bin"), (7, "Train/7/00002.bin")], [(4, "Test/4/00003.bin")])
    raw = data.raw(data.train[0])
    assert raw.shape == (3, 2, 34, 34) and raw.dtype == np.uint8
    assert raw[0, 1, 5, 3] == 2 and raw[2, 0, 33, 30] == 1 and raw.sum() == 3


def test_ncaltech101_keeps_the_last_of_each_class_for_the_test(tmp_path: Path) -> None:
    for name, n in (("airplanes", 5), ("yin_yang", 2)):
        for i in range(n):
            write_bin(tmp_path / name / f"image_{i + 1:04d}.bin", [(100, 239, 179, 1)])
    data = dataset("ncaltech101", tmp_path)
    assert data.names == ["airplanes", "yin_yang"]
    train, test = split(data)
    assert test == [(0, "airplanes/image_0005.bin"), (1, "yin_yang/image_0002.bin")] and len(train) == 5
    assert data.raw(data.train[0])[0, 1, 179, 239] == 1


def test_ncars_reads_dat_files(tmp_path: Path) -> None:
    def write_dat(path: Path, n: int) -> None:
        path.parent.mkdir(parents=True)
        header = b"% Data file containing CD events.\n% Version 2\n% Date 2017-1-1 12:0:0\n"
        words = b"".join(struct.pack("<II", 1000 * i, 1 << 28 | 7 << 14 | 11) for i in range(n))
        path.write_bytes(header + bytes([12, 8]) + words)

    for part in ("train", "test"):
        write_dat(tmp_path / f"n-cars_{part}" / "cars" / "obj_000001_td.dat", 3)
        write_dat(tmp_path / f"n-cars_{part}" / "background" / "obj_000002_td.dat", 2)
    data = dataset("ncars", tmp_path)
    assert [label for label, _ in split(data)[0]] == [0, 1] and data.names == ["background", "cars"]
    raw = data.raw(data.train[1])
    assert raw.shape == (10, 2, 100, 120) and raw[:, 1, 7, 11].sum() == 3


def write_aedat2(path: Path, events: list[tuple[int, int, int, int]]) -> None:
    """jAER's DVS128: x mirrored in bits 1–7, y from the bottom in bits 8–14, bit 0 set for OFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = b"".join(struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | (1 - p), t) for t, x, y, p in events)
    path.write_bytes(b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n" + words)


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_cifar10_dvs_keeps_the_last_tenth_by_number(tmp_path: Path) -> None:
    for name in CLASSES:
        for i in range(12):
            write_aedat2(tmp_path / name / f"cifar10_{name}_{i}.aedat", [(10, 20 + i, 40, 1), (20, 20, 40, 0)])
    data = dataset("cifar10-dvs", tmp_path, time_steps=1, binning="equal-count")
    train, test = split(data)
    assert len(train) == 110 and test == [(k, f"{c}/cifar10_{c}_11.aedat") for k, c in enumerate(CLASSES)]
    raw = data.raw(data.test[0])
    assert raw.shape == (1, 2, 128, 128) and raw[0, 1, 40, 31] == 1 and raw[0, 0, 40, 20] == 1 and raw.sum() == 2


def write_aedat31(path: Path, events: list[tuple[int, int, int, int]]) -> None:
    words = b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events)
    header = struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, len(events), len(events), len(events))
    start = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 0: DVS128\r\n#!END-HEADER\r\n"
    path.write_bytes(start + header + words)


def test_gestures_of_the_authors_are_cut_by_their_csv_and_split_by_user(tmp_path: Path) -> None:
    for user in (1, 24):
        stem = f"user{user:02d}_fluorescent"
        events = [(100, 1, 2, 1), (999, 3, 4, 0), (1000, 5, 6, 1), (2500, 7, 8, 1)]
        write_aedat31(tmp_path / f"{stem}.aedat", events)
        (tmp_path / f"{stem}_labels.csv").write_text("class,startTime_usec,endTime_usec\n11,100,1000\n2,1000,2500\n")
    data = dataset("dvs-gesture", tmp_path, time_steps=1, binning="equal-count")
    assert [i.label for i in data.train] == [10, 1] and [i.label for i in data.test] == [10, 1]
    assert all("user01" in i.key for i in data.train) and all("user24" in i.key for i in data.test)
    raw = data.raw(data.train[0])
    assert raw.sum() == 2 and raw[0, 1, 2, 1] == 1 and raw[0, 0, 4, 3] == 1
    assert data.raw(data.train[1]).sum() == 1  # the end of an interval is not in it
    (tmp_path / "user24_fluorescent_labels.csv").unlink()
    with pytest.raises(InputError, match="user24_fluorescent_labels"):
        dataset("dvs-gesture", tmp_path)


@pytest.mark.parametrize("dtype", ["f8", "i2"])
def test_gestures_in_tonic_s_copies(tmp_path: Path, dtype: str) -> None:
    for part, user in (("ibmGestureTrain", 3), ("ibmGestureTest", 29)):
        folder = tmp_path / part / f"user{user:02d}_led"
        folder.mkdir(parents=True)
        np.save(folder / "5.npy", np.array([[9, 8, 1, 2], [9, 8, 0, 45]], dtype))
    data = dataset("dvs-gesture", tmp_path, time_steps=3, window="20ms")
    assert split(data)[1] == [(5, "ibmGestureTest/user29_led/5.npy")]
    raw = data.raw(data.train[0])
    assert raw[0, 1, 8, 9] == 1 and raw[2, 0, 8, 9] == 1
    (tmp_path / "ibmGestureTrain" / "user03_led" / "5.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(InputError, match=r"5\.npy"):
        DATASETS.get("dvs-gesture")(DataConfig(path=str(tmp_path), cache="off")).raw(data.train[0])


# --- static data sets ------------------------------------------------------------------------------------------------


def image_rows(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3072), dtype=np.uint8)


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar10_batches(tmp_path: Path, form: str) -> None:
    rows = image_rows(12)
    labels = [i % 10 for i in range(12)]
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        own, tags = rows[2 * k : 2 * k + 2], labels[2 * k : 2 * k + 2]
        if form == "python":
            batch = {b"data": own, b"labels": tags, b"batch_label": b"one"}
            (tmp_path / name).write_bytes(pickle.dumps({k.decode(): v for k, v in batch.items()}, protocol=2))
        else:
            (tmp_path / f"{name}.bin").write_bytes(
                b"".join(bytes([t]) + r.tobytes() for t, r in zip(tags, own, strict=True))
            )
    data = dataset("cifar10", tmp_path)
    assert len(data.train) == 10 and [i.label for i in data.test] == [0, 1] and data.names == CLASSES
    raw = data.raw(data.train[3])
    assert raw.shape == (1, 3, 32, 32) and (raw.ravel() == rows[3]).all()


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    rows = image_rows(4)
    for part, own in (("train", rows[:2]), ("test", rows[2:])):
        (tmp_path / f"{part}.bin").write_bytes(b"".join(bytes([3, 40 + k]) + r.tobytes() for k, r in enumerate(own)))
    data = dataset("cifar100", tmp_path)
    assert [i.label for i in data.train] == [40, 41] and len(data.names) == 100
    assert (data.raw(data.test[1]).ravel() == rows[3]).all()


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "broken-in"),)

    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (tmp_path / name).write_bytes(pickle.dumps({"data": Attack(), "labels": []}))
    with pytest.raises(InputError, match="data_batch_1"):
        dataset("cifar10", tmp_path)
    assert not (tmp_path / "broken-in").exists()


def write_pack(folder: Path, part: str, images: list[np.ndarray], labels: list[int]) -> None:
    encoded = [cv2.imencode(".jpg", im[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel() for im in images]
    offsets = np.cumsum([0, *map(len, encoded)])
    np.savez(folder / f"cifar10_{part}_jpegpack.npz", blob=np.concatenate(encoded), offsets=offsets, labels=labels)


def test_cifar10_as_a_jpeg_pack_is_rgb(tmp_path: Path) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    write_pack(tmp_path, "train", [red, red], [0, 1])
    write_pack(tmp_path, "test", [red], [2])
    data = dataset("cifar10", tmp_path)
    raw = data.raw(data.train[0]).astype(int)
    assert abs(raw[0, 0] - 200).max() < 12 and raw[0, 2].max() < 12


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_idx(tmp_path: Path, packed: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        for name, head, body in (
            ("images-idx3-ubyte", struct.pack(">IIII", 2051, 3, 28, 28), images.tobytes()),
            ("labels-idx1-ubyte", struct.pack(">II", 2049, 3), bytes([5, 0, 4])),
        ):
            path = tmp_path / f"{part}-{name}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(head + body) if packed else head + body)
    data = dataset("mnist", tmp_path)
    assert [i.label for i in data.test] == [5, 0, 4]
    assert (data.raw(data.train[1])[0, 0] == images[1]).all()
    damaged = tmp_path / f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(InputError, match="train-images"):
        dataset("mnist", tmp_path)


def test_folders_of_images_with_and_without_a_split(tmp_path: Path) -> None:
    image = np.full((20, 30, 3), (0, 0, 250), np.uint8)  # red, as OpenCV writes it
    for part, n in (("train", 3), ("val", 1)):
        for name in ("n01440764", "n01443537"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(n):
                cv2.imwrite(str(tmp_path / part / name / f"{i}.png"), image)
    data = dataset("folder", tmp_path, width=10, height=8)
    assert len(data.train) == 6 and len(data.test) == 2 and data.names == ["n01440764", "n01443537"]
    raw = data.raw(data.train[0])
    assert raw.shape == (1, 3, 8, 10) and (raw[0, 0] == 250).all() and raw[0, 1:].max() == 0
    alone = dataset("folder", tmp_path / "train")
    assert [i.key for i in alone.test] == ["train/n01440764/2.png", "train/n01443537/2.png"]
    (tmp_path / "train" / "n01440764" / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"0\.png"):
        dataset("folder", tmp_path, width=10, height=8).raw(data.train[0])


# --- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in DATASETS.names() if n != "stream"])
def test_missing_data_say_in_one_line_where_they_are_published(name: str, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError) as e:
            dataset(name, path)
        text = str(e.value)
        assert "--data" in text and "\n" not in text and "not found" in text
        assert "published at" in text or "published by" in text


def test_an_unknown_data_set_names_the_near_miss() -> None:
    with pytest.raises(UsageError, match="did you mean 'cifar10-dvs'"):
        open_dataset(DataConfig(name="cifar10_dvs"))


def test_a_subset_takes_the_classes_in_turn() -> None:
    items = [Item(label, str(i), None) for i, label in enumerate([0, 0, 0, 0, 1, 1, 2])]
    assert [i.key for i in select(items, 5)] == ["0", "1", "4", "5", "6"]
    assert select(items, 7) == items and select(items, None) == items
    assert [i.key for i in select(items, 2)] == ["0", "4"]


def test_some_classes_only_are_renumbered(tmp_path: Path) -> None:
    for name in CLASSES:
        for i in range(2):
            write_aedat2(tmp_path / name / f"cifar10_{name}_{i}.aedat", [(10, 1, 1, 1)])
    data = dataset("cifar10-dvs", tmp_path, classes=(8, 3))
    assert data.names == ["ship", "cat"] and sorted(i.label for i in data.train) == [0, 1]
