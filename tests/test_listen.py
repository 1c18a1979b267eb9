"""What ``listen`` prints of a message."""

from __future__ import annotations

from typing import Any

import pytest

from stream_ottt.cli.listen_text import ListenText

SAID = {
    "v": 1,
    "seq": 40,
    "t0": 800_000,
    "t1": 820_000,
    "class": 3,
    "name": "bell",
    "confidence": 0.81,
    "latency_ms": 4.24,
    "learned": False,
    "truth": None,
    "eos": False,
}
HEAD = "predictions/cam  #40     0.800000 … 0.820000 s"


@pytest.mark.parametrize(
    ("changes", "rest"),
    [
        ({}, "bell  81%  no label yet  4.2 ms"),
        ({"truth": 3, "truth_name": "bell"}, "bell  81%  ✓ label bell  4.2 ms"),
        ({"truth": 5, "truth_name": "cup"}, "bell  81%  ✗ label cup  4.2 ms"),
        ({"truth": 5, "truth_name": None, "learned": True}, "bell  81%  ✗ label class 5  4.2 ms  learned"),
        ({"name": None, "unknown": True}, "class 3, or unknown  81%  no label yet  4.2 ms"),
        ({"learning": "paused"}, "bell  81%  no label yet  4.2 ms  learning paused"),
        ({"learning": "off"}, "bell  81%  no label yet  4.2 ms  learning off"),
        ({"learning": "on", "accuracy": 0.75, "presentations": 4}, None),
        ({"accuracy": None, "presentations": 0}, "bell  81%  no label yet  4.2 ms"),
        ({"confidence": None, "latency_ms": "x"}, "bell  ?  no label yet  ? ms"),
    ],
)
def test_a_prediction_stands_beside_its_label(changes: dict[str, Any], rest: str | None) -> None:
    line = ListenText().of("predictions/cam", SAID | changes)
    assert line == f"{HEAD}  {rest or 'bell  81%  no label yet  accuracy 0.750 of 4  4.2 ms'}"


def test_a_label_that_comes_late_stands_beside_what_was_predicted() -> None:
    text = ListenText()
    for i, name in enumerate(("bell", "cup", "bell", "bell")):
        text.of("predictions/cam", SAID | {"t0": 20_000 * i, "t1": 20_000 * (i + 1), "name": name})
        text.of("predictions/other", SAID | {"t0": 20_000 * i, "t1": 20_000 * (i + 1)})
    late = {"t0": 20_000, "t1": 80_000, "class": 3, "name": "bell"}
    lines = text.of("predictions/cam", SAID | {"labels": [late, late | {"t0": 10**9, "t1": 10**9 + 1}]}).splitlines()
    assert lines[0].startswith(HEAD)
    assert lines[1:] == [
        "predictions/cam     0.020000 … 0.080000 s  label bell  predicted in 2 of 3 timesteps",
        "predictions/cam  1000.000000 … 1000.000001 s  label bell",
    ]
    # A label message of the same source, by its name or its number.
    named = {"v": 1, "t0": 0, "t1": 40_000, "class": "bell"}
    assert text.of("labels/cam", named).endswith("label bell  predicted in 1 of 2 timesteps")
    assert text.of("labels/new", named | {"class": 7}).endswith("s  label class 7")


def test_other_messages() -> None:
    text = ListenText()
    events = {"seq": 2, "n": 10_000, "t0": 0, "t1": 1_500_000, "width": 346, "height": 260}
    assert text.of("events/cam", events) == "events/cam  #2     0.000000 … 1.500000 s  10,000 events  346×260"
    assert text.of("", {"n": 0, "t0": None, "t1": None, "width": 8, "height": 8}) == "events  no time  0 events  8×8"
    end = {"seq": 9, "eos": True, "accuracy": 0.5, "presentations": 12}
    assert text.of("predictions/cam", end) == "predictions/cam  #9  end of the stream  accuracy 0.500 of 12"
    assert text.of("events/cam", {"seq": 9, "eos": True}) == "events/cam  #9  end of the stream"
    assert text.of("events/cam", {"lost_messages": 3}) == "events/cam  3 messages lost"
    assert text.of("malformed", {"error": "no JSON"}) == "malformed: no JSON"
    # What anybody may send is printed, whatever it holds.
    assert "label" in text.of("predictions/x", {"labels": "no", "t0": "a", "class": None, "presentations": True})


def test_on_a_terminal_the_topic_is_said_once() -> None:
    text = ListenText(grouped=True)
    line = "#40     0.800000 … 0.820000 s  bell  81%  no label yet  4.2 ms"
    assert text.of("predictions/cam", SAID) == f"predictions/cam\n{line}"
    late = {"t0": 800_000, "t1": 820_000, "class": 3, "name": "bell"}
    told = "0.800000 … 0.820000 s  label bell  predicted in 2 of 2 timesteps"
    assert text.of("predictions/cam", SAID | {"labels": [late]}) == f"{line}\n{told}"
    assert text.of("predictions/other", SAID) == f"predictions/other\n{line}"
    assert text.of("events/cam", {"n": 1}).startswith("events/cam")
    assert text.of("predictions/other", SAID) == f"predictions/other\n{line}"
