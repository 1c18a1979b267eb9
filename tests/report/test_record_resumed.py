"""A recorded run that is stopped and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from resumed import moved, request, resume, run

from stream_ottt.report.recorded import read_run
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.checkpointing import Checkpointing
from stream_ottt.sources.opening import open_source


@pytest.mark.usefixtures("one_thread")
def test_its_record_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Many marks, which come at the ends of packets; and a checkpoint at each, however slow the disk.
    monkeypatch.setattr("stream_ottt.sources.synthetic.PACKET_EVENTS", 800)
    monkeypatch.setattr(Checkpointing, "take", Checkpointing.write)
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    whole = tmp_path / "whole"
    asked = request(whole)
    asked.sinks = [f"record:{whole}/kept?every=5&events=true", f"tensorboard:{whole}/board?every=5"]
    assert run(asked) == 0
    cut = sorted(CheckpointFolder(whole / "checkpoints").numbers())[1]
    folder = moved(whole, tmp_path / "cut", cut)
    resume(folder)
    expected, found = read_run(whole / "kept"), read_run(folder / "kept")
    assert expected.predictions is not None and found.predictions is not None
    for key in ("t", "label", "truth", "scored"):
        np.testing.assert_array_equal(getattr(found.predictions, key), getattr(expected.predictions, key), err_msg=key)
    for key in ("step", "t", "accuracy", "updates"):
        assert [point[key] for point in found.points] == [point[key] for point in expected.points], key
    # What had been written of the events stays, and the resumed run's own stand beside it.
    later = np.concatenate([p.events for p in open_source(str(folder / "kept" / "events-2.aedat4")).packets()])
    every = np.concatenate([p.events for p in open_source(str(whole / "kept" / "events.aedat4")).packets()])
    assert 0 < len(later) < len(every)
    np.testing.assert_array_equal(later, every[-len(later) :])
    assert (folder / "kept" / "events.aedat4").read_bytes() == (whole / "kept" / "events.aedat4").read_bytes()

    board = EventAccumulator(str(folder / "board")).Reload().Scalars("accuracy/steps")
    assert [s.step for s in board][:-1] == [point["step"] for point in expected.points]
