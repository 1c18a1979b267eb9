"""Standard input in a process of its own."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import make_events
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer
from stream_ottt.sources.opening import open_source

MAIN = [sys.executable, "-c", "from stream_ottt.cli import main; main()"]
LIMIT = 60


def info(source: str, data: bytes) -> tuple[int, dict[str, object], str]:
    done = subprocess.run([*MAIN, "info", "--json", "--", source], input=data, capture_output=True, timeout=LIMIT)
    return done.returncode, json.loads(done.stdout or b"{}"), done.stderr.decode()


@pytest.fixture
def recording(tmp_path: Path) -> bytes:
    i = np.arange(3000)
    with Aedat4Writer(tmp_path / "a.aedat4", 346, 260) as writer:
        writer.write(make_events(i % 346, i % 260, i * 10, i % 2))
    return (tmp_path / "a.aedat4").read_bytes()


def test_aedat4_as_it_comes(recording: bytes) -> None:
    code, facts, _ = info("-?format=aedat4", recording)
    assert code == 0
    assert (facts["events"], facts["width"], facts["t_last"], facts["on"]) == (3000, 346, 29_990, 1500)


@pytest.mark.parametrize(
    ("options", "events", "first"),
    [("from=10ms&to=20ms", 1000, 10_000), ("from=10ms&shift=auto", 2000, 0), ("shift=7&sort=true", 3000, 7)],
)
def test_aedat4_as_it_comes_with_the_options_of_time(recording: bytes, options: str, events: int, first: int) -> None:
    _, facts, _ = info(f"-?format=aedat4&{options}", recording)
    assert facts["events"] == events
    assert facts["t_first"] == first


def test_aedat4_cut_short(recording: bytes) -> None:
    code, _, error = info("stdin:?format=aedat4", recording[:-200])
    assert code == 3
    assert error.startswith("stream-ottt: standard input, byte ")


def test_a_format_that_wants_a_file() -> None:
    code, facts, error = info("-?format=csv&width=10&height=10", b"t,x,y,on\n1,2,3,1\n5,6,7,0\n")
    assert code == 0, error
    assert (facts["events"], facts["t_last"], facts["on"]) == (2, 5, 1)


def test_what_is_packed() -> None:
    code, facts, error = info("-?format=csv&width=10&height=10", gzip.compress(b"t,x,y,on\n1,2,3,1\n5,6,7,0\n"))
    assert (code, facts["events"], facts["input"]) == (0, 2, "csv"), error


def test_damage_in_it_names_no_file_that_nobody_knows() -> None:
    code, _, error = info("-?format=csv&width=10&height=10", b"t,x,y,on\n1,2,3,1\nbroken\n")
    assert code == 3
    assert error.count("\n") == 1
    assert "standard input" in error
    assert "tmp" not in error


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("-", "-?format=NAME"),
        ("-?format=aedat5", "did you mean 'aedat4'"),
        ("-?format=synthetic", "no file format"),
        ("-?format=raw", "no file format 'raw'; known: aedat2,"),
        ("-?format=aedat4&strem=1", "did you mean 'stream'"),
    ],
)
def test_wrong_words(source: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        open_source(source)


def test_what_a_file_would_say_is_said_of_standard_input(tmp_path: Path) -> None:
    late = [k * 1000 - 3000 * (k % 10 == 5) for k in range(40)]  # within a file's tolerance
    code, facts, error = info("-?format=csv", b"".join(b"%d,%d,2,1\n" % (t + 5000, k % 30) for k, t in enumerate(late)))
    assert (code, facts["events"], facts["malformed"], facts["size_from"]) == (0, 40, 0, "guess")
    assert "the sensor's size is a guess, 30×3" in error
    events = make_events([1, 2, 3, 4], [1, 2, 3, 4], [0, 5, 0, 5], [1, 0, 1, 0])
    columns = {k: events[k] for k in "txyp"}
    np.savez(tmp_path / "a.npz", offsets=[0, 2, 4], labels=[1, 0], class_names=["no", "yes"], **columns)
    _, facts, _ = info("-?format=npz", (tmp_path / "a.npz").read_bytes())
    assert facts["labels"] == 2
