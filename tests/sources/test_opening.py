"""What is opened for which words: names of any kind, pipes, and what people give in place of a recording."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import make_events
from stream_ottt.registry import split_uri
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources import pipe
from stream_ottt.sources.opening import open_source

N = 60
EVENTS = make_events(np.arange(N) % 34, np.arange(N) % 30, 1000 + 10 * np.arange(N), np.arange(N) % 2 == 0)


def write(path: Path, form: str) -> Path:
    with WRITERS.get(form)(path, 34, 34) as writer:
        writer.write(EVENTS)
    return path


def events_of(uri: str) -> Any:
    return np.concatenate([p.events for p in open_source(uri).excerpt()])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["what? rec.csv", "a&b=c.csv", "50% 100%20.csv", "hash#1.csv", "rec-2024-01-02T10:11:12.csv", "事件.csv"]
)
def test_a_file_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, "csv")
    for uri in (name, f"{name}?from=0s", f"./{name}?shift=auto&from=0s"):
        assert len(events_of(uri)) == N


@pytest.mark.parametrize("uri", ["r" * 300, f"{'r' * 5000}?format=csv", "tonic:" + "x" * 300, "a\0b"])
def test_names_that_cannot_be_any(uri: str) -> None:
    with pytest.raises((InputError, UsageError)) as error:
        list(open_source(uri).packets())  # type: ignore[attr-defined]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("uri", ["", " ", "?format=csv"])
def test_no_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", "csv")
    with pytest.raises(UsageError, match="names no source; expected a recording, a folder or an address"):
        open_source(uri)


def test_options_begin_at_the_last_mark_behind_a_file(tmp_path: Path) -> None:
    (tmp_path / "a?b").touch()
    assert split_uri(f"{tmp_path / 'a?b'}?c=1&d=") == (None, f"{tmp_path / 'a?b'}", {"c": "1", "d": ""})
    with pytest.raises(UsageError, match="the option 'c' is given twice: '1' and '2'"):
        split_uri(f"{tmp_path / 'a?b'}?c=1&c=2")
    assert split_uri("zmq+sub://h:1?topic=a") == ("zmq+sub", "//h:1", {"topic": "a"})


@pytest.mark.parametrize("form", ["csv", "evt2", "dat", "es", "npz", "aedat4"])
def test_a_named_pipe_is_read_once(tmp_path: Path, form: str) -> None:
    file, fifo = write(tmp_path / f"a.{form}", form), tmp_path / "pipe"
    os.mkfifo(fifo)
    writing = threading.Thread(target=lambda: fifo.write_bytes(file.read_bytes()))
    writing.start()
    source: Any = open_source(fifo)
    for _ in range(2):  # two passes over what came once
        assert np.array_equal(np.concatenate([p.events for p in source.excerpt()]), EVENTS)
    writing.join()
    assert source.describe()["format"] == form and source.describe()["input"] == "pipe"


def test_a_damage_is_named_by_the_pipe(tmp_path: Path) -> None:
    file, fifo = write(tmp_path / "a.es", "es"), tmp_path / "pipe"
    os.mkfifo(fifo)
    writing = threading.Thread(target=lambda: fifo.write_bytes(file.read_bytes()[:-2]))
    writing.start()
    with pytest.raises(InputError, match=rf"^{fifo}, byte \d+: the last event") as error:
        list(open_source(fifo).packets())  # type: ignore[attr-defined]
    writing.join()
    assert "/tmp/stream-ottt-" not in str(error.value)


def test_a_pipe_into_which_nobody_writes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "PATIENCE_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="nobody has written into this pipe"):
        open_source(tmp_path / "pipe")


def test_devices_are_no_recordings() -> None:
    with pytest.raises(InputError, match="is a device"):
        open_source("/dev/zero")


@pytest.mark.parametrize("command", ["info", "publish"])
def test_standard_input_with_options(tmp_path: Path, command: str) -> None:
    """``-?…`` is no option of the command; what is wrong then is the format, and not the word."""
    words = [sys.executable, "-m", "stream_ottt", command, "-?format=cvs"]
    words += ["--to", "zmq+push://127.0.0.1:1"] if command == "publish" else []
    done = subprocess.run(words, input=b"", capture_output=True, timeout=60)
    assert done.returncode == 2 and b"did you mean 'csv'" in done.stderr


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>\n<html>\n", "a web page"),
        (b"\n <HTML lang='en'>", "a web page"),
        (b'{"events": [1, 2, 3, 4]}', "JSON"),
        (b"BZh91AY&SY" + bytes(range(50)), "bzip2"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0", "empty"),
        ("t,x,y,p".encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"\x89HDF\r\r\n\x1a\r\n\0", "copied as text"),
        (b"#!AER-DAT4.0\r\r\n0\0\0\0", "copied as text"),
        (b"#!AER-DAT5.0\r\n0\0\0\0", "AEDAT file of a version"),
        (b"PAR1\x15\x04PAR1", "a Parquet file"),
        (b"\x1aE\xdf\xa3\1\2", "a video"),
        (b"%PDF-1.4\n\x80\x81\x01", "a PDF"),
        (bytes(100), "zeros only"),
        (b"\x80\x04\x95\x01\x02", "pickle"),
        (b"", "empty"),
        (b"/annex/objects/MD5E-s9--abc.raw\n", "a pointer of git-annex, .* 'git annex get'"),
        (b"outs:\n- md5: 0123\n  path: a.raw\n", "a pointer of DVC, .* 'dvc pull'"),
        (b"404: Not Found", "a server's answer"),
        (b"Error 403 (Forbidden)!!1", "a server's answer"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "XML, .* download it again"),
        (b"[[1, 2, 3, 1], [4, 5, 6, 0]]", "JSON"),
        (b'[{"t": 1, "x": 2}]', "JSON"),
        ("t,x,y,p\n1,2,3,1\n".encode("utf-16-le"), "UTF-16"),
        ("t,x,y,p\n1,2,3,1\n".encode("utf-16-be"), "UTF-16"),
        ("t,x,y,p\n1,2,3,1\n".encode("utf-32"), "UTF-32"),
        (b"\n<!-- saved from url -->\n<html>", "a web page"),
        *((pickle.dumps({"t": 1}, protocol=version), "pickle") for version in (2, 3, 4, 5)),
        (b'\x04"M\x18\x68\x40\xb6', "packed by LZ4"),
        (b"\x1f\x9d\x90abc", "packed by compress"),
        (gzip.compress(gzip.compress(b"t,x,y,p\n", mtime=0), mtime=0), "packed twice; unpack it once"),
        (b"FEA1\0\0\0\0", "a Feather file"),
        (b"II*\0\x08\0\0\0\x80", "a TIFF image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP image"),
        (b'@\0\0\0\0\0\0\0{"a":{"dtype":"F32"', "a model in safetensors, not a recording; give it with --load"),
        (b"rosbag2_bagfile_information:\n  version: 5\n", "a bag of ROS 2 says of itself; give the folder"),
        (b"class,startTime_usec,endTime_usec\n1,0,5\n", "labels, not a recording; give them with --labels"),
        (b"% bulk_size 2000\n% end\n\0\0\x80", "an index that Metavision keeps beside a RAW file"),
        (b"299  % bias_diff\n384  % bias_diff_on\n", "bias settings"),
        (
            b"% Date 2020-01-01 10:00:00\n% system_ID 21\n\0\0\0\x80",
            "Prophesee's style .*\\?format=evt2, evt21, evt3 or dat",
        ),
        (struct.pack("<5I", 0, 5, 4, 0, 7) + b"events\0" + bytes(160), "a MAT file of version 4; save it with .* -v7"),
    ],
)
@pytest.mark.parametrize("name", ["recording", "recording.csv"])
def test_in_place_of_a_recording(tmp_path: Path, content: bytes, what: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=what):
        open_source(tmp_path / name)


@pytest.mark.parametrize("text", ["dear diary", "1,2,3\n4,5,6\n", "1:2:3:4\n", "# nothing else\n", "ein Käse\n" * 9])
def test_a_text_without_events_is_told_what_events_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=r"text that begins with '.*'; events as text are lines of t, x, y and p"):
        open_source(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("https://a.b/c.aedat4", "download the file"),
        ("s3://bucket/c.raw", "download the file"),
        ("file:///c.raw", "without file://"),
        ("rtsp://a/b", "a stream of frames"),
    ],
)
def test_addresses_of_elsewhere(address: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        open_source(address)


@pytest.mark.parametrize(("name", "what"), [("zmq", "known: aedat2"), ("txt", "known: aedat2"), ("cvs", "mean 'csv'")])
def test_formats_are_those_of_files(tmp_path: Path, name: str, what: str) -> None:
    write(tmp_path / "a.csv", "csv")
    with pytest.raises(UsageError, match=f"no file format '{name}'; .*{what}"):
        open_source(f"{tmp_path / 'a.csv'}?format={name}")


def test_what_is_no_text_is_not_shown_as_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is no text; leave out format=csv"):
        events_of(f"{write(tmp_path / 'a.raw', 'evt2')}?format=csv")


def test_a_link_that_leads_nowhere_is_named_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "a.raw").symlink_to("../.git/annex/objects/x/y")
    with pytest.raises(
        InputError, match=r"a link to ../.git/annex/objects/x/y, which is not there; .* 'git annex get'"
    ):
        open_source(tmp_path / "a.raw")
    (tmp_path / "b.raw").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"a link to nowhere, which is not there; check the link"):
        open_source(tmp_path / "b.raw")


def test_what_people_add_to_an_archive_is_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in (("rec.csv", "t,x,y,p\n1,2,3,1\n"), ("README.md", "x"), ("a/.DS_Store", "x")):
            archive.writestr(name, content)
    assert sum(map(len, open_source(tmp_path / "a.zip").packets())) == 1  # type: ignore[attr-defined]


def test_an_encrypted_archive_is_no_damage(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("events.txt", "0.1 1 2 1\n")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match="it is encrypted; unpack it first with 'unzip'"):
        open_source(tmp_path / "a.zip")


def test_an_archive_is_named_with_what_it_holds(tmp_path: Path) -> None:
    for members, what in (
        (["t/data.pkl", "t/version"], "PyTorch"),
        (["[Content_Types].xml", "xl/a"], "office document"),
    ):
        with zipfile.ZipFile(tmp_path / "a", "w") as archive:
            for member in members:
                archive.writestr(member, "x")
        with pytest.raises(InputError, match=what):
            open_source(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("left.txt", "0.1 1 2 3")
        archive.writestr("right.txt", "0.1 1 2 3")
    with pytest.raises(InputError, match=r"a ZIP archive of 2 files, such as 'left.txt'; unpack it first"):
        open_source(tmp_path / "a.zip")
