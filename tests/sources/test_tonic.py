"""tonic's data sets: small files in each published form, through tonic against this project's own readers of the same
files; data that are missing or damaged; and never a connection to anywhere."""

from __future__ import annotations

import socket
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_recipes import some_events, write_aedat4, write_nmnist

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, make_events
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.datasets.dvs_gesture import read_tonic
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.tonic_data import SETS, offline_class

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what tonic's own imports say
    pytest.importorskip("tonic")


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever looks for a machine or connects to one fails the test, even when the attempt was caught."""
    attempts: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        attempts.append(args)
        raise OSError("no connections here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not attempts


def played(uri: str) -> tuple[EventArray, list[LabelInterval], dict[int, str], set[tuple[int, int]]]:
    """All of a source: events, labels, class names, and the sizes that its packets say."""
    source = open_source(uri)
    packets = list(source.packets())
    events = np.concatenate([p.events for p in packets])
    return events, list(source.labels), source.class_names, {(p.width, p.height) for p in packets}


def own(uri: str) -> EventArray:
    return np.concatenate([p.events for p in open_source(uri).packets()])


def laid_out(*samples: EventArray) -> tuple[EventArray, list[tuple[int, int]]]:
    """Samples one after another by hand, and where each begins and ends."""
    out, slots, at = [], [], 0
    for sample in samples:
        sample = sample.copy()
        sample["t"] += at - sample["t"][0]
        out.append(sample)
        slots.append((at, int(sample["t"][-1]) + 1))
        at = slots[-1][1]
    return np.concatenate(out), slots


def random_events(seed: int, width: int, height: int, n: int = 300, start: int = 0) -> EventArray:
    rng = np.random.default_rng(seed)
    t = start + np.sort(rng.integers(0, 100_000, n))
    return make_events(rng.integers(0, width, n), rng.integers(0, height, n), t, rng.random(n) < 0.5)


def rows(e: EventArray, order: str, dtype: str = "f8") -> np.ndarray:
    return np.stack([e[c].astype(dtype) for c in order], axis=1)


def saved(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def written(path: Path, write: Callable[[Path, EventArray], None], events: EventArray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, events)
    return path


# --- each data set in its published form -----------------------------------------------------------------------------


def test_nmnist(tmp_path: Path) -> None:
    parts = {"Train": ("0", "7"), "Test": ("4",)}
    for part, digits in parts.items():
        for digit in digits:
            for i in (1, 2):
                path = tmp_path / "NMNIST" / part / digit / f"{i:05d}.bin"
                written(path, write_nmnist, random_events(i + int(digit), 34, 34))
    for part, option in (("Train", ""), ("Train", "&train=true"), ("Test", "&train=false")):
        events, labels, names, sizes = played(f"tonic:NMNIST?root={tmp_path}{option}")
        ours = open_source(tmp_path / "NMNIST" / part)
        assert type(ours).name == "nmnist"
        assert np.array_equal(events, np.concatenate([p.events for p in ours.packets()]))
        assert labels == ours.labels and {str(i.label) for i in labels} == set(parts[part])
        assert sizes == {(34, 34)} and names[7] == "7 - seven" and len(names) == 10


def test_nmnist_with_times_beyond_the_overflow(tmp_path: Path) -> None:
    path = tmp_path / "NMNIST" / "Train" / "5" / "00001.bin"
    path.parent.mkdir(parents=True)
    records = [(1, 2, 100), (0, 240, 0), (3, 4, 50), (0, 240, 0), (5, 6, 7)]
    path.write_bytes(b"".join(bytes([x, y]) + t.to_bytes(3, "big") for x, y, t in records))
    assert played(f"tonic:NMNIST?root={tmp_path}")[0]["t"].tolist() == [0, 8192 - 50, 2 * 8192 - 93]


def test_ncaltech101_has_its_class_names_as_labels(tmp_path: Path) -> None:
    folder = tmp_path / "NCALTECH101" / "Caltech101"
    samples = []
    for k, (name, number) in enumerate(
        [("airplanes", 2), ("airplanes", 10), ("BACKGROUND_Google", 1), ("yin_yang", 1)]
    ):
        e = random_events(k, 200, 150)
        e["x"] += 20
        e["y"] += 10
        path = written(folder / name / f"image_{number}.bin", write_nmnist, e)
        ours = own(f"{path}?format=nmnist&width=240&height=180")
        ours["x"] -= ours["x"].min()
        ours["y"] -= ours["y"].min()
        samples.append(ours)
    events, labels, names, sizes = played(f"tonic:NCALTECH101?root={tmp_path}")
    expected, slots = laid_out(samples[2], samples[0], samples[1], samples[3])
    assert np.array_equal(events, expected) and sizes == {(240, 180)}
    assert [(i.t_start, i.t_end) for i in labels] == slots and [i.label for i in labels] == [0, 1, 1, 2]
    assert names == {0: "BACKGROUND_Google", 1: "airplanes", 2: "yin_yang"}


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8"])
def test_gestures(tmp_path: Path, dtype: str) -> None:
    samples = []
    for user, gesture in (("user2_led", 10), ("user10_natural", 0)):
        e = random_events(gesture, 128, 128)
        e["t"] //= 1000  # they are in ms
        path = tmp_path / "DVSGesture" / "ibmGestureTest" / user / f"{gesture}.npy"
        samples.append(read_tonic(saved(path, rows(e, "xypt", dtype))))
        assert samples[-1]["t"][-1] > 90_000
    events, labels, names, sizes = played(f"tonic:DVSGesture?root={tmp_path}&train=false")
    assert np.array_equal(events, laid_out(*samples)[0]) and sizes == {(128, 128)}
    assert [i.label for i in labels] == [10, 0] and names[10] == "Other gestures" and len(names) == 11


def test_cifar10_dvs(tmp_path: Path) -> None:
    folder = tmp_path / "CIFAR10DVS"
    samples = []
    for k, file in enumerate(["airplane/cifar10_airplane_2", "airplane/cifar10_airplane_10", "truck/cifar10_truck_0"]):
        path = written(folder / f"{file}.aedat4", write_aedat4, random_events(k, 34, 34, start=1_700_000_000_000_000))
        samples.append(own(str(path)))
    events, labels, names, sizes = played(f"tonic:CIFAR10DVS?root={tmp_path}")
    assert np.array_equal(events, laid_out(*samples)[0]) and sizes == {(128, 128)}
    assert [i.label for i in labels] == [0, 0, 9] and names[9] == "truck" and len(names) == 10


def test_poker_dvs(tmp_path: Path) -> None:
    samples = []
    for k, name in enumerate(["cl", "he", "di", "sp"]):
        path = saved(tmp_path / "POKERDVS/pips_train" / name / "0.npy", rows(random_events(k, 35, 35), "txyp", "i8"))
        samples.append(own(f"{path}?width=35&height=35"))
    events, labels, names, sizes = played(f"tonic:POKERDVS?root={tmp_path}")
    assert np.array_equal(events, laid_out(*samples)[0]) and sizes == {(35, 35)}
    assert [i.label for i in labels] == [0, 1, 2, 3] and names == {0: "cl", 1: "he", 2: "di", 3: "sp"}


def write_mat(path: Path, e: EventArray, polarities: tuple[int, int] = (0, 1)) -> None:
    """As ASL-DVS is published: columns [n, 1], the lowest row first."""
    import scipy.io

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"ts": e["t"], "x": e["x"], "y": 179 - e["y"], "pol": np.where(e["p"], polarities[1], polarities[0])}
    scipy.io.savemat(path, {k: v.reshape(-1, 1) for k, v in columns.items()})


@pytest.mark.parametrize("polarities", [(0, 1), (-1, 1)])
def test_asl_dvs(tmp_path: Path, polarities: tuple[int, int]) -> None:
    samples = []
    for letter in "ay":
        samples.append(random_events(ord(letter), 240, 180))
        write_mat(tmp_path / "ASLDVS/Yin1" / letter / f"{letter}_0001.mat", samples[-1], polarities)
    events, labels, names, sizes = played(f"tonic:ASLDVS?root={tmp_path}")
    assert np.array_equal(events, laid_out(*samples)[0]) and sizes == {(240, 180)}
    assert [i.label for i in labels] == [0, 24] and names[24] == "y"


def test_dvs_lip(tmp_path: Path) -> None:
    form = np.dtype([("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])
    samples = []
    for k, word in enumerate(["action", "young"]):
        array = np.empty(300, form)
        for field, column in zip("xytp", rows(random_events(k, 128, 128), "xytp").T, strict=True):
            array[field] = column
        path = saved(tmp_path / "DVSLip/DVS-Lip/test" / word / "0.npy", array)
        samples.append(own(f"{path}?width=128&height=128"))
    events, labels, names, sizes = played(f"tonic:DVSLip?root={tmp_path}&train=false")
    assert np.array_equal(events, laid_out(*samples)[0]) and sizes == {(128, 128)}
    assert [i.label for i in labels] == [1, 99] and names[99] == "young"


# --- a labelled collection as all others -----------------------------------------------------------------------------


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Three samples of each of the digits 0, 1, 2 to train, one to test."""
    for digit in range(3):
        for part, n in (("Train", 3), ("Test", 1)):
            for i in range(n):
                path = tmp_path / "NMNIST" / part / str(digit) / f"{i:05d}.bin"
                written(path, write_nmnist, random_events(10 * digit + i, 34, 34))
    return tmp_path


def test_selection_order_and_slots(digits: Path) -> None:
    def labels(options: str) -> list[LabelInterval]:
        return played(f"tonic:NMNIST?root={digits}&{options}")[1]

    assert [i.label for i in labels("samples=2:7")] == [0, 1, 1, 1, 2]
    assert [i.label for i in labels("limit=1")] == [0, 1, 2]
    shuffled = [i.label for i in labels("shuffle=true&seed=4")]
    assert sorted(shuffled) == [0, 0, 0, 1, 1, 1, 2, 2, 2] != shuffled
    assert shuffled == [i.label for i in labels("shuffle=true&seed=4")]
    slots = labels("limit=1&duration=200ms&gap=50ms")
    assert [(i.t_start, i.t_end) for i in slots] == [(k * 250_000, k * 250_000 + 200_000) for k in range(3)]
    with pytest.raises(UsageError, match="selects none of its 9 samples"):
        labels("samples=9:")


def test_a_long_sample_comes_in_packets(tmp_path: Path) -> None:
    e = random_events(0, 34, 34, 2 * PACKET_EVENTS + 5)
    written(tmp_path / "NMNIST/Train/1/00001.bin", write_nmnist, e)
    packets = list(open_source(f"tonic:NMNIST?root={tmp_path}&duration=1s").packets())
    assert [len(p) for p in packets] == [PACKET_EVENTS, PACKET_EVENTS, 5]


def test_it_is_a_data_set_of_the_replay(digits: Path) -> None:
    train, test = (f"tonic:NMNIST?root={digits}&train={word}" for word in ("true", "false"))
    data = open_dataset(DataConfig(name="stream", path=train, test_path=test, time_steps=4, window="10ms", cache="off"))
    assert data.names == ["0 - zero", "1 - one", "2 - two"]
    assert [i.label for i in data.train] == [0, 0, 0, 1, 1, 1, 2, 2, 2] and [i.label for i in data.test] == [0, 1, 2]
    e = own(str(digits / "NMNIST/Test/2/00000.bin"))
    first = e[e["t"] < e["t"][0] + 40_000]
    assert data.raw(data.test[2]).sum() == len(first) and data.raw(data.test[2]).shape == (4, 2, 34, 34)


# --- what is not there, and what is damaged --------------------------------------------------------------------------


def refusal(uri: str) -> InputError:
    with pytest.raises(InputError) as error:
        list(open_source(uri).packets())
    assert "\n" not in str(error.value)
    return error.value


def _archive(name: str) -> str:
    cls = offline_class(name)
    return str(getattr(cls, "train_filename", None) or cls.filename)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("there", ["nothing", "folder", "archive"])
def test_missing_files_are_named_and_not_fetched(name: str, there: str, tmp_path: Path) -> None:
    if there != "nothing":
        (tmp_path / name).mkdir()
    if there == "archive":  # as tonic finds it before it unpacks it
        (tmp_path / name / _archive(name)).write_bytes(b"PK")
    before = sorted(tmp_path.rglob("*"))
    error = refusal(f"tonic:{name}?root={tmp_path}")
    assert str(error.path).startswith(str(tmp_path / name)) and str(error.path) in str(error)
    assert SETS[name].published in str(error) and SETS[name].ending in str(error)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_class_that_wants_to_download_cannot(tmp_path: Path) -> None:
    (tmp_path / "NMNIST/Train/1").mkdir(parents=True)
    write_nmnist(tmp_path / "NMNIST/Train/1/1.bin", some_events())
    data = offline_class("NMNIST")(str(tmp_path))
    with pytest.raises(InputError, match="nothing is downloaded"):
        data.download()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nmnist", "did you mean 'NMNIST'"),
        ("DVSGestures", "did you mean 'DVSGesture'"),
        ("SHD", "supported: ASLDVS, CIFAR10DVS"),
        ("", "supported"),
    ],
)
def test_other_data_sets_are_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as error:
        open_source(f"tonic:{name}?root={tmp_path}")
    assert all(known in str(error.value) for known in SETS) and "\n" not in str(error.value)


def test_options_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source\.train.*CIFAR10DVS has no training and test part"):
        open_source(f"tonic:CIFAR10DVS?root={tmp_path}&train=false")
    with pytest.raises(UsageError, match=r"'source\.root' is required"):
        open_source("tonic:NMNIST")
    with pytest.raises(UsageError, match="did you mean 'root'"):
        open_source(f"tonic:NMNIST?path={tmp_path}")


def test_without_tonic_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in sys.modules if n == "tonic" or n.startswith("tonic.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(UsageError, match="pip install tonic"):
        list(open_source(f"tonic:NMNIST?root={tmp_path}").packets())


def test_without_the_reader_of_aedat4_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(tmp_path / "CIFAR10DVS/cat/1.aedat4", write_aedat4, some_events())
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(UsageError, match="pip install aedat"):
        list(open_source(f"tonic:CIFAR10DVS?root={tmp_path}").packets())


def huge_npy(path: Path, good: EventArray) -> None:
    """A header that promises a tebibyte."""
    saved(path, rows(good, "xypt"))
    data = path.read_bytes()
    shape = b"(%d, 4)" % len(good)
    path.write_bytes(data.replace(shape + b", }" + b" " * 9, b"(34359738368, 4), }" + b" " * (len(shape) - 3)))


def longer_npy(path: Path, good: EventArray) -> None:
    """More bytes than the header promises, which NumPy passes over."""
    saved(path, rows(good, "xypt"))
    path.write_bytes(path.read_bytes() + bytes(32))


def not_a_number(path: Path, good: EventArray) -> None:
    array = rows(good, "xypt")
    array[3, 0] = np.nan
    saved(path, array)


def objects(path: Path, good: EventArray) -> None:
    np.save(path, np.array([{}], object), allow_pickle=True)


def cut_bin(path: Path, good: EventArray) -> None:
    write_nmnist(path, good)
    path.write_bytes(path.read_bytes()[:-4])


def cut_aedat4(path: Path, good: EventArray) -> None:
    write_aedat4(path, good)
    path.write_bytes(path.read_bytes()[:-1])


def panicking_aedat4(path: Path, good: EventArray) -> None:
    write_aedat4(path, good)
    data = bytearray(path.read_bytes())
    data[14:18] = struct.pack("<I", 20)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "good", "bad", "damage"),
    [
        ("NMNIST", "Train/1/1.bin", "Train/1/2.bin", cut_bin),
        ("NCALTECH101", "Caltech101/a/1.bin", "Caltech101/a/2.bin", cut_bin),
        ("DVSGesture", "ibmGestureTrain/user1_led/1.npy", "ibmGestureTrain/user1_led/2.npy", huge_npy),
        ("DVSGesture", "ibmGestureTrain/user1_led/1.npy", "ibmGestureTrain/user1_led/2.npy", longer_npy),
        ("DVSGesture", "ibmGestureTrain/user1_led/1.npy", "ibmGestureTrain/user1_led/2.npy", not_a_number),
        ("DVSGesture", "ibmGestureTrain/user1_led/1.npy", "ibmGestureTrain/user1_led/2.npy", objects),
        ("CIFAR10DVS", "cat/1.aedat4", "cat/2.aedat4", cut_aedat4),
        ("CIFAR10DVS", "cat/1.aedat4", "cat/2.aedat4", panicking_aedat4),
        ("ASLDVS", "a/1.mat", "a/2.mat", lambda path, good: path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))),
        ("ASLDVS", "a/1.mat", "a/2.mat", lambda path, good: write_mat(path, good, (1, 2))),
    ],
)
@pytest.mark.parametrize("duration", ["", "&duration=1s"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a warning is no error where people work
def test_damage_comes_after_what_was_good(
    name: str, good: str, bad: str, damage: Any, duration: str, tmp_path: Path
) -> None:
    writers: dict[str, Callable[[Path, EventArray], Any]] = {
        ".bin": write_nmnist,
        ".npy": lambda path, e: saved(path, rows(e, "xypt")),
        ".aedat4": write_aedat4,
        ".mat": write_mat,
    }
    folder = tmp_path / name
    written(folder / good, writers[SETS[name].ending], some_events())
    damage(folder / bad, some_events())
    received = []
    with pytest.raises(InputError) as error:
        received.extend(open_source(f"tonic:{name}?root={tmp_path}{duration}").packets())
    assert "\n" not in str(error.value) and str(folder / bad) in str(error.value)
    assert sum(map(len, received)) == len(some_events())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("DVSGesture", "ibmGestureTrain/notes/1.npy"),
        ("DVSGesture", "ibmGestureTrain/user1_led/12.npy"),
        ("NMNIST", "Train/x/1.bin"),
        ("CIFAR10DVS", "plane/1.aedat4"),
        ("DVSLip", "DVS-Lip/train/nonsense/1.npy"),
        ("POKERDVS", "pips_train/joker/1.npy"),
        ("POKERDVS", "pips_train/cl/1.npy"),
    ],
)
def test_files_where_none_are_expected(name: str, file: str, tmp_path: Path) -> None:
    path = tmp_path / name / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert str(tmp_path / name) in str(refusal(f"tonic:{name}?root={tmp_path}"))


def test_poker_dvs_is_checked_before_tonic_reads_it(tmp_path: Path) -> None:
    saved(tmp_path / "POKERDVS/pips_train/cl/1.npy", rows(some_events(), "txyp", "i8"))
    longer_npy(tmp_path / "POKERDVS/pips_train/cl/2.npy", some_events())
    assert refusal(f"tonic:POKERDVS?root={tmp_path}").path == tmp_path / "POKERDVS/pips_train/cl/2.npy"
