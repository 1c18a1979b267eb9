"""Machine code without numba: the same results as numba's and as Python's, and what happens when it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_ottt.errors import InputError
from stream_ottt.sinks.writers.evt2 import Evt2Writer
from stream_ottt.sources import machine_code
from stream_ottt.sources.aedat4.events import EventCopier
from stream_ottt.sources.aedat4.kernel import _copy
from stream_ottt.sources.compiled import WORDS, Compiled, Reach, compiled
from stream_ottt.sources.csv_kernel import parse
from stream_ottt.sources.es_kernel import decode
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.prophesee.kernels import dat, evt2, evt3

RNG = np.random.default_rng(3)
N = 3000
TEXT = b"".join(b"%d,%d,-2,1\n" % (t, t % 9) for t in range(200)) + b"x\n"
CASES: dict[str, tuple[Compiled, Any]] = {
    "evt2": (evt2, lambda: (RNG.integers(0, 2**32, N, "<u4") & 0x8FFFFFFF, outs(), np.array([-1, 0, 0]), zeros())),
    "evt3": (
        evt3,
        lambda: (RNG.integers(0, 0x9000, N).astype("<u2"), outs(), np.array([-1, 0, 0, -1, 0, 0, 0]), zeros()),
    ),
    "dat": (dat, lambda: (RNG.integers(-(2**63), 2**63, N), outs(), np.zeros(2, np.int64), zeros())),
    "es": (decode, lambda: (RNG.integers(200, 256, N).astype(np.uint8), outs(), 7, 240, zeros())),
    "csv": (parse, lambda: (np.frombuffer(TEXT, np.uint8), np.arange(4), np.zeros(4, np.int64), outs(), zeros())),
    "aedat4": (_copy, lambda: (RNG.integers(0, 2**32, 4 * N, "<u4"), outs().view(COPIED), zeros())),
}
COPIED = np.dtype([("xy", "<u4"), ("t_low", "<u4"), ("t_high", "<u4"), ("p", "?")])


def outs() -> np.ndarray:
    return np.zeros(N, WORDS)


def zeros() -> np.ndarray:
    return np.zeros(3, np.int64)


@pytest.mark.parametrize("name", list(CASES))
def test_does_what_numba_does(name: str) -> None:
    loop, arguments = CASES[name]
    ours = arguments()
    theirs = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in ours)
    results = loop(*ours)
    expected = loop.by_numba()(*theirs)
    assert tuple(results)[: len(expected or ())] == tuple(expected or ())
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)
    assert any(a.view(np.uint8).any() for a in ours if isinstance(a, np.ndarray) and a.dtype.names)


def evt2_file(folder: Path) -> Path:
    from source_recipes import SIDE, some_events

    with Evt2Writer(folder / "a.raw", SIDE, SIDE) as writer:
        writer.write(some_events(1000))
    return folder / "a.raw"


def test_a_recording_is_read_without_numba(tmp_path: Path) -> None:
    path = evt2_file(tmp_path)
    list(open_source(path).packets())  # type: ignore[attr-defined]  # it is on disk from now on
    code = (
        "import sys; from stream_ottt.sources.opening import open_source\n"
        "n = sum(len(p) for p in open_source(sys.argv[1]).packets())\n"
        "print(n, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1000", "False"]


@pytest.mark.parametrize("where", ["beside", "caches"])
def test_it_is_made_once_and_in_another_process(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if where == "caches":
        monkeypatch.setattr(machine_code.os, "access", lambda *_: False)
        made = []
        monkeypatch.setattr(machine_code.subprocess, "run", count(made))
        for _ in range(2):
            assert machine_code.native(dat.function, ("<i8", WORDS, "<i8", "<i8"), 2)
        assert len(made) == 1 and len(list((tmp_path / "stream-ottt").glob("dat-*.o"))) == 1
    else:
        assert machine_code._folder() == Path(machine_code.__file__).parent / "__pycache__"


def count(made: list[Any]) -> Any:
    run = subprocess.run

    def counted(*words: Any, **options: Any) -> Any:
        made.append(words)
        return run(*words, **options)

    return counted


@compiled("<i8", returns=1)
def total(values: Any) -> int:
    s = 0
    for v in values:
        s += v
    return s


@pytest.mark.parametrize("reason", ["no process", "no code", "no folder"])
def test_where_it_cannot_be_had_numba_is_used(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason == "no process":
        monkeypatch.setattr(machine_code.sys, "executable", str(tmp_path / "none"))
    elif reason == "no code":
        monkeypatch.setattr(machine_code, "MAKE", "raise SystemExit(1)")
    else:
        (tmp_path / "stream-ottt").write_text("a file")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(machine_code.os, "access", lambda *_: False)
    assert Compiled(total.function, ("<i8",), 1)(np.arange(10)) == 45


@compiled("<i8", returns=1)
def calls_python(values: Any) -> int:
    print(len(values))
    return 0


def test_what_needs_more_than_itself_is_not_loaded_alone(tmp_path: Path) -> None:
    with pytest.raises(machine_code.UnfitError):
        calls_python.make(tmp_path / "a.o")
    assert not list(tmp_path.iterdir())


def test_arguments_are_checked() -> None:
    loop, arguments = CASES["dat"]
    words, out, state, reach = arguments()
    loop(words, out, state, reach)
    for wrong in (words[::2], words.astype("<i4"), words.reshape(2, -1), words.astype(">i8")):
        with pytest.raises(TypeError, match="expected a contiguous array"):
            loop(wrong, out, state, reach)


def test_reach() -> None:
    reach = Reach()
    assert reach.within(1, 1)
    for values, within in (((33, 9, 5), True), ((34, 9, 5), False), ((33, 10, 5), False), ((0, 0, -1), False)):
        reach.values[:] = values
        assert reach.within(34, 10) is within


def test_reach_is_that_of_the_events() -> None:
    """Of each loop: what is said to be well-formed is, whatever the bytes."""
    for name, (loop, arguments) in CASES.items():
        given = arguments()
        loop(*given)
        out = next(a for a in given if isinstance(a, np.ndarray) and a.dtype.names)
        events = out.view([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")])
        x, y, t = given[-1].tolist()
        assert (min(x, 0xFFFF), min(y, 0xFFFF)) >= (events["x"].max(), events["y"].max()) or name == "csv"
        assert t < 0 or not (events["t"] < 0).any()


def test_unreadable_input_is_still_an_input_error(tmp_path: Path) -> None:
    path = evt2_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError):
        list(open_source(path).packets())  # type: ignore[attr-defined]


def test_the_plain_copy_of_aedat4_does_the_same() -> None:
    records = RNG.bytes(16 * N)
    plain, fast = np.zeros(N, "V13"), outs()
    EventCopier()(records, plain)  # type: ignore[arg-type]
    _copy(np.frombuffer(records, "<u4"), fast.view(COPIED), zeros())
    assert plain.tobytes() == fast.tobytes()
