"""The inputs of :mod:`cases`, through ``info`` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cases import TABLES, TIMES, Case

from stream_ottt.cli.info import show
from stream_ottt.errors import StreamOtttError
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources.opening import open_source

INPUTS = Path(__file__).resolve().parents[2] / "shared" / "cases" / "inputs"

pytestmark = pytest.mark.skipif(not INPUTS.is_dir(), reason="the inputs are not part of the project")


def looked_at(uri: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict, str]:
    """Exit code, facts and standard error of ``info --json``."""
    try:
        code = show(uri, as_json=True)
    except StreamOtttError as e:
        return e.exit_code, {}, str(e)
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case.uri)
def test_reads_as_it_must(case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(INPUTS)
    code, facts, said = looked_at(case.uri, capsys)
    assert code == case.code and case.says in said, said
    if case.size is not None:
        assert (facts["width"], facts["height"]) == case.size
    if facts.get("size_from") == "guess" and facts["events"]:
        assert "the sensor's size is a guess" in said
    if case.sums is not None:
        source = open_source(case.uri)
        assert isinstance(source, BlockingSource)
        e = np.concatenate([p.events for p in source.excerpt()])
        sums = (e["t"] - e["t"][0]).sum(), *(e[c].sum(dtype=np.int64) for c in "xyp")
        assert (len(e), *map(int, sums)) == case.sums
        assert facts["malformed"] == 0 and facts["on"] == case.sums[-1]


@pytest.mark.parametrize("name", TIMES)
def test_wrong_times_cost_their_own_events(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts, _ = looked_at(str(INPUTS / name), capsys)
    assert (code, facts["events"], facts["malformed"]) == (0, 1500, TIMES[name])


def test_collections(capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source(INPUTS / "fold" / "Caltech101")
    assert sum(map(len, source.packets())) == 7000  # type: ignore[attr-defined]
    assert source.class_names == {0: "Faces_easy", 1: "accordion"}
    code, facts, _ = looked_at(f"{INPUTS / 'fold' / 'split'}?join=true", capsys)
    assert (code, facts["events"], facts["duration_us"]) == (0, 1500, 758000)


@pytest.mark.parametrize("path", sorted((INPUTS / "names").glob("*")), ids=lambda p: p.name)
def test_names(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for uri in (f"./{path.name}", f"{path.name}?width=346"):
        code, facts, _ = looked_at(uri, capsys)
        assert (code, facts["events"], facts["width"]) == (0, 1500, 346)
