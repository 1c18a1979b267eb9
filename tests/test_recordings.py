"""Real recordings against what independent decoders read from them; left out where the recordings are not at hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.cli import main
from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources.opening import open_source

# Format, sensor, events, duration µs, Σ(t − t₀), Σx, Σy (from the top), ON; None where nothing is known.
KNOWN: dict[str, tuple[str, tuple[int, int], int, float | None, int | None, int | None, int | None, int | None]] = {
    "davis346.aedat4": ("aedat4", (346, 260), 78830, 2359945, 90875505184, 14861513, 15061593, 41257),
    "dvs320x240.aedat4": ("aedat4", (320, 240), 111954, 589917, 31685685498, 18342405, 15105898, 55023),
    "dvs128_aedat31.aedat": ("aedat31", (128, 128), 124988, 1.0e6, None, None, None, None),
    "tiny_synthetic_aedat31_1.aedat": ("aedat31", (128, 128), 12, None, None, None, None, None),
    "tiny_synthetic_aedat31_2.aedat": ("aedat31", (128, 128), 18, None, None, None, None, None),
    "tiny_synthetic_aedat31_3.aedat": ("aedat31", (128, 128), 5, None, None, None, None, None),
    "dvs128_walking_aedat2.aedat": ("aedat2", (128, 128), 125028, 8.0439e6, None, None, None, None),
    "davis240c_aedat2.aedat": ("aedat2", (240, 180), 162771, 2072651, 170769045902, 14600358, None, 82944),
    "gen3_evt2.raw": ("evt2", (640, 480), 539481, 50000, 13364739784, 171811022, 110162026, 367855),
    "evk4_evt3.raw": ("evt3", (1280, 720), 1218618, 10767997, 4875061980061, 606868036, 367486055, 553295),
    "gen3_evt3_triggers.raw": ("evt3", (640, 480), 343474, 2078178, 399250490464, 116731888, 80879209, 125183),
    "event_camera_msgs_evt3.bag": ("rosbag", (640, 480), 343474, 2078178, 399250490464, 116731888, 80879209, 125183),
    "ncars_2d.dat": ("dat", (304, 240), 4407, 99937, 239318661, 108033, 134194, 1671),
    "dvs.es": ("es", (320, 240), 473225, 999000, 200862071000, 72946016, 56007796, 270001),
    "dvs_es_twin.csv": ("csv", (320, 240), 473225, 999000, 200862071000, 72946016, 56007796, 270001),
}


def events_of(path: Path) -> tuple[str, tuple[int, int], EventArray]:
    source = open_source(path)
    assert isinstance(source, BlockingSource)
    packets = list(source.packets())
    (size,) = {(p.width, p.height) for p in packets}
    return type(source).name, size, np.concatenate([p.events for p in packets])


@pytest.mark.parametrize("name", list(KNOWN))
def test_what_independent_decoders_read(name: str, recordings: Path) -> None:
    kind, sensor, events, duration, t, x, y, on = KNOWN[name]
    found, size, e = events_of(recordings / name)
    assert (found, size, len(e)) == (kind, sensor, events)
    assert e["x"].min() >= 0 and e["x"].max() < size[0] and e["y"].min() >= 0 and e["y"].max() < size[1]
    assert e["t"].min() >= 0
    span = int(e["t"].max() - e["t"][0])
    if isinstance(duration, float):  # known to as many places
        assert span == pytest.approx(duration, rel=1e-4 if duration != 1e6 else 0.05)
    elif duration is not None:
        assert span == duration
    sums = [int((e["t"] - e["t"][0]).sum()), *(int(e[k].sum(dtype=np.int64)) for k in "xyp")]
    assert [a for a, b in zip(sums, (t, x, y, on), strict=True) if b is not None] == [
        b for b in (t, x, y, on) if b is not None
    ]


def test_twins_hold_the_same_events(recordings: Path) -> None:
    for a, b in (("dvs.es", "dvs_es_twin.csv"), ("gen3_evt3_triggers.raw", "event_camera_msgs_evt3.bag")):
        assert np.array_equal(events_of(recordings / a)[2], events_of(recordings / b)[2])


def test_a_recording_without_events_is_said_in_one_line(recordings: Path) -> None:
    source = open_source(recordings / "frames_only.aedat4")
    assert isinstance(source, BlockingSource)
    with pytest.raises(InputError, match="no event stream in it, only 0") as error:
        list(source.packets())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["davis346.aedat4", "ncars_2d.dat", "event_camera_msgs_evt3.bag"])
def test_info_as_json(
    name: str, recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stream-ottt", "info", "--json", str(recordings / name)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (0, None)
    facts = json.loads(capsys.readouterr().out)
    kind, size, events, duration, *_, on = KNOWN[name]
    expected = {"format": kind, "width": size[0], "height": size[1], "events": events}
    expected |= {"duration_us": duration, "on": on, "off": events - on, "malformed": 0}
    assert {key: facts[key] for key in expected} == expected
    assert facts["t_last"] - facts["t_first"] == duration


def test_the_labelled_stream_of_objects(real_data: Path) -> None:
    folder = real_data / "dvs128_objects"
    kind, size, e = events_of(folder / "objects_stream.aedat4")
    assert (kind, size, len(e)) == ("aedat4", (128, 128), 1755298)
    labels = read_label_csv(folder / "objects_stream_labels.csv").intervals
    assert len(labels) == 82 and {i.label for i in labels} == {1, 2, 3, 4, 5}
    assert all(i.t_end - i.t_start == pytest.approx(2e6, rel=0.02) for i in labels)
    # Every event is of one of the presentations, or nearly: they were cut out for them.
    starts, ends = (np.array([getattr(i, side) for i in labels]) for side in ("t_start", "t_end"))
    k = np.searchsorted(starts, e["t"], side="right") - 1
    assert np.mean((k >= 0) & (e["t"] < ends[k])) > 0.999


def test_the_seven_objects(real_data: Path) -> None:
    files = sorted((real_data / "dvs128_objects").glob("*.aedat"))
    assert len(files) == 7
    for path in files:
        kind, size, e = events_of(path)
        assert (kind, size) == ("aedat2", (128, 128))
        assert 32.5e6 <= e["t"].max() - e["t"][0] <= 36.5e6


def test_the_samples_of_nmnist(real_data: Path) -> None:
    source = open_source(real_data / "nmnist" / "nmnist_800.npz")
    assert isinstance(source, BlockingSource)
    packets = list(source.packets())
    with np.load(real_data / "nmnist" / "nmnist_800.npz") as file:
        assert sum(map(len, packets)) == len(file["t"])
        assert source.labels is not None
        assert [i.label for i in source.labels] == file["labels"].tolist() and len(source.labels) == 800
    assert {(p.width, p.height) for p in packets} == {(34, 34)}
