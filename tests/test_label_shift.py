"""Labels that count from the recording's first event, and what is said where they do not meet the stream."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import intervals, labelled_events

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LabelsConfig
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import run

BEGINS = 900_000_000_000_000
"""Times of the recording begin late, as those of a wall clock do, µs."""


@pytest.mark.parametrize(
    ("shift", "met", "said"),
    [
        ("auto", 4, ""),
        (str(BEGINS) + "us", 4, ""),
        ("0", 0, "labels cover 0 … 40000 µs, the stream begins at 900000000000000 µs"),
    ],
)
def test_labels_are_shifted(
    shift: str, met: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = labelled_events(0, 4)
    events["t"] += BEGINS - int(events["t"][0])
    np.savez(tmp_path / "x.npz", width=8, height=8, **{k: events[k] for k in "xytp"})
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(4)]
    (tmp_path / "x.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    small = {"binning": {"window": "1ms", "width": 8, "height": 8}, "network": {"layers": [4]}}
    labels = {"file": str(tmp_path / "x.csv"), "shift": shift}
    request = RunRequest(
        f"{tmp_path / 'x.npz'}?time=us",
        overrides={**small, "labels": labels},
        sinks=[],
        summary=tmp_path / "s.json",
    )
    assert run(request) == 0
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["labels"]["intervals_met"] == summary["presentations"] == met
    err = capsys.readouterr().err
    assert said in err and ("the stream covers 900000000000000 …" in err) == (not met)


@pytest.mark.parametrize("wrong", [0, BEGINS + 50_000_000])
def test_labels_count_from_the_first_event_whose_time_is_right(wrong: int, tmp_path: Path) -> None:
    events = labelled_events(0, 4)
    events["t"] += BEGINS - int(events["t"][0])
    events["t"][:5] = wrong
    np.savez(tmp_path / "x.npz", width=8, height=8, **{k: events[k] for k in "xytp"})
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(4)]
    (tmp_path / "x.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    request = RunRequest(
        f"{tmp_path / 'x.npz'}?time=us",
        overrides={
            "binning": {"window": "1ms", "width": 8, "height": 8},
            "network": {"layers": [4]},
            "labels": {"file": str(tmp_path / "x.csv"), "shift": "auto"},
        },
        sinks=[],
        summary=tmp_path / "s.json",
    )
    assert run(request) == 3  # five events are left out
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["labels"]["intervals_met"] == summary["presentations"] == 4


@pytest.mark.parametrize(
    ("said", "shift"),
    [
        ("1600000000000000us", 1_600_000_000_000_000),
        ("1600000000s", 1_600_000_000_000_000),
        ("-1600000000000000us", -1_600_000_000_000_000),
        ("-1.5s", -1_500_000),
    ],
)
def test_a_shift_may_be_as_large_as_an_epoch(said: str, shift: int) -> None:
    config = LabelsConfig.load({"shift": said})
    assert config.shift == shift
    assert LabelsConfig.load(config.model_dump(mode="json", exclude_none=True)).shift == shift


@pytest.mark.parametrize(
    "said", [1_600_000_000_000_000, "1600000000000000", "-1600000000000000", f"{2**63}us", "-9" * 9]
)
def test_a_shift_without_a_unit_or_beyond_all_times_is_refused_in_one_line(said: object) -> None:
    with pytest.raises(UsageError, match="shift") as refused:
        LabelsConfig.load({"shift": said})
    assert "\n" not in str(refused.value)
