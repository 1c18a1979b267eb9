"""Where most events of a recording cannot be used, one line names the likeliest cause, and its cure works."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_ottt.events.misfits import LIKE_TIME, Misfits
from stream_ottt.events.packet import EventPacket, make_events

N = 2000
RNG = np.random.default_rng(3)
T = np.sort(RNG.integers(0, 40_000, N))
X, Y, P = RNG.integers(0, 346, N), RNG.integers(0, 260, N), RNG.integers(0, 2, N)
X[:2], Y[:2] = (345, 0), (0, 259)
EPOCH = 1_700_000_000_000_000
SIZED = "width=346&height=260"
DAVIS = {"width": 346, "height": 260}


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savez(folder / "a.npz", **{"t": T, "x": X, "y": Y, "p": P, **arrays})
        return folder / "a.npz"

    return write


def csv(*columns: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.savetxt(folder / "a.csv", np.stack(columns, axis=1), fmt="%d", delimiter=",")
        return folder / "a.csv"

    return write


def aedat2(folder: Path) -> Path:
    words = np.stack([Y << 22 | X << 12 | P << 11, T], axis=1).astype(">u4")
    (folder / "a.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + words.tobytes())
    return folder / "a.aedat"


XYTP = csv(X, Y, T, P)
NS = npz(t=(T + EPOCH) * 1000, **DAVIS)


@pytest.mark.parametrize(
    ("recording", "options", "said", "cure"),
    [
        (npz(t=T - 123_456, **DAVIS), "", "before time zero, the first at -123,", "shift=auto"),
        (npz(), f"shift=-1s&{SIZED}", "where shift=-1000000 puts them; shift=auto moves", f"shift=auto&{SIZED}"),
        (
            npz(width=240, height=180), "", "outside the 240×180 sensor; the largest x is 345, the largest y 259; say "
            "the size with width= and height=, at least width=346&height=260\n", SIZED,
        ),
        (npz(), "width=260&height=346", "the largest y 259: exchange width= and height=\n", SIZED),
        (npz(x=Y, y=X, **DAVIS), "", "at least width=346&height=346\n", "width=346&height=346"),
        (
            csv(T, Y, X, P), f"columns=t,x,y,p&{SIZED}", "exchange width= and height=, or x and y in columns=\n",
            f"columns=t,y,x,p&{SIZED}",
        ),
        (
            XYTP, f"columns=t,x,y,p&{SIZED}",
            "since y goes on like a time; say the order of the columns with columns=, such as x,y,t,p\n",
            "columns=x,y,t,p",
        ),
        (XYTP, "columns=t,x,y,p", "since y goes on like a time; say the order of the columns", "columns=x,y,t,p"),
        (
            csv(X, Y, T + EPOCH, P), f"columns=t,x,y,p&{SIZED}",
            "coordinates below 0 or from 2^15 on; say the order of the columns with columns=\n", "columns=x,y,t,p",
        ),
        (NS, "time=s", "their times are more than 285 years; time=s is not their unit", "time=ns"),
        (NS, "time=us", "their times are more than 285 years; time=us is not their unit", "time=ns"),
        (aedat2, "chip=davis240c", "outside the 240×180 sensor; they fit with chip=davis346\n", "chip=davis346"),
        (aedat2, "chip=dvs128", "they fit with chip=davis346\n", "chip=davis346"),
        (npz(t=RNG.permutation(T), **DAVIS), "", "run in no order; put a file in order with sort=true", "sort=true"),
    ],
)  # fmt: skip
def test_the_likeliest_cause_and_its_cure(
    call: Any, tmp_path: Path, recording: Callable[[Path], Path], options: str, said: str, cure: str
) -> None:
    path = recording(tmp_path)
    code, _, err = call("info", f"{path}?{options}")
    assert code == 3 and said in err, err
    code, out, err = call("info", f"{path}?{cure}")
    assert code == 0 and f"events: {N:,}\n" in out and "left out: 0 events" in out, err


def test_all_commands_and_standard_input_say_the_same(call: Any, tmp_path: Path) -> None:
    path = npz(width=240, height=180)(tmp_path)
    said = "the largest x is 345, the largest y 259; say the size with width= and height=, at least width=346&height="
    code, _, err = call("convert", path, tmp_path / "b.csv")
    assert code == 3 and said in err
    code, _, err = call("run", "--source", path, "--max-steps", 3, "--seed", 1)
    assert code == 3 and said in err
    code, _, err = call("publish", path, "--to", "tcp://127.0.0.1:0", "--wait", 0)
    assert code == 3 and said in err
    with path.open("rb") as file:
        words = [sys.executable, "-m", "stream_ottt", "info", "-?format=npz"]
        ended = subprocess.run(words, stdin=file, capture_output=True, text=True, check=False)
    assert ended.returncode == 3 and said in ended.stderr


def test_of_several_sources_each_is_to_be_looked_at(call: Any, tmp_path: Path) -> None:
    small = npz(width=240, height=180)(tmp_path)
    other = Path(shutil.copy(small, tmp_path / "b.npz"))
    code, _, err = call("run", "--source", small, "--source", other, "--max-steps", 3, "--seed", 1)
    said = err.replace(str(tmp_path), "")  # the folder's own name may hold any number
    assert code == 3 and "`stream-ottt info` says why of a recording" in said and "-1" not in said, err


def test_a_recording_without_events_is_not_published(call: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,x,y,p\n")
    code, _, err = call("publish", tmp_path / "a.csv", "--to", "tcp://127.0.0.1:0", "--wait", 0)
    assert code == 3 and "the recording holds no events; nothing was sent" in err


def test_few_wrong_events_are_no_verdict(call: Any, tmp_path: Path) -> None:
    t = T.copy()
    t[:30] = -1
    code, out, err = call("info", npz(t=t, **DAVIS)(tmp_path))
    assert (code, err) == (0, "") and "left out: 30 events" in out


def test_misfits_are_counted_by_what_is_wrong_with_them() -> None:
    misfits = Misfits()
    events = make_events([0, 8, -5, 3, 40_000, 1], [0, 0, 1, 9, 1, 1], [5, 0, -7, -9, 2**62, 2**53], [1] * 6)
    good, wrong = misfits.sift(EventPacket(events, 8, 8))
    assert good["t"].tolist() == [5, 2**53] and wrong == 4
    assert (misfits.off_sensor, misfits.no_pixel, misfits.before_zero, misfits.too_late) == (4, 2, 2, 2)
    assert (misfits.earliest, misfits.largest, misfits.like_time) == (-9, (8, 9), frozenset())


@pytest.mark.parametrize(("steps", "found"), [(LIKE_TIME, {"y"}), (LIKE_TIME - 1, set())])
def test_a_coordinate_that_goes_on_is_told_from_pixels(steps: int, found: set[str]) -> None:
    misfits = Misfits()
    beyond = np.arange(steps) * 500
    misfits.sift(EventPacket(make_events(np.zeros(steps), beyond, beyond, beyond % 2), 8, 8))
    assert misfits.like_time == found
