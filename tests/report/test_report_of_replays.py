"""The page about replays and tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replay.helpers import small_config, write_collection
from report.pages import Page

from stream_ottt.errors import InputError
from stream_ottt.replay.records import Record, finished
from stream_ottt.replay.report import percent
from stream_ottt.replay.results import write_table
from stream_ottt.replay.runs import replay
from stream_ottt.replay.tables import Table
from stream_ottt.report.page import report


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A folder with two seeds of a replay, and what they found."""
    folder = tmp_path_factory.mktemp("replays")
    data = write_collection(folder / "data.npz")
    found = []
    for seed in range(2):
        config = small_config(data, protocol={"epochs": 2}, compute={"seed": seed}, report={"activity": 4})
        replay(config, folder / f"seed{seed}", say=lambda _: None)
        record = finished(config, folder / f"seed{seed}", "OTTT_O, <b>batch</b> 1")
        assert record is not None
        found.append(record)
    return folder, found


def test_a_replay_is_shown_with_its_figures(records: tuple[Path, list[Record]]) -> None:
    folder, (first, _) = records
    page = Page(report([folder / "seed0"]).decode())
    for key in ("accuracy", "best_accuracy", "parameters", "seconds"):
        assert page.number(f"result.{key}") == pytest.approx(first.result[key], rel=1e-4), key
    assert "ottt_o" in page.text and "time_steps = 4" in page.text and len(page.addresses) == 1


def test_a_table_is_shown_as_means_over_seeds(records: tuple[Path, list[Record]]) -> None:
    folder, found = records
    table = Table.load({"title": "Small <i>", "rows": [{"name": "OTTT_O, <b>batch</b> 1"}]})
    write_table(table, found, {("lost", 3): "no data"}, folder, figures=False)
    page = Page(report([folder]).decode())
    assert percent(r.result["accuracy"] for r in found) in page.text
    assert "OTTT_O, <b>batch</b> 1" in page.text and "b" not in page.tags and "i" not in page.tags
    assert "failed: lost, seed 3: no data" in page.text and "Small <i>" in page.text
    assert len(page.addresses) == 2  # over epochs, and firing rates


def test_a_folder_with_something_missing_is_refused(records: tuple[Path, list[Record]], tmp_path: Path) -> None:
    for name in ("settings.json", "result.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes((records[0] / "seed0" / name).read_bytes())
    with pytest.raises(InputError, match=r"provenance\.json: cannot be read"):
        report([tmp_path])
    (tmp_path / "provenance.json").write_text(json.dumps({"versions": {}}))
    with pytest.raises(InputError, match="something missing"):
        report([tmp_path])
