"""Inputs made after public reports, where they lie beside the repository: read right, or refused for its cause."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_ottt.errors import InputError
from stream_ottt.sources.opening import open_source

BASE = (1500, 28459529, 163045, 319034, 786)
"""Events, Σ(t − t₀), Σx, Σy, ON of most of the inputs."""


@pytest.fixture
def cases(recordings: Path) -> Path:
    folder = recordings.parent / "cases" / "inputs"
    if not folder.is_dir():
        pytest.skip("no folder of inputs beside the repository")
    return folder


@pytest.mark.parametrize(
    ("name", "sums", "size", "first"),
    [
        ("dvs_msgs.bag", BASE, (346, 260), 1589163147368868),
        ("dvs_msgs_lz4.bag", BASE, (346, 260), 1589163147368868),
        ("ecm_libcaer.bag", BASE, (346, 260), 1589163147368868),
        ("ecm_mono_bz2.bag", BASE, (346, 260), 1589163147368868),
        ("ros2_evt3_db3", BASE, (346, 260), 0),
        ("ros2_evt3_db3/ros2_evt3_db3.db3", BASE, (346, 260), 0),
        ("real/ecp_1.db3", (343474, 399250490464, 116731888, 80879209, 125183), (640, 480), 7139845),
        ("real/codecs_libcaer.db3", (334331, 335100158552, 111651612, 82801007, 181908), (640, 480), 1702309120762236),
        ("genx320_evt21.raw", BASE, (346, 260), 0),
        ("lucid_evt3_code9.raw", BASE, (346, 260), 0),
        ("v2e_dvs346.aedat?chip=davis346", (1500, 28459529, 354455, 319034, 786), (346, 260), 0),
        ("caer_davisfx3.aedat?width=346&height=260", BASE, (346, 260), 0),
        ("dvs128_aedat10.dat", (1500, 28459529, 59562, 156351, 786), (128, 128), 0),
        ("atis_cut.es", (3998, 0, 624883, 23016, 3998), (320, 240), 0),
    ],
)
def test_is_read_right(cases: Path, name: str, sums: tuple[int, ...], size: tuple[int, int], first: int) -> None:
    packets = list(open_source(f"{cases}/{name}").packets())  # type: ignore[attr-defined]
    events = np.concatenate([p.events for p in packets])
    t = events["t"] - events["t"][0]
    found = (len(events), t.sum(), *(events[k].sum(dtype=np.int64) for k in "xyp"))
    assert found == sums and int(events["t"][0]) == first
    assert {(p.width, p.height) for p in packets} == {size}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("v2e_dvs346.aedat", r"\?chip=davis346.*, where all of them fit"),
        ("caer_davisfx3.aedat", r"DAVISFX3.*\?width=…&height=….*DAVIS346 has 346×260"),
        ("jaer_sbret10.aedat", r"sbret10.*\?chip="),
        ("color_cut.es", "holds colour events"),
        ("generic.es", "holds generic events"),
    ],
)  # fmt: skip
def test_is_refused_for_its_cause(cases: Path, name: str, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        list(open_source(cases / name).packets())  # type: ignore[attr-defined]


def test_what_is_unknown_is_counted(cases: Path) -> None:
    source = open_source(cases / "lucid_evt3_code9.raw")
    list(source.packets())  # type: ignore[attr-defined]
    assert source.describe()["unknown_words"] == 3
