"""`info` for people: every figure has its unit, a time of the epoch its date, and nothing looks like Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_ottt.cli.info import lines
from stream_ottt.sources.opening import open_source

AT = 1_600_000_000_000_000


def test_a_recording_of_the_epoch_whose_clock_jumped(call: Any, tmp_path: Path) -> None:
    t = AT + np.arange(2000) * 100
    t[1000:] -= 99_993
    file = tmp_path / "x.npz"
    np.savez(file, x=np.arange(2000) % 8, y=np.arange(2000) % 8, t=t, p=np.arange(2000) % 2, width=8, height=8)
    code, out, _ = call("info", file)
    assert code == 0
    for line in (
        "width: 8 pixels",
        "events: 2,000",
        "left out: 0 events",
        "epochs of the clock: 2",
        "first event: 1,600,000,000,000,000 µs (2020-09-13 12:26:40.000000 UTC)",
        "duration: 1.199800 s",
        "rate: 1,666.9 events/s",
        "on: 1,000 events",
    ):
        assert f"  {line}\n" in out
    assert "before 1,600,000,000,099,900 µs (2020-09-13 12:26:40.099900 UTC), after" in out


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"streams": [{"id": 1000, "width": 346, "height": None}]}, ["streams:", "  id 1000, width 346 pixels"]),
        ({"header": {"evt": "3.0", "end": ""}}, ["header:", "  evt: 3.0"]),
        ({"topics": {"/event_camera/a": "T"}}, ["topics:", "  /event_camera/a: T"]),
        ({"packets": {"polarity": 1234}, "labels": 2}, ["packets:", "  polarity: 1,234", "labels: 2 intervals"]),
        ({"t_first": None, "streams": [], "files": ["a", "b"]}, ["files:", "  a", "  b"]),
    ],
)
def test_what_is_nested_is_no_dict_and_what_is_not_known_is_left_out(facts: dict[str, Any], text: list[str]) -> None:
    assert list(lines(facts)) == text


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("synthetic:", "camera"),
        ("rcls:absent", "option"),
        ("udp://127.0.0.1:5000?width=4&height=4", "option"),
        ("tcp://127.0.0.1:5000", "sender"),
        ("tcp://127.0.0.1:5000?width=4&height=4", "option"),
        ("zmq+sub://127.0.0.1:5000", "sender"),
        ("camera:", "camera"),
    ],
)
def test_what_is_no_file_has_its_size_from_elsewhere(uri: str, origin: str) -> None:
    assert open_source(uri).size_from == origin
