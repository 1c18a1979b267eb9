"""Prophesee's HDF5: chunks of ECF in all their forms, and in damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stream_ottt.errors import InputError
from stream_ottt.sources.ecf import FILTER, RECORD
from stream_ottt.sources.hdf5 import Hdf5Source

CHUNK = 4096
KINDS = {"all apart": 0, "x and polarity": 1, "y, x and polarity": 2}


def runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Each run of equal values: the value and how long it is."""
    starts = np.flatnonzero(np.diff(values.astype(np.int64), prepend=int(values[0]) - 1))
    return [(int(values[a]), int(b - a)) for a, b in zip(starts, [*starts[1:], len(values)], strict=True)]


def counted(head: int, bits: int, count: int, long: str, short: str) -> bytes:
    """A head with a count in its lowest bits, or with all of them set and the count behind it."""
    most = (1 << bits) - 1
    return (
        struct.pack(short, head << bits | count)
        if count < most
        else struct.pack(short + long, head << bits | most, count)
    )


def fours(values: list[int], words: str, part: int) -> bytes:
    """Four values of 3·part bits in three words of 4·part bits; the last four are filled up."""
    values = values + [0x5A5A5A & (1 << 3 * part) - 1] * (-len(values) % 4)
    out = b""
    for a, b, c, d in zip(*(values[k::4] for k in range(4)), strict=True):
        low, half = (1 << part) - 1, (1 << 2 * part) - 1
        out += struct.pack(words, a << part | b & low, b >> part << 2 * part | c & half, c >> 2 * part << 3 * part | d)
    return out


def encode(e: np.ndarray, kind: int) -> bytes:
    out = struct.pack("<Iq", len(e) << 2 | kind, int(e["t"][0]))
    t = int(e["t"][0])
    for value, count in runs(e["t"]):
        step = value - t
        if step >= 15:
            while step:
                out += bytes([0xF0 | step & 15])
                step >>= 4
        out += counted(step, 4, count, "H", "<B")
        t = value
    x, y, p = (e[k].astype(int).tolist() for k in "xyp")
    if kind == 2:
        out += fours([b << 12 | a << 1 | c for a, b, c in zip(x, y, p, strict=True)], "<III", 8)
        return out
    out += b"".join(counted(value, 5, count, "H", "<H") for value, count in runs(e["y"]))
    if kind == 1:
        out += fours([a << 1 | c for a, c in zip(x, p, strict=True)], "<HHH", 4)
        return out
    i = 0
    while i < len(e):
        base, mask = x[i], 0
        i += 1
        for k in range(5):
            if i < len(e) and x[i] == base + k + 1:
                mask |= 16 >> k
                i += 1
        out += struct.pack("<H", base << 5 | (mask if i < len(e) else mask | 1))
    return out + b"".join(counted(value, 7, count, "H", "<B") for value, count in runs(e["p"]))


def events(n: int, seed: int = 1) -> np.ndarray:
    """Events with runs of every length, long pauses among them."""
    rng = np.random.default_rng(seed)
    out = np.zeros(n, RECORD)
    steps = rng.choice(
        [0, 0, 0, 1, 3, 14, 15, 16, 300, 2**33], n, p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.01, 0.01, 0.01, 0.01, 0.01]
    )
    steps[n // 2 : n // 2 + 400] = 0
    out["t"] = 1_000_000 + np.cumsum(steps)
    out["y"] = np.repeat(rng.integers(0, 720, n), rng.choice([1, 2, 31, 30, 200], n))[:n]
    out["x"] = np.minimum(np.cumsum(rng.choice([1, 1, 2, 5, 6, 900], n)) % 1280, 1279)
    out["p"] = np.repeat(rng.integers(0, 2, n), rng.choice([1, 3, 126, 127, 500], n))[:n]
    return out


def write(path: Path, chunks: list[bytes], n: int, mask: int = 0) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "CD/events", (n,), RECORD, maxshape=(None,), chunks=(CHUNK,), compression=FILTER, allow_unknown_filter=True
        )
        for k, chunk in enumerate(chunks):
            if chunk:
                dataset.id.write_direct_chunk((k * CHUNK,), chunk, mask)
        file.attrs["geometry"] = "1280x720"


def read(path: Path, **options: Any) -> np.ndarray:
    packets = list(Hdf5Source.from_options(path=path, **options).excerpt())
    assert {(p.width, p.height) for p in packets} <= {(1280, 720)}
    return np.concatenate([p.events for p in packets])


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return all(np.array_equal(found[k], expected[k]) for k in "txyp")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_form_of_chunk(kind: int, tmp_path: Path) -> None:
    n = 3 * CHUNK - 1  # the last chunk is filled up with zeros, whose times lie before those of the events
    e = events(n)
    assert {1, 14} <= {c for _, c in runs(e["t"])} and max(c for _, c in runs(e["t"])) > 255
    padded = np.zeros(3 * CHUNK, RECORD)
    padded[:n] = e
    padded["t"][n:] = e["t"][-1]
    write(tmp_path / "a.hdf5", [encode(c, kind) for c in np.split(padded, 3)], n)
    assert same(read(tmp_path / "a.hdf5"), e)
    start = int(e["t"][9000] - e["t"][0])
    assert same(read(tmp_path / "a.hdf5", **{"from": f"{start}us"}), e[e["t"] >= e["t"][9000]])


def test_known_bytes(tmp_path: Path) -> None:
    """Two events of a row, as the format's description packs them."""
    chunk = struct.pack("<Iq", 2 << 2 | 1, 10_000) + b"\x02" + struct.pack("<H", 23 << 5 | 2)
    chunk += struct.pack("<HHH", 1 << 4 | (21 & 15), (21 >> 4) << 8, 0)
    write(tmp_path / "a.hdf5", [chunk], 2)
    assert read(tmp_path / "a.hdf5").tolist() == [(0, 23, 10_000, True), (10, 23, 10_000, True)]


def test_a_chunk_that_was_left_unpacked(tmp_path: Path) -> None:
    e = events(CHUNK)
    write(tmp_path / "a.hdf5", [e.tobytes()], CHUNK, mask=1)
    assert same(read(tmp_path / "a.hdf5"), e)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_damage_is_read_beyond(kind: int, tmp_path: Path) -> None:
    """Every cut, and many wrong bytes."""
    good = events(CHUNK)
    small = encode(events(40, 2), kind)
    path = tmp_path / "a.hdf5"
    for cut in range(1, len(small)):
        write(path, [encode(good, kind), small[:cut]], CHUNK + 40)
        with pytest.raises(InputError, match=r"row 4096 on (is damaged|are not in the file)"):
            read(path)
    rng = np.random.default_rng(3)
    for _ in range(60):
        wrong = bytearray(small)
        wrong[int(rng.integers(len(small)))] ^= int(rng.integers(1, 256))
        write(path, [bytes(wrong)], 40)
        try:
            assert len(read(path)) == 40
        except InputError as e:
            assert e.offset is not None and "\n" not in str(e)


def test_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "a.hdf5", [b""], CHUNK)
    with pytest.raises(InputError, match=r"promises|not in the file"):
        read(tmp_path / "a.hdf5")
    write(tmp_path / "a.hdf5", [b"\xff" * 500], CHUNK)
    with pytest.raises(InputError, match="is damaged"):
        read(tmp_path / "a.hdf5")


def test_wrong_bytes_anywhere_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    write(path, [encode(events(CHUNK, k), k % 3) for k in range(3)], 3 * CHUNK)
    whole = path.read_bytes()
    rng = np.random.default_rng(6)
    for _ in range(150):
        wrong = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 6000), 3):  # where HDF5 keeps what it knows of the chunks
            wrong[place] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong)
        try:
            read(path)
        except InputError as e:
            assert "\n" not in str(e)


@pytest.mark.parametrize("field", ["t", "y", "p"])
def test_a_run_that_is_longer_than_the_events(field: str, tmp_path: Path) -> None:
    """Its last events would be written behind the end of the memory for them."""
    for count in (3, 4000):
        chunk = struct.pack("<Iq", 2 << 2, 10_000) + counted(0, 4, count if field == "t" else 2, "H", "<B")
        chunk += counted(23, 5, count if field == "y" else 2, "H", "<H") + struct.pack("<HH", 7 << 5, 9 << 5)
        chunk += counted(1, 7, count if field == "p" else 2, "H", "<B")
        write(tmp_path / "a.hdf5", [chunk], 2)
        with pytest.raises(InputError, match="is damaged"):
            read(tmp_path / "a.hdf5")
    assert field != "t" or read_good(tmp_path) == [(7, 23, 10_000, True), (9, 23, 10_000, True)]


def read_good(folder: Path) -> list[Any]:
    chunk = struct.pack("<Iq", 2 << 2, 10_000) + b"\x02" + counted(23, 5, 2, "H", "<H")
    write(folder / "b.hdf5", [chunk + struct.pack("<HH", 7 << 5, 9 << 5) + b"\x82"], 2)
    return list(read(folder / "b.hdf5").tolist())
