"""Specifications of filters, and what a chain of them counts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from stream_ottt.errors import ModelError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE, make_events
from stream_ottt.filters.chain import open_filters, parse_filter

EVENTS = make_events([0, 1, 5, 2, 2], [0, 1, 3, 2, 2], [0, 1, 2, 50, 51], [1, 0, 1, 1, 0])


@pytest.mark.parametrize(
    "spec",
    [
        "background:?time=3ms&neighbours=2",
        "background?time=3000us&neighbours=2",
        {"uri": "background", "time": "3ms", "neighbours": 2},
        {"uri": "background:?time=3ms", "neighbours": 2},
    ],
)
def test_forms_of_a_specification(spec: Any) -> None:
    filter_class, config = parse_filter(spec)
    assert filter_class.name == "background"
    assert config.model_dump() == {"time": 3000, "neighbours": 2}


def test_what_stands_behind_the_colon() -> None:
    assert parse_filter("rotate:270")[1] == parse_filter("rotate:?degrees=270")[1]
    assert parse_filter("polarity:on")[1] == parse_filter({"uri": "polarity", "keep": "on"})[1]
    assert parse_filter("hot:?pixels=3:7,12:0")[1] == parse_filter({"uri": "hot", "pixels": [[3, 7], [12, 0]]})[1]
    assert len(parse_filter("hot:?pixels=" + ",".join(f"{x}:1" for x in range(1000)))[1].model_dump()["pixels"]) == 1000


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("backgruond", "unknown filter 'backgruond'; did you mean 'background'"),
        ("background:?tiem=3", "unknown key 'filter:background.tiem'; did you mean 'time'"),
        ("background:3x", "filter:background.time"),
        ("roi:64", "takes no '64' behind its colon; write roi:?left=…&top=…&width=…&height=…"),
        ("transpose:x", "takes no 'x' behind its colon; write transpose alone"),
        ("background:?time=1ms&time=2ms", "the option 'time' is given twice"),
        ("background:?neighbours=9", "filter:background.neighbours"),
        ("background:?time=-1", "expected a duration"),
        ("rotate:45", "filter:rotate.degrees"),
        ("rotate", "'filter:rotate.degrees' is required"),
        ("polarity:both", "filter:polarity.keep"),
        ("hot:?pixels=3;7", "expected pixels as X:Y"),
        ("hot:?pixels=7:0", "7:0 lies outside the 6×4 sensor"),
        ("hot:?rate=nan", "filter:hot.rate"),
        ("hot:?learn=1us", "make learn longer"),
        ("roi:?left=4&width=3&height=1", "do not lie on the 6×4 sensor"),
        ("roi:?width=0&height=1", "filter:roi.width"),
        ("", "unknown filter ''"),
        ({"time": "3ms"}, "needs the key 'uri'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(spec: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        open_filters([spec], 6, 4)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_empty_chain_passes_everything() -> None:
    chain = open_filters([], 6, 4)
    np.testing.assert_array_equal(chain(EVENTS), EVENTS)
    assert (chain.width, chain.height, chain.dropped, chain.state_dict()) == (6, 4, {}, {})
    chain.load_state_dict({})


def test_filters_apply_in_their_order_and_each_counts_its_own() -> None:
    chain = open_filters(["rotate:90", "roi:?left=2&width=2&height=3", "polarity:on", "refractory:1ms"], 6, 4)
    assert (chain.width, chain.height) == (2, 3)
    # Turned: (3, 0), (2, 1), (0, 5), (1, 2), (1, 2); of these the first two lie in the region, and the first is ON.
    assert chain(EVENTS).tolist() == [(1, 0, 0, True)]
    assert chain.dropped == {"filter:roi": 3, "filter:polarity": 1}
    assert chain(EVENTS).tolist() == []
    assert chain.dropped == {"filter:roi": 6, "filter:polarity": 2, "filter:refractory": 1}


def test_two_of_a_kind_have_a_state_each() -> None:
    chain = open_filters(["refractory:1ms", "flip", "refractory:2ms"], 6, 4)
    chain(EVENTS)
    state = chain.state_dict()
    assert list(state) == ["0:refractory", "1:flip", "2:refractory"]
    assert not np.array_equal(state["0:refractory"]["last"], state["2:refractory"]["last"])
    with pytest.raises(ModelError, match="of the filters"):
        open_filters(["refractory:1ms"], 6, 4).load_state_dict(state)


def test_a_hostile_state_is_refused() -> None:
    chain = open_filters(["hot"], 6, 4)
    good = chain.state_dict()["0:hot"]
    for key, value in {
        "start": -1,
        "counts": good["counts"] + 2**32,
        "hot": good["hot"].astype(np.int8),
    }.items():
        with pytest.raises(ModelError):
            chain.load_state_dict({"0:hot": {**good, key: value}})
    for more in ({"start": 2**63 + 1}, {"counts": good["counts"] - 1}):
        with pytest.raises(ModelError, match="out of range"):
            chain.load_state_dict({"0:hot": {**good, **more}})


def test_what_was_found_out_is_json() -> None:
    chain = open_filters(["flip", "hot:?pixels=5:3,1:0"], 6, 4)
    assert json.loads(json.dumps(chain.describe())) == {"1:hot": {"pixels": [[1, 0], [5, 3]]}}


def test_numba_and_opencv_are_imported_where_they_are_used() -> None:
    code = (
        "import sys; from stream_ottt.filters.chain import open_filters, parse_filter; "
        "open_filters(['flip', 'roi:?width=2&height=2', 'polarity:on'], 6, 4); parse_filter('undistort:x'); "
        "assert not {'numba', 'cv2', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_empty_arrays_come_out_as_events() -> None:
    chain = open_filters(["background", "roi:?width=2&height=2"], 6, 4)
    assert chain(EVENTS[:0]).dtype == EVENT_DTYPE
