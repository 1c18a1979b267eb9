"""Filters in a run and a conversion: what they leave out is counted once, and the size of the sensor follows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import labelled_events

from stream_ottt.cli import main
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.chain import open_filters
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer
from stream_ottt.sources.opening import open_source


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, EventArray]:
    """A recording of an 8×8 sensor in several packets, and its events."""
    events = labelled_events(0, 8, per_step=50)
    path = tmp_path / "in.aedat4"
    with Aedat4Writer(path, 8, 8) as writer:
        for part in np.array_split(events, 9):
            writer.write(part)
    return path, events


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["stream-ottt", *words])
    with pytest.raises(SystemExit) as e:
        main()
    return int(e.value.code or 0)


def test_a_run_counts_what_filters_leave_out(
    recording: tuple[Path, EventArray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = recording
    chosen = ["refractory:2ms", "roi:?left=1&top=2&width=5&height=4"]
    chain = open_filters(chosen, 8, 8)
    kept = chain(events)
    out = tmp_path / "s.json"
    words = [w for spec in chosen for w in ("--filter", spec)]
    settings = ["--binning.width", "sensor", "--binning.height", "sensor", "--network.layers", "4"]
    code = run(monkeypatch, "run", "--source", str(path), "--quiet", "--summary", str(out), *words, *settings)
    summary = json.loads(out.read_text())
    counted = summary["events"]
    assert code == 0 and counted["read"] == len(events) and counted["in_hand"] == 0
    assert counted["dropped"] == chain.dropped and counted["binned"] == len(kept) > 0
    assert summary["sensor"] == {"width": 8, "height": 8, "size_from": "file"}
    assert summary["settings"]["binning"]["filters"] == chosen


def test_hot_pixels_are_in_the_summary(
    recording: tuple[Path, EventArray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = recording
    out, config = tmp_path / "s.json", tmp_path / "run.toml"
    config.write_text('[binning]\nfilters = [{uri = "hot", pixels = "3:4", learn = "0"}]\n')
    assert (
        run(monkeypatch, "run", "--source", str(path), "--quiet", "--config", str(config), "--summary", str(out)) == 0
    )
    summary = json.loads(out.read_text())
    assert summary["filters"] == {"0:hot": {"pixels": [[3, 4]]}}
    of_pixel = np.count_nonzero((events["x"] == 3) & (events["y"] == 4))
    assert summary["events"]["dropped"].get("filter:hot", 0) == of_pixel > 0


def test_a_conversion_writes_what_is_kept(
    recording: tuple[Path, EventArray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, events = recording
    out = tmp_path / "out.aedat4"
    assert run(monkeypatch, "convert", str(path), str(out), "--filter", "polarity:on", "--filter", "transpose") == 0
    source = open_source(out)
    assert isinstance(source, BlockingSource)
    written = np.concatenate([packet.events for packet in source.excerpt()])
    expected = events[events["p"]]
    assert np.array_equal(written["x"], expected["y"]) and np.array_equal(written["t"], expected["t"])


def test_filters_that_leave_nothing_are_said(
    recording: tuple[Path, EventArray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, events = recording
    both = ["--filter", "polarity:on", "--filter", "polarity:off"]
    out = tmp_path / "out.aedat4"
    assert run(monkeypatch, "convert", str(path), str(out), *both) == 3 and not out.exists()
    err = capsys.readouterr().err
    assert err == f"stream-ottt: {path}: the filters left none of {len(events):,} events; nothing was written\n"
    assert run(monkeypatch, "run", "--source", str(path), "--quiet", *both) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"stream-ottt: {path}: the filters left nothing of its events (")


@pytest.mark.parametrize("command", ["run", "convert"])
def test_a_filter_that_is_none_names_the_near_miss(
    command: str,
    recording: tuple[Path, EventArray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, _ = recording
    words = ["--source", str(path), "--quiet"] if command == "run" else [str(path), str(tmp_path / "o.aedat4")]
    assert run(monkeypatch, command, *words, "--filter", "backgroud") == 2
    assert "background" in capsys.readouterr().err
