"""Folders of recordings in several formats as one labelled stream."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.folder import FolderSource
from stream_ottt.sources.opening import open_source


def record(path: Path, times: list[int], x: int = 1, side: int = 8) -> None:
    path.parent.mkdir(exist_ok=True)
    events = np.array([(x, 2, t, True) for t in times], EVENT_DTYPE)
    with WRITERS.get(path.suffix[1:])(path, side, side) as writer:
        writer.write(events)


def drain(source: FileSource) -> tuple[list[tuple[int, int]], InputError | None]:
    """(x, t) of each event; x says from which recording it is."""
    events: list[tuple[int, int]] = []
    try:
        for packet in source.packets():
            events += zip(packet.events["x"].tolist(), packet.events["t"].tolist(), strict=True)
    except InputError as e:
        return events, e
    return events, None


def slots(source: FileSource) -> list[tuple[int, int, int]]:
    return [(i.t_start, i.t_end, i.label) for i in source.labels or []]


@pytest.mark.parametrize("ending", ["csv", "es", "npz"])
def test_class_folders_in_alphabetical_order(tmp_path: Path, ending: str) -> None:
    record(tmp_path / "dog" / f"2.{ending}", [50, 60], x=1)
    record(tmp_path / "dog" / f"1.{ending}", [1000], x=2)
    record(tmp_path / "cat" / f"7.{ending}", [7, 8, 9], x=3, side=16)
    (tmp_path / "README.txt").write_text("about the classes")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "empty").mkdir()
    source = open_source(f"{tmp_path}?gap=5us")
    assert isinstance(source, FolderSource) and source.labels is None
    packets = list(source.packets())
    assert {(p.width, p.height) for p in packets} == {(16, 16)}
    assert [(x, t) for p in packets for x, t in zip(p.events["x"], p.events["t"], strict=True)] == [
        (3, 0), (3, 1), (3, 2), (2, 8), (1, 14), (1, 24)
    ]  # fmt: skip
    assert slots(source) == [(0, 3, 0), (8, 9, 1), (14, 25, 1)]
    assert source.class_names == {0: "cat", 1: "dog"}


def test_one_recording_a_class_and_the_limit(tmp_path: Path) -> None:
    for name, x in (("b", 1), ("a", 2), ("c", 3)):
        record(tmp_path / f"{name}.es", [10, 20], x=x)
    source = open_source(tmp_path)
    assert drain(source)[0] == [(2, 0), (2, 10), (1, 11), (1, 21), (3, 22), (3, 32)]  # type: ignore[arg-type]
    assert source.class_names == {0: "a", 1: "b", 2: "c"}
    for name in "abc":
        record(tmp_path / "k" / f"{name}.es", [1])
        record(tmp_path / "j" / f"{name}.es", [1])
    source = FolderSource.from_options(path=tmp_path, limit=2)
    drain(source)
    assert slots(source) == [(0, 1, 0), (1, 2, 0), (2, 3, 1), (3, 4, 1)]


def test_labels_stand_before_the_first_packet_and_spans_are_learned_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for x in range(3):
        record(tmp_path / f"{x}.es", [10, 20 + x], x=x)
    from stream_ottt.sources.es import EventStreamSource

    opened: list[str] = []
    whole = EventStreamSource.packets

    def counted(self: EventStreamSource) -> Any:
        opened.append(self.path.name)
        return whole(self)

    monkeypatch.setattr(EventStreamSource, "packets", counted)
    source = FolderSource.from_options(path=tmp_path, shuffle=True)
    packets = source.packets()
    next(packets)
    assert [b - a for a, b, _ in sorted(slots(source), key=lambda s: s[2])] == [11, 12, 13]
    assert len(opened) == 4
    list(packets)
    drain(source)
    assert len(opened) == 9
    opened.clear()
    source = FolderSource.from_options(path=tmp_path, duration="1ms", width=8, height=8)
    drain(source)
    assert opened == ["0.es", "1.es", "2.es"]
    assert slots(source) == [(0, 1000, 0), (1000, 2000, 1), (2000, 3000, 2)]


def test_passes_differ_and_repeat_with_the_seed(tmp_path: Path) -> None:
    for x in range(6):
        record(tmp_path / f"{x}.csv", [x], x=x)

    def orders(seed: int) -> list[list[int]]:
        source = FolderSource.from_options(path=tmp_path, shuffle=True, seed=seed, samples="1:")
        return [[x for x, _ in drain(source)[0]] for _ in range(4)]

    assert orders(1) == orders(1) != orders(2)
    assert len({tuple(order) for order in orders(1)}) > 1
    assert all(sorted(order) == [1, 2, 3, 4, 5] for order in orders(1))


def test_files_of_several_kinds_need_a_pattern(tmp_path: Path) -> None:
    record(tmp_path / "a.es", [1], x=1)
    record(tmp_path / "b.csv", [1], x=2)
    with pytest.raises(UsageError, match=r"several kinds \(\.csv, \.es\).*pattern="):
        drain(FolderSource.from_options(path=tmp_path))
    assert drain(open_source(f"{tmp_path}?pattern=*.es"))[0] == [(1, 0)]  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="pattern"):
        FolderSource.from_options(path=tmp_path, pattern="../*")


def test_the_sensor_size_is_passed_to_formats_that_do_not_know_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 3, 4, 1]]))
    record(tmp_path / "x" / "a.es", [1])
    source = FolderSource.from_options(path=tmp_path, pattern="*.npy", width=30, height=20)
    assert [(p.width, p.height) for p in source.packets()] == [(30, 20)]


def test_a_damaged_recording_ends_the_stream_after_what_was_good(tmp_path: Path) -> None:
    for x in range(3):
        record(tmp_path / f"{x}.es", [10, 20], x=x)
    data = (tmp_path / "1.es").read_bytes()
    (tmp_path / "1.es").write_bytes(data[:-2])
    source = FolderSource.from_options(path=tmp_path)
    events, error = drain(source)
    assert events == [(0, 0), (0, 10), (1, 11)]
    assert error is not None and error.path == tmp_path / "1.es" and error.offset == len(data) - 5
    assert slots(source) == [(0, 11, 0), (11, 12, 1), (12, 23, 2)]
    (tmp_path / "0.es").write_bytes(b"")
    assert "0.es" in str(drain(FolderSource.from_options(path=tmp_path))[1])


def test_folders_without_recordings(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        _, error = drain(FolderSource.from_options(path=path))
        assert error is not None and "CLASS" in str(error)


def test_real_recordings_one_a_class(real_data: Path) -> None:
    source = open_source(f"{real_data / 'dvs128_objects'}?pattern=*.aedat&duration=300ms&width=128&height=128")
    assert isinstance(source, FolderSource)
    events, error = drain(source)
    assert error is None and len(events) > 5000
    assert [name for _, name in sorted(source.class_names.items())][:2] == ["Caixa", "Caneca"]
    assert slots(source)[-1] == (1_800_000, 2_100_000, 6)


def test_recordings_with_their_label_files_are_read_by_them(tmp_path: Path) -> None:
    for name, start in (("user01", 1_000), ("user02", 5_000_000)):
        record(tmp_path / f"{name}.es", [start, start + 40, start + 90], x=int(name[-1]))
    record(tmp_path / "unlabelled.es", [7], x=9)
    header = "class,startTime_usec,endTime_usec\n"
    (tmp_path / "user01_labels.csv").write_text(header + "1,1010,1050\n2,1060,1200\n")
    (tmp_path / "user02_labels.csv").write_text(header + "3,4999000,5000010\n")
    for junk in (
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "README.txt",
        "LICENSE",
        "notes.md",
        "a.raw.tmp_index",
        "a.bias",
    ):
        (tmp_path / junk).write_bytes(b"\0\1")
    source = open_source(f"{tmp_path}?gap=1ms")
    assert drain(source)[0] == [(1, 0), (1, 40), (1, 90), (2, 1091), (2, 1131), (2, 1181)]
    # Intervals begin and end with the recordings that they belong to.
    assert slots(source) == [(10, 50, 1), (60, 91, 2), (1091, 1101, 3)]
    assert source.class_names == {1: "1", 2: "2", 3: "3"}
    assert source.describe() == {"without_labels": "1 passed over, such as unlabelled.es"}
    assert drain(open_source(f"{tmp_path}?samples=1:"))[0] == [(2, 0), (2, 40), (2, 90)]


@pytest.mark.parametrize(
    ("names", "asks"),
    [
        (["x_0", "x_1"], True),
        (["rec-9", "rec-10", "rec-11"], True),
        (["a.001", "a.003"], True),  # one was taken away
        (["rec_20240101_101112", "rec_20240102_111213"], True),
        (["dvSave-2024_01_02_10_11_12", "dvSave-2024_01_02_10_21_12"], True),
        (["cat_20240101", "dog_20240101"], False),
        (["x_0", "x_2"], False),
        (["x_0", "y_1"], False),
        (["0", "1"], False),
        (["class_0", "class_1"], False),
        (["my-digits_3", "my-digits_4"], False),
        (["chair", "table_1"], False),
    ],
)
def test_names_that_differ_by_a_running_number_are_asked_about(tmp_path: Path, names: list[str], asks: bool) -> None:
    for name in names:
        record(tmp_path / f"{name}.csv", [5, 6])
    if asks:
        with pytest.raises(UsageError, match=r"join=true.*join=false"):
            drain(open_source(tmp_path))
    else:
        source = open_source(tmp_path)
        assert len(drain(source)[0]) == 2 * len(names) and len(source.class_names) == len(names)  # type: ignore[attr-defined]


def test_packed_pieces_are_asked_about_too_and_classes_have_no_ending(tmp_path: Path) -> None:
    for name in ("x_0", "x_1", "cat"):
        record(tmp_path / f"{name}.csv", [5, 6])
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress((tmp_path / f"{name}.csv").read_bytes()))
        (tmp_path / f"{name}.csv").unlink()
    source = open_source(tmp_path)
    drain(source)  # type: ignore[arg-type]
    assert source.class_names == {0: "cat", 1: "x_0", 2: "x_1"}
    (tmp_path / "cat.csv.gz").unlink()
    with pytest.raises(UsageError, match="join=true"):
        drain(open_source(tmp_path))  # type: ignore[arg-type]


def test_a_list_of_labels_is_no_recording(tmp_path: Path) -> None:
    record(tmp_path / "a.csv", [5, 6])
    (tmp_path / "labels.csv").write_text("file,label\na.csv,cat\n")
    with pytest.raises(UsageError, match=r"labels\.csv looks like a list of labels, not a recording"):
        drain(open_source(tmp_path))  # type: ignore[arg-type]
    assert drain(open_source(f"{tmp_path}?pattern=a.*"))[0] == [(1, 0), (1, 1)]  # type: ignore[arg-type]


def test_pieces_are_joined_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for i in range(12):
        record(tmp_path / f"x_{i}.csv", [10 * i, 10 * i + 5], x=i % 8)
    events, error = drain(open_source(f"{tmp_path}?join=true"))
    assert error is None and [t for _, t in events] == [5 * i for i in range(24)]


def test_pieces_of_one_session_are_joined_on_request(tmp_path: Path) -> None:
    record(tmp_path / "rec_0000.es", [100, 200], x=1)
    record(tmp_path / "rec_0001.es", [300, 400], x=2, side=16)
    record(tmp_path / "rec_0002.es", [5, 10], x=3)  # the clock began anew
    with pytest.raises(UsageError, match="join=true"):
        drain(open_source(tmp_path))
    source = open_source(f"{tmp_path}?join=true")
    assert drain(source) == ([(1, 100), (1, 200), (2, 300), (2, 400), (3, 401), (3, 406)], None)
    assert source.labels is None
    assert {(p.width, p.height) for p in source.packets()} == {(16, 16)}
    apart = open_source(f"{tmp_path}?join=false")
    drain(apart)
    assert len(slots(apart)) == 3
    with pytest.raises(UsageError, match="'shuffle' is for labelled collections"):
        drain(open_source(f"{tmp_path}?join=true&shuffle=true"))


def test_folders_of_n_caltech101(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, x in (("Faces_easy", 239), ("accordion", 100)):
        t = np.sort(rng.integers(0, 10**5, 50))
        records = np.stack([np.full(50, x), rng.integers(0, 180, 50), t >> 16, t >> 8 & 255, t & 255], axis=1)
        (tmp_path / name).mkdir()
        (tmp_path / name / "image_0001.bin").write_bytes(records.astype(np.uint8).tobytes())
        (tmp_path / name / ".DS_Store").write_bytes(b"\0")
    source = open_source(tmp_path)
    events, error = drain(source)
    assert error is None and {x for x, _ in events} == {239, 100} and len(events) == 100
    assert {(p.width, p.height) for p in source.packets()} == {(240, 180)}
    assert source.class_names == {0: "Faces_easy", 1: "accordion"} and source.size_from == "camera"


def test_recordings_that_lie_deeper_are_pointed_to(tmp_path: Path) -> None:
    for part in ("test", "train"):
        for name in ("box", "cup"):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "1.csv").write_text("t,x,y,p\n1,2,3,1\n")
    with pytest.raises(InputError, match=f"they lie deeper: give {tmp_path / 'test'}"):
        list(FolderSource.from_options(path=tmp_path).packets())
