"""Conversion between event file formats: exact there and back, and honest about what it leaves out."""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.cli import main
from stream_ottt.cli.convert import convert
from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.opening import open_source

ENDINGS = [WRITERS.get(name).suffixes[0] for name in WRITERS.names()]


def some_events(n: int = 5000) -> EventArray:
    rng = np.random.default_rng(1)
    t = 1000 + np.cumsum(rng.integers(0, 50, n))
    return make_events(rng.integers(0, 320, n), rng.integers(0, 240, n), t, rng.random(n) < 0.5)


def save(path: Path, events: EventArray) -> Path:
    np.savez(path, width=320, height=240, **{k: events[k] for k in "xytp"})
    return path


def read(path: Path) -> EventArray:
    return np.concatenate([p.events for p in open_source(path).packets()])


@pytest.mark.parametrize(("a", "b"), list(permutations(ENDINGS, 2)))
def test_there_and_back_is_exact(tmp_path: Path, a: str, b: str) -> None:
    start = save(tmp_path / "start.npz", some_events())
    one, other, back = tmp_path / f"one{a}", tmp_path / f"two{b}", tmp_path / f"back{a}"
    assert [convert(str(start), str(one)), convert(str(one), str(other)), convert(str(other), str(back))] == [0, 0, 0]
    np.testing.assert_array_equal(read(back), some_events())


def test_what_cannot_be_kept_is_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = some_events()
    events["x"][10] = 999
    events["t"][20] = 0
    start = save(tmp_path / "start.npz", events)
    assert convert(str(start), str(tmp_path / "out.csv")) == 3
    assert "1 events outside the sensor and 1 whose time runs backwards" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "out.csv"), np.delete(events, [10, 20]))


def test_a_damaged_recording_is_converted_up_to_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = tmp_path / "whole.dat", tmp_path / "cut.dat"
    convert(str(save(tmp_path / "start.npz", some_events())), str(whole))
    cut.write_bytes(whole.read_bytes()[: -4 - 8 * 100])
    assert convert(str(cut), str(tmp_path / "out.npz")) == 3
    assert "byte" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "out.npz"), some_events()[:-101])


def test_words_that_make_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = save(tmp_path / "start.npz", some_events(10))
    for target, complaint in (("x.wav", "no writer"), ("x.bin?format=cvs", "did you mean 'csv'"), (start, "same file")):
        with pytest.raises(UsageError, match=complaint):
            convert(str(start), str(target if isinstance(target, Path) else tmp_path / target))
    monkeypatch.setattr(sys, "argv", ["stream-ottt", "convert", str(start), str(tmp_path / "no" / "x.csv")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
