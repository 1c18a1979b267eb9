"""N-MNIST's 40-bit records: against a reading record by record, against tonic; and damage."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.errors import UsageError
from stream_ottt.sources.nmnist import NmnistSource
from stream_ottt.sources.opening import open_source

RECORDS = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.booleans(), st.integers(0, 2**23 - 1)),
    min_size=1,
    max_size=60,
)


def encode(records: list[tuple[int, int, bool, int]]) -> bytes:
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in records)


def by_hand(records: list[tuple[int, int, bool, int]]) -> list[tuple[int, int, int, bool]]:
    added, out = 0, []
    for x, y, p, t in records:
        if y == 240:
            added += 8192
        else:
            out.append((x, y, t + added, p))
    return out


@settings(deadline=None, max_examples=50)
@given(RECORDS)
def test_decodes_as_a_reading_record_by_record(tmp_path_factory: pytest.TempPathFactory, records: list) -> None:
    path = tmp_path_factory.mktemp("n") / "a.bin"
    path.write_bytes(encode(records))
    assert drain_rows(NmnistSource.from_options(path=path)) == (by_hand(records), None)


@settings(deadline=None, max_examples=50)
@given(RECORDS)
def test_decodes_as_tonic(records: list) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what tonic's own imports say
        theirs_io = pytest.importorskip("tonic.io")
    from stream_ottt.sources.nmnist import decode

    data = encode(records)
    theirs = theirs_io.read_mnist_file(io.BytesIO(data), theirs_io.events_struct, is_stream=True)
    ours, _ = decode(np.frombuffer(data, np.uint8).reshape(-1, 5))
    assert ours.tolist() == theirs.tolist()


def test_overflow_carries_from_one_piece_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.nmnist.PACKET_EVENTS", 3)
    records = [(1, 240 if i % 4 == 0 else 5, i % 3 == 0, i) for i in range(50)]
    (tmp_path / "a.bin").write_bytes(encode(records))
    assert drain_rows(NmnistSource.from_options(path=tmp_path / "a.bin")) == (by_hand(records), None)


def test_every_truncation_gives_the_whole_records_and_says_where_it_ends(tmp_path: Path) -> None:
    records = [(3, 4, True, 10), (5, 240, False, 0), (33, 33, False, 11), (0, 0, True, 12)]
    data = encode(records)
    path = tmp_path / "a.bin"
    for n in range(1, len(data)):
        path.write_bytes(data[:n])
        events, error = drain_rows(NmnistSource.from_options(path=path))
        assert events == by_hand(records[: n // 5])
        if n % 5:
            assert error is not None and error.offset == n // 5 * 5 and "truncated" in str(error)
        else:
            assert error is None


def test_recognised_by_plausibility_only(tmp_path: Path) -> None:
    path = tmp_path / "anything"

    def recognised(data: bytes) -> bool:
        path.write_bytes(data)
        return NmnistSource.sniff(data[:4096], path)

    good = encode([(3, 4, True, 10), (5, 240, False, 0), (33, 33, False, 11)])
    assert recognised(good)
    assert recognised(good + encode([(0, 0, True, 12)] * 2000))
    assert not recognised(good + b"\0")
    assert not recognised(encode([(34, 4, True, 10)]))
    assert not recognised(encode([(3, 34, True, 10)]))
    assert not recognised(encode([(3, 4, True, 10), (3, 4, True, 9)]))
    assert not recognised(bytes(500))
    assert not recognised(b"t,x,y,on\n0,0,0,1\n\n\n\n")


def test_a_folder_is_one_labelled_stream(tmp_path: Path) -> None:
    for digit, times in (("7", [5, 25]), ("2", [100, 110, 130])):
        (tmp_path / digit).mkdir()
        (tmp_path / digit / "00001.bin").write_bytes(encode([(1, int(digit), True, t) for t in times]))
    (tmp_path / "README").mkdir()
    source = open_source(f"{tmp_path}?gap=1ms")
    assert isinstance(source, NmnistSource) and source.labels is None
    assert source.class_names == {2: "2", 7: "7"}
    events, error = drain_rows(source)
    assert error is None
    assert [(y, t) for _, y, t, _ in events] == [(2, 0), (2, 10), (2, 30), (7, 1031), (7, 1051)]
    assert [(i.t_start, i.t_end, i.label) for i in source.labels or []] == [(0, 31, 2), (1031, 1052, 7)]


def test_options_of_collections_are_refused_for_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encode([(3, 4, True, 10)]))
    with pytest.raises(UsageError, match=r"'shuffle' is for labelled collections"):
        drain_rows(NmnistSource.from_options(path=tmp_path / "a.bin", shuffle=True))


def test_missing_file_and_empty_folder_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.bin", tmp_path):
        _, error = drain_rows(NmnistSource.from_options(path=path))
        assert error is not None and str(path) in str(error)


def test_real_files_are_the_samples_of_the_real_collection(real_data: Path) -> None:
    with np.load(real_data / "nmnist" / "nmnist_800.npz") as z:
        offsets, columns = z["offsets"], {k: z[k] for k in "xytp"}
        labels = z["labels"]
    for path in sorted((real_data / "nmnist" / "bin").glob("*/*.bin")):
        i = int(path.stem) - 1
        packets = list(open_source(path).packets())  # type: ignore[attr-defined]
        assert len(packets) == 1 and (packets[0].width, packets[0].height) == (34, 34)
        assert labels[i] == int(path.parent.name)
        for key, column in columns.items():
            np.testing.assert_array_equal(packets[0].events[key], column[offsets[i] : offsets[i + 1]])
