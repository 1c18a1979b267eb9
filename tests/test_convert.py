"""Conversion between event file formats: exact there and back, and honest about what it leaves out."""

from __future__ import annotations

import os
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.cli import main
from stream_ottt.cli.convert import convert
from stream_ottt.errors import OutputError, UsageError
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
    events["t"][4000] = 0
    start = save(tmp_path / "start.npz", events)
    assert convert(str(start), str(tmp_path / "out.csv")) == 3
    assert "1 events outside the sensor and 1 with wrong times" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "out.csv"), np.delete(events, [10, 4000]))


def test_a_damaged_recording_is_converted_up_to_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = tmp_path / "whole.dat", tmp_path / "cut.dat"
    convert(str(save(tmp_path / "start.npz", some_events())), str(whole))
    cut.write_bytes(whole.read_bytes()[: -4 - 8 * 100])
    assert convert(str(cut), str(tmp_path / "out.npz")) == 3
    assert "byte" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "out.npz"), some_events()[:-101])


def test_jitter_of_a_file_is_put_in_order(tmp_path: Path) -> None:
    events = some_events()
    disordered = events.copy()
    disordered[100:200], disordered[200:300] = events[200:300], events[100:200]
    assert convert(str(save(tmp_path / "start.npz", disordered)), str(tmp_path / "out.csv")) == 0
    np.testing.assert_array_equal(read(tmp_path / "out.csv"), events)


def test_an_output_that_exists_is_replaced_only_by_force(tmp_path: Path) -> None:
    start, out = save(tmp_path / "start.npz", some_events()), tmp_path / "out.es"
    out.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        convert(str(start), str(out))
    assert out.read_text() == "mine"
    assert convert(str(start), str(out), force=True) == 0
    np.testing.assert_array_equal(read(out), some_events())


@pytest.mark.parametrize("name", ["es", "dat", "evt2"])
def test_epoch_times_are_shifted_on_request_and_nothing_is_left_behind_without(tmp_path: Path, name: str) -> None:
    events = some_events()
    events["t"] += 1_589_163_147_368_868
    start, out = save(tmp_path / "start.npz", events), f"{tmp_path / 'out'}?format={name}"
    with pytest.raises(OutputError, match=rf"^{tmp_path}/out: .*--shift auto"):
        convert(str(start), out)
    assert [f.name for f in tmp_path.iterdir()] == ["start.npz"]
    assert convert(str(start), out, shift="auto") == 0
    np.testing.assert_array_equal(read(tmp_path / "out")["t"], events["t"] - events["t"][0])
    with pytest.raises(UsageError, match="shift"):
        convert(str(start), out, force=True, shift="now")


def test_an_excerpt(tmp_path: Path) -> None:
    start = save(tmp_path / "start.npz", some_events())
    assert convert(str(start), str(tmp_path / "out.csv"), **{"from": "10ms", "to": "20ms"}) == 0
    t = some_events()["t"] - some_events()["t"][0]
    np.testing.assert_array_equal(read(tmp_path / "out.csv"), some_events()[(t >= 10_000) & (t < 20_000)])


def test_events_of_the_last_session_and_a_clock_that_restarts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = some_events()
    stale = events[:5].copy()
    stale["t"] += 50_000_000
    assert convert(str(save(tmp_path / "a.npz", np.concatenate([stale, events]))), str(tmp_path / "a.csv")) == 3
    np.testing.assert_array_equal(read(tmp_path / "a.csv"), events)
    assert "5 with wrong times" in capsys.readouterr().err
    assert convert(str(save(tmp_path / "b.npz", np.concatenate([events, events]))), str(tmp_path / "b.csv")) == 0
    assert "the clock jumped 1 times" in capsys.readouterr().err
    out = read(tmp_path / "b.csv")
    np.testing.assert_array_equal(out["t"][5000:] - out["t"][5000], events["t"] - events["t"][0])
    assert out["t"][5000] == out["t"][4999] + 1_000_000


@pytest.mark.parametrize("name", ["rec-2024-01-02T10:11:12.csv", "zmq:1.csv", "a?b.csv", "what? a%20b#c.csv"])
def test_any_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    start = save(tmp_path / "start.npz", some_events(100))
    assert convert(str(start), name) == 0 and convert(str(start), f"{name}?format=csv", force=True) == 0
    assert {f.name for f in tmp_path.iterdir()} == {"start.npz", name}


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    start = save(tmp_path / "start.npz", some_events(100))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("folder", "is a folder; name a file"), ("pipe", "is no file; name a file")):
        with pytest.raises(OutputError, match=said):
            convert(str(start), f"{tmp_path / name}?format=csv", force=True)
    with pytest.raises(UsageError, match="writes no standard output; name a file"):
        convert(str(start), "-")
    (tmp_path / "real.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert convert(str(start), str(tmp_path / "link.csv"), force=True) == 0
    assert (tmp_path / "link.csv").is_symlink() and len(read(tmp_path / "real.csv")) == 100
    assert {f.name for f in tmp_path.iterdir()} == {"start.npz", "folder", "pipe", "real.csv", "link.csv"}


def test_labels_that_are_not_written_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        save(tmp_path / "in" / name / "1.npz", some_events(100))
    assert convert(str(tmp_path / "in"), str(tmp_path / "out.npz")) == 0
    assert "its 2 labels were not written" in capsys.readouterr().err


def test_words_that_make_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = save(tmp_path / "start.npz", some_events(10))
    for target, complaint in (("x.wav", "no writer"), ("x.bin?format=cvs", "did you mean 'csv'"), (start, "same file")):
        with pytest.raises(UsageError, match=complaint):
            convert(str(start), str(target if isinstance(target, Path) else tmp_path / target))
    monkeypatch.setattr(sys, "argv", ["stream-ottt", "convert", str(start), str(tmp_path / "no" / "x.csv")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
