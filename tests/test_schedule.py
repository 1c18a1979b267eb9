"""A cosine without an end gets that of the stream, where the labels say how long it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import WINDOW, intervals, labelled_events

from stream_ottt.cli import main
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.run.models import load_model
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer

SETTINGS = {
    "binning.window": f"{WINDOW}us",
    "network.layers": "4",
    "learner.time_steps": "5",
    "labels.delay": "end",
    "rehearsal.mode": "off",
}


def learned(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **more: str) -> dict[str, np.ndarray]:
    """The weights after a run over 8 presentations of 10 timesteps each."""
    from safetensors.numpy import load_file

    with Aedat4Writer(folder / "e.aedat4", 8, 8) as writer:
        writer.write(labelled_events(0, 8))
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(8)]
    (folder / "l.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    given = {"source": str(folder / "e.aedat4"), "labels.file": str(folder / "l.csv"), **SETTINGS, **more}
    words = [w for k, v in given.items() for w in (f"--{k}", v)]
    monkeypatch.setattr(sys, "argv", ["stream-ottt", "run", "--quiet", "--force", "--save", f"{folder}/{name}", *words])
    with pytest.raises(SystemExit) as e:
        main()
    assert not e.value.code
    return load_file(folder / name)


COSINE = {"learner.schedule": "cosine"}
MODEL = "m.safetensors"


def test_the_end_is_that_of_all_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = {"stream.passes": "2"}
    found = learned(tmp_path, monkeypatch, MODEL, **COSINE, **twice)
    said = learned(tmp_path, monkeypatch, MODEL, **COSINE, **twice, **{"learner.schedule_steps": "160"})
    other = learned(tmp_path, monkeypatch, MODEL, **COSINE, **twice, **{"learner.schedule_steps": "80"})
    assert all((found[k] == said[k]).all() for k in said)
    assert any((found[k] != other[k]).any() for k in said)


def test_without_a_known_length_the_rate_is_constant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_count = {"binning.count": "30"}
    found = learned(tmp_path, monkeypatch, MODEL, **COSINE, **by_count)
    assert "the rate stays constant" in capsys.readouterr().err
    constant = learned(tmp_path, monkeypatch, MODEL, **by_count)
    assert all((found[k] == constant[k]).all() for k in constant)


def test_a_model_with_a_schedule_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned(tmp_path, monkeypatch, MODEL, **COSINE)
    assert load_model(tmp_path / MODEL).config.schedule == "constant"


def test_an_end_that_is_known_stays() -> None:
    config = LearnerConfig(schedule="cosine", schedule_steps=5)
    assert config.with_known_end() is config
