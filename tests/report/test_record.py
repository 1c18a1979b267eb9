"""What a recorded run leaves, read back."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import labelled_events, timesteps
from recorded import PRESENTATIONS, record, write_stream

from stream_ottt.cli import main
from stream_ottt.errors import OutputError
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.report.recorded import read_run
from stream_ottt.run.config import RunConfig
from stream_ottt.run.presets import RUNS
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.opening import open_source


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded run with its events."""
    folder = tmp_path_factory.mktemp("runs")
    assert record(folder / "kept", write_stream(folder)) == 0
    return folder / "kept"


def prediction_of(timestep: Timestep) -> Prediction:
    return Prediction(timestep.index, timestep.t_start, timestep.t_end, np.zeros(2), 0, 1, 0.5)


def test_it_holds_all_that_the_run_said(kept: Path) -> None:
    run = read_run(kept)
    summary = json.loads((kept / "summary.json").read_text())
    assert run.summary == summary and summary["timesteps"] == 10 * PRESENTATIONS
    assert run.predictions is not None and len(run.predictions.t) == 10 * PRESENTATIONS
    assert [p["step"] for p in run.points] == list(range(9, 10 * PRESENTATIONS, 10))
    last = run.points[-1]
    # The last timestep's presentation is still open at that moment: it is scored when the run ends.
    steps = summary["accuracy"]["steps"]
    assert last["accuracy"]["steps"] == steps and last["updates"]["live"] <= summary["updates"]["live"]
    assert 0 <= last["firing"]["conv1"] <= 1 and last["rss_mb"] > 10 and last["events"] == pytest.approx(20, abs=8)
    # The accuracy follows from the predictions alone, and the labels change where the stream's do.
    t, accuracy = run.predictions.prequential(1000)
    assert accuracy[-1] == pytest.approx(steps)
    assert t[-1] == run.predictions.t[-1 - (10 - 3)] / 1e6
    np.testing.assert_allclose(run.predictions.changes(), [(10 * k + 1) / 1e3 for k in range(1, PRESENTATIONS)])


def test_its_events_are_those_of_the_stream_to_the_last(kept: Path) -> None:
    found = np.concatenate([packet.events for packet in open_source(str(kept / "events.aedat4")).packets()])
    wanted = labelled_events(0, PRESENTATIONS)
    assert len(found) == len(wanted)
    for key in ("x", "y", "t", "p"):
        np.testing.assert_array_equal(np.sort(found[key]), np.sort(wanted[key]))
    np.testing.assert_array_equal(found["t"], wanted["t"])


def test_its_settings_give_the_same_run_again(kept: Path) -> None:
    again = RunConfig.load(RUNS.read(str(kept / "settings.toml")))
    assert again.model_dump(mode="json", exclude_none=True) == read_run(kept).summary["settings"]


def test_a_record_is_not_overwritten_unless_forced(kept: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds a record already"):
        open_sink(f"record:{kept}").check(overwrite=False)
    open_sink(f"record:{kept}").check(overwrite=True)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="it is a file"):
        open_sink(f"record:{file}").check(overwrite=False)


def test_a_forced_record_keeps_nothing_of_the_one_before(tmp_path: Path) -> None:
    stream = write_stream(tmp_path, presentations=2)
    record(tmp_path / "r", stream)
    assert (tmp_path / "r" / "events.aedat4").exists()
    record(tmp_path / "r", stream, sinks=[f"record:{tmp_path / 'r'}"], force=True)
    assert not (tmp_path / "r" / "events.aedat4").exists()
    assert len(read_run(tmp_path / "r").points) == 0  # fewer than 50 timesteps


def test_events_that_cannot_be_written_are_said_and_leave_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    sink = open_sink(f"record:{folder}?events=true")
    results = [StepResult(timestep, prediction_of(timestep)) for timestep in timesteps(labelled_events(0, 1))]

    async def go() -> None:
        await sink.open(RunView(RunFacts("test"), lambda: RunSnapshot(None, Ledger())))
        (folder / "settings.toml").unlink()
        folder.rename(tmp_path / "moved")
        sink.take_events(labelled_events(0, 1), (8, 8))
        with pytest.raises(OutputError, match=r"events\.aedat4: cannot be written"):
            await sink.consume(results[0])
        for result in results:
            await sink.consume(result)
        (tmp_path / "moved").rename(folder)
        with pytest.raises(OutputError, match=r"events\.aedat4: cannot be written"):
            await sink.close({"schema": "test"})

    asyncio.run(go())
    assert len((folder / "predictions.jsonl").read_text().splitlines()) == len(results) == 10
    assert json.loads((folder / "summary.json").read_text()) == {"schema": "test"}


def test_where_it_is_not_known_how_far_it_had_come_lines_tell(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    record(folder, write_stream(tmp_path))
    sink = open_sink(f"record:{folder}?every=10")
    sink.go_on(None, 35)

    async def go() -> None:
        await sink.open(RunView(RunFacts("test"), lambda: RunSnapshot(None, Ledger())))
        await sink.close(None)

    asyncio.run(go())
    found = read_run(folder)
    assert found.predictions is not None and len(found.predictions.t) == 35
    assert [point["step"] for point in found.points] == [9, 19, 29]


def test_the_options_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["stream-ottt", "run", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    file, labels = write_stream(tmp_path, presentations=2)
    given = ["--source", file, "--labels", labels, "--quiet", "--network.layers", "4", "--binning.window", "1ms"]
    folders = ["--record", tmp_path / "kept", "--record-events", "--tensorboard", tmp_path / "board"]
    assert call(*given, *folders)[0] == 0
    assert {p.name for p in (tmp_path / "kept").iterdir()} == {
        "summary.json", "settings.toml", "predictions.jsonl", "curves.jsonl", "events.aedat4",
    }  # fmt: skip
    assert list((tmp_path / "board").glob("events.out.tfevents.*"))
    code, err = call(*given, *folders)
    assert code == OutputError.exit_code and "--force" in err
    assert call(*given, *folders, "--force")[0] == 0
    code, err = call(*given, "--record-events")
    assert code == 2 and "--record FOLDER" in err


def test_tensorboards_own_reader_finds_the_figures_of_the_summary(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stream = write_stream(tmp_path)
    board, kept = tmp_path / "board", tmp_path / "kept"
    assert record(kept, stream, sinks=[f"tensorboard:{board}?every=10", f"record:{kept}?every=10"]) == 0
    run = read_run(kept)
    found = EventAccumulator(str(board)).Reload()
    assert {"accuracy/kappa", "updates/live", "firing/conv1", "rss_mb", "events"} <= set(found.Tags()["scalars"])
    scalars = found.Scalars("accuracy/steps")
    assert [s.step for s in scalars] == [p["step"] for p in run.points] + [10 * PRESENTATIONS - 1]
    for scalar, point in zip(scalars, run.points, strict=False):
        assert scalar.value == pytest.approx(point["accuracy"]["steps"])
    for key, value in run.summary["accuracy"].items():
        if isinstance(value, float):
            assert found.Scalars(f"accuracy/{key}")[-1].value == pytest.approx(value), key
    with pytest.raises(OutputError, match="holds another run already"):
        open_sink(f"tensorboard:{board}").check(overwrite=False)
