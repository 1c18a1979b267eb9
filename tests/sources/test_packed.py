"""Recordings that were packed as a whole: read like the file that was packed, and up to a damage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from source_recipes import FILES, some_events

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources import packed
from stream_ottt.sources.opening import open_source


def zipped(data: bytes, name: str = "recording") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", "")
        archive.writestr(name, data)
        archive.writestr("__MACOSX/._recording", b"\0\5\x16\7")
    return out.getvalue()


def in_two(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: pack(data[: len(data) // 2]) + pack(data[len(data) // 2 :])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "gz in two": in_two(gzip.compress),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zst in two": in_two(zstandard.ZstdCompressor(write_content_size=False).compress),
    "zip": zipped,
}


def drain(path: Path, **options: object) -> tuple[EventArray, InputError | None, Any]:
    found, error = [some_events(0)], None
    source: Any = None
    try:
        source = open_source({"uri": str(path), **options})
        assert isinstance(source, BlockingSource)
        for packet in source.excerpt():
            found.append(packet.events)
    except InputError as e:
        error = e
    return np.concatenate(found), error, source


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["csv", "es", "aedat4", "hdf5", "rosbag"])
def test_each_packing(packer: str, name: str, tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / f"recording.{packer.split()[0]}"
    FILES[name].write(plain, some_events())
    path.write_bytes(PACKERS[packer](plain.read_bytes()))
    for _ in range(2):  # as often as wanted
        events, error, source = drain(path)
        assert error is None and np.array_equal(events, some_events())
        assert source.describe()["format"] == name
    assert len(drain(path, **{"from": "300us", "to": "400us"})[0]) == 10
    assert len(drain(path, format=name)[0]) == len(some_events())
    plain.unlink()
    path.unlink()
    del source
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("packer", PACKERS)
def test_cut_and_changed(packer: str, tmp_path: Path) -> None:
    """What comes before the damage is kept, and the damage is told in one line that names the packed file."""
    plain, path = tmp_path / "plain.csv", tmp_path / "recording.csv.x"
    FILES["csv"].write(plain, some_events(4000))
    whole = PACKERS[packer](plain.read_bytes())
    rng = np.random.default_rng(1)
    kept = set()
    for n in range(30):
        data = bytearray(whole)
        place = int(rng.integers(len(data) // 8, len(data) - 1))
        if n % 2:
            data[place] ^= 0x55
        else:
            del data[place:]
        path.write_bytes(data)
        events, error, _ = drain(path)
        assert n % 2 or error is not None
        if error is not None:
            assert str(path) in str(error) and "\n" not in str(error) and "stream-ottt-" not in str(error)
            good = events[: len(events) - 1] if n % 2 else events
            assert n % 2 or np.array_equal(good, some_events(4000)[: len(good)])
        kept.add(len(events))
    assert len(kept) > 1 or packer in ("bz2", "xz", "zst", "zip")  # one block, or an end without which nothing is read


def test_what_unpacks_to_more_than_any_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "UNPACKED_AT_LEAST", 1 << 20)
    for packer in ("gz", "bz2", "xz", "zst", "zip"):
        (tmp_path / "a").write_bytes(PACKERS[packer](b"t,x,y,p\n" + b"1,1,1,1\n" * (1 << 21)))
        events, error, _ = drain(tmp_path / "a")
        assert error is not None and "unpacks to more than" in str(error) and len(events) < 1 << 21


def test_an_archive_of_numpys_is_no_packing(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.stack([some_events()[k].astype(int) for k in "txyp"], axis=1))
    assert open_source(tmp_path / "a.npz").name == "npz"


def test_through_a_pipe(tmp_path: Path) -> None:
    plain, fifo = tmp_path / "plain", tmp_path / "pipe"
    FILES["es"].write(plain, some_events())
    for data, ends in ((gzip.compress(plain.read_bytes()), True), (gzip.compress(plain.read_bytes())[:-20], False)):
        os.mkfifo(fifo)
        writing = threading.Thread(target=fifo.write_bytes, args=(data,))
        writing.start()
        events, error, _ = drain(fifo)
        writing.join()
        fifo.unlink()
        assert (error is None) == ends and np.array_equal(events, some_events()[: len(events)])
        assert error is None or str(error).startswith(f"{fifo}: its gzip data is cut off")


def test_an_archive_with_events_among_other_files(tmp_path: Path) -> None:
    FILES["csv"].write(tmp_path / "plain", some_events())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("shapes/events.txt", (tmp_path / "plain").read_bytes())
        archive.writestr("shapes/imu.txt", "0.1 1 2 3 4 5 6")
        archive.writestr("shapes/images/1.png", b"\x89PNG")
    events, error, _ = drain(tmp_path / "a.zip")
    assert error is None and np.array_equal(events, some_events())
