"""Recordings with wrong times, through a run and a conversion as users start them: what is used, and what is said."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.cli import main

N = 1500
T = np.arange(N) * 25
SMALL = ["--quiet", "--binning.width", "8", "--binning.height", "8", "--network.layers", "4"]


def stale() -> np.ndarray:
    """Five events of the last session come first, then the clock starts at 0."""
    return np.concatenate([50_000_000 + T[:5], T[:-5]])


def zero_first() -> np.ndarray:
    """The first event has no time yet; all others count from 1970."""
    t = 1_600_000_000_000_000 + T
    t[0] = 0
    return t


def flipped_first() -> np.ndarray:
    t = T.copy()
    t[0] = 1 << 35
    return t


def glitches() -> np.ndarray:
    """Every hundredth event is 999 ms in the past."""
    t = 2_000_000 + T
    t[100::100] -= 999_000
    return t


def jitter() -> np.ndarray:
    """Packets of 50 events, each second one 3 ms late."""
    return T - np.where(np.arange(N) // 50 % 2, 3000, 0) + 5000


def shuffled() -> np.ndarray:
    return np.random.default_rng(4).permutation(T)


@dataclass(frozen=True)
class Case:
    """Times, options of the source, and how many of the 1,500 events are left out."""

    times: np.ndarray
    options: str
    left_out: int | None
    says: str = ""


CASES = {
    "stale": Case(stale(), "", 5, "5 events whose times run in no order"),
    "zero first": Case(zero_first(), "", 1, "1 events whose times run in no order"),
    "glitches": Case(glitches(), "", 14, "tolerance=, such as tolerance=1s"),
    "glitches, put in their place": Case(glitches(), "?tolerance=1s", 0),
    "jitter": Case(jitter(), "", 0),
    "jitter without a tolerance": Case(jitter(), "?tolerance=0ms", None, "jitter between packets with tolerance="),
    "shuffled": Case(shuffled(), "", None, "put a file in order with sort=true"),
    "shuffled, sorted": Case(shuffled(), "?sort=true", 0),
}


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["stream-ottt", *words])
    with pytest.raises(SystemExit) as e:
        main()
    return int(e.value.code or 0)


def recording(folder: Path, times: np.ndarray, header: str = "t,x@8,y@8,on") -> Path:
    path = folder / "in.csv"
    path.write_text("\n".join([header, *(f"{t},{i % 8},{i // 8 % 8},{i % 2}" for i, t in enumerate(times.tolist()))]))
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_run_and_a_conversion_use_what_is_good(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    source = f"{recording(tmp_path, case.times)}{case.options}"
    good = np.sort(case.times)[{"stale": slice(-5), "zero first": slice(1, None)}.get(name, slice(None))]
    summary = tmp_path / "s.json"
    code = command(monkeypatch, "run", "--source", source, "--summary", str(summary), *SMALL)
    events = json.loads(summary.read_text())["events"]
    said = capsys.readouterr().err
    assert events["read"] == N and events["late"] == 0 and events["binned"] + events["malformed"] == N
    assert code == (0 if case.left_out == 0 else 3) and case.says in said
    converted = tmp_path / "out.npz"
    code = command(monkeypatch, "convert", source, str(converted))
    said = capsys.readouterr().err
    t = np.load(converted)["t"]
    assert len(t) == events["binned"] and (np.diff(t) >= 0).all()
    assert code == (0 if case.left_out == 0 else 3) and (not code or "tolerance=" in said)
    if case.left_out is None:
        assert events["binned"] < N
    else:
        assert events["malformed"] == case.left_out and (name == "glitches" or np.array_equal(t, good))


@pytest.mark.parametrize(("times", "wrong"), [(stale(), 5), (zero_first(), 1), (flipped_first(), 1)])
@pytest.mark.parametrize("sort", [False, True])
def test_a_part_and_a_shift_count_from_the_first_event_whose_time_is_right(
    times: np.ndarray, wrong: int, sort: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = recording(tmp_path, times), tmp_path / "out.npz"
    good = times[wrong:] - times[wrong]
    options = "&sort=true" if sort else ""
    command(monkeypatch, "convert", f"{path}?from=10ms&to=20ms{options}", str(out))
    assert np.array_equal(np.load(out)["t"] - times[wrong], good[(good >= 10_000) & (good < 20_000)])
    command(monkeypatch, "convert", f"{path}?shift=auto{options}", str(out), "--force")
    t = np.load(out)["t"]
    assert np.array_equal(t[: len(good)], good) and (sort or len(t) == len(good))


def test_a_sorted_recording_begins_with_its_earliest_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = recording(tmp_path, T[::-1]), tmp_path / "out.npz"
    assert command(monkeypatch, "convert", f"{path}?sort=true&from=10ms&to=20ms", str(out)) == 0
    assert np.array_equal(np.load(out)["t"], T[(T >= 10_000) & (T < 20_000)])


@pytest.mark.parametrize("sources", [1, 2])
def test_wrong_times_at_the_end_are_counted_in_each_pass_and_each_source(
    sources: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = T.copy()
    times[-3:] += 2**40
    paths = []
    for i in range(sources):
        (tmp_path / str(i)).mkdir()
        paths += ["--source", str(recording(tmp_path / str(i), times))]
    words = [*SMALL, "--summary", str(tmp_path / "s.json"), *(["--passes", "2"] if sources == 1 else [])]
    assert command(monkeypatch, "run", *paths, *words) == 3
    summary = json.loads((tmp_path / "s.json").read_text())
    events, clocks = summary["events"], [one["clock"] for one in summary.get("sources", {}).values()]
    assert (events["read"], events["malformed"], events["late"]) == (2 * N, 6, 0)
    assert events["read"] == events["binned"] + events["malformed"]
    assert all(clock["epochs"] == 1 for clock in clocks or [summary["clock"]])


@pytest.mark.parametrize("times", [stale(), flipped_first()])
def test_labels_of_each_source_count_from_its_first_event_whose_time_is_right(
    times: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--labels.shift", "auto", "--binning.window", "1ms", *SMALL, "--summary", str(tmp_path / "s.json")]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        words += ["--source", str(recording(tmp_path / name, times))]
        labels = tmp_path / f"{name}.csv"
        labels.write_text("class,startTime_usec,endTime_usec\n0,0,10000\n1,10000,30000\n")
        words += ["--labels", str(labels)]
    assert command(monkeypatch, "run", *words) == 3
    assert json.loads((tmp_path / "s.json").read_text())["labels"]["intervals_met"] == 2  # the same of both


def test_a_guessed_size_is_said_once_and_before_anything_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, summary = recording(tmp_path, T, header="t,x,y,on"), tmp_path / "s.json"
    assert command(monkeypatch, "run", "--source", str(path), "--summary", str(summary), *SMALL) == 0
    first, *others = capsys.readouterr().err.splitlines()
    assert f"{path}: the sensor's size is a guess, 8×8" in first and not any("a guess" in line for line in others)
    assert json.loads(summary.read_text())["sensor"] == {"width": 8, "height": 8, "size_from": "guess"}
