"""Every setting of a run has an effect that can be seen. A new key needs a line here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from helpers import intervals, labelled_events
from test_settings import keys

from stream_ottt.cli import main
from stream_ottt.pipeline.playback import Playback
from stream_ottt.run.config import RunConfig
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer

BASE = {
    "binning.window": "1ms", "binning.width": "8", "binning.height": "8", "network.layers": "4",
    "network.readout": "flatten", "learner.time_steps": "5", "learner.lr": "0.1", "rehearsal.stretch": "5",
    "labels.delay": "3ms",
}  # fmt: skip


@dataclass
class Ran:
    """What one run left.

    Attributes:
        summary: its summary.
        lines: its predictions, without latencies.
        weights: its model's tensors.
    """

    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    weights: dict[str, Any]


def predictions(ran: Ran) -> object:
    return ran.lines


def weights(ran: Ran) -> object:
    return {k: v.tobytes() for k, v in ran.weights.items() if k.startswith("weights/")}


def shapes(ran: Ran) -> object:
    return {k: v.shape for k, v in ran.weights.items() if k.startswith("weights/")}


def summary(*path: str) -> Callable[[Ran], object]:
    def read(ran: Ran) -> object:
        value: Any = ran.summary
        for key in path:
            value = value[key]
        return value

    return read


def anything_dropped(ran: Ran) -> object:
    return sum(ran.summary["events"]["dropped"].values()) > 0


Effect = tuple[str, str, Callable[[Ran], object], dict[str, str]]

LONG = {"source": "{many}", "stream.queue_events": "1000000"}

EFFECTS: dict[str, Effect] = {
    "stream.seed": ("0", "1", predictions, {}),
    "stream.passes": ("1", "2", summary("timesteps"), {}),
    "stream.max_steps": ("none", "7", summary("timesteps"), {}),
    "stream.overflow": (
        "block",
        "drop-newest",
        anything_dropped,
        {"source": "{many}", "stream.queue_events": "1", "rehearsal.mode": "off"},
    ),
    "stream.queue_events": (
        "1000000",
        "1",
        anything_dropped,
        {"source": "{many}", "stream.overflow": "drop-newest", "rehearsal.mode": "off"},
    ),
    "stream.queue_span": ("1h", "1ms", anything_dropped, LONG | {"stream.overflow": "drop-oldest"}),
    "binning.window": ("1ms", "2ms", summary("timesteps"), {}),
    "binning.count": ("none", "7", summary("timesteps"), {}),
    "binning.width": ("4", "sensor", shapes, {}),
    "binning.height": ("sensor", "4", shapes, {}),
    "binning.reduce": ("sum", "letterbox", predictions, {"binning.width": "4"}),
    "binning.polarity": ("both", "merged", shapes, {}),
    "binning.frame": ("counts", "voxel-2", shapes, {}),
    "binning.clamp": ("none", "1", predictions, {}),
    "binning.silence": ("1s", "1ms", predictions, {"binning.count": "30", "labels.reset": "false"}),
    "binning.filters": ("[]", "polarity:on", predictions, {}),
    "network.topology": ("layers", "layers-f", shapes, {}),
    "network.layers": ("4", "5", shapes, {}),
    "network.weight_standardization": ("true", "false", predictions, {}),
    "network.readout": ("gap", "flatten", shapes, {}),
    "network.decay": ("0.5", "0.9", predictions, {}),
    "network.threshold": ("1", "0.5", predictions, {}),
    "network.surrogate": ("sigmoid", "rectangular", weights, {}),
    "network.surrogate_slope": ("4", "2", weights, {}),
    "network.dropout": ("0", "0.5", weights, {}),
    "network.input_trace": ("false", "true", weights, {}),
    "network.input_scale": ("1", "2", predictions, {}),
    "network.input_mass": ("0", "20", predictions, {}),
    "learner.optimizer": ("sgd", "adam", weights, {}),
    "learner.lr": ("0.1", "0.2", weights, {}),
    "learner.momentum": ("0.9", "0", weights, {}),
    "learner.weight_decay": ("0", "0.1", weights, {}),
    "learner.betas": ("[0.9, 0.999]", "[0.5, 0.9]", weights, {"learner.optimizer": "adam"}),
    "learner.schedule": ("constant", "cosine", weights, {"learner.schedule_steps": "50"}),
    "learner.schedule_steps": ("50", "100", weights, {"learner.schedule": "cosine"}),
    "learner.rule": ("ottt_o", "ottt_a", weights, {}),
    "learner.time_steps": ("5", "6", weights, {}),
    "learner.alpha": ("0.05", "0.5", weights, {}),
    "learner.error_delay": ("0", "2", weights, {}),
    "learner.delay_mode": ("paper", "snapshot", weights, {"learner.error_delay": "2"}),
    "learner.average": ("0", "100", predictions, {}),
    "learner.perturb": ("0", "0.01", weights, {}),
    "rehearsal.mode": ("alongside", "off", weights, {}),
    "rehearsal.ratio": ("3", "1", weights, {}),
    "rehearsal.stretch": ("5", "4", weights, {}),
    "rehearsal.max_bytes": ("1000000", "2000", weights, {}),
    "rehearsal.shift": ("0", "3", weights, {}),
    "rehearsal.zoom": ("1", "2", weights, {}),
    "rehearsal.zoom_half": ("0", "4", weights, {"rehearsal.zoom": "2"}),
    "labels.file": ("none", "{labels}", summary("updates", "live"), {}),
    "labels.delay": ("3ms", "end", summary("updates"), {}),
    "labels.shift": ("0", "5ms", predictions, {}),
    "labels.classes": ("none", "[1, 2, 3]", shapes, {}),
    "labels.reset": ("true", "false", predictions, {}),
    "labels.keep_bytes": ("1000000", "300", summary("timesteps_not_kept"), {"labels.delay": "end"}),
    "labels.unknown": ("0", "0.2", summary("unknown"), {"rehearsal.ratio": "16"}),
    "evaluation.fading": ("1", "0.5", summary("accuracy", "faded"), {}),
    "evaluation.window": ("1000", "3", summary("accuracy", "windowed"), {}),
}

ELSEWHERE = {
    "stream.threads": ("test_run_settings.py", "test_threads_are_those_of_the_settings"),
    "stream.speed": ("test_run_settings.py", "test_the_speed_is_that_of_the_settings"),
    "stream.sources": ("test_merged.py", "test_a_run_of_two_recordings_accounts_for_each"),
    "stream.plane": ("test_merged.py", "test_a_run_of_two_recordings_accounts_for_each"),
    "stream.merge_wait": ("test_merged.py", "test_the_wait_is_that_of_the_settings"),
    "stream.patience": ("test_silence.py", "test_a_live_stream_that_falls_silent_is_predicted_to_its_end"),
    "stream.control": ("test_live.py", "test_three_processes"),
    "stream.checkpoint_every": ("run/test_resume.py", "test_checkpoint_every_so_many_timesteps"),
    "stream.keep_checkpoints": ("run/test_resume.py", "test_old_checkpoints_and_stretches_that_nobody_needs_go"),
    "stream.grace": ("test_sink_writer.py", "test_a_sink_that_blocks_holds_up_nobody_and_the_end_not_for_long"),
    "labels.key_span": ("test_live.py", "test_a_key_gives_its_label_to_what_is_shown"),
    "labels.new_classes": ("test_live.py", "test_a_label_may_name_a_class_that_is_new"),
    "engine.device": ("test_devices.py", "test_a_gpu_that_is_not_there"),
    "engine.engine": ("test_fast.py", "test_what_the_fast_engine_lacks_is_said"),
    "engine.precision": ("test_precision.py", "test_what_gains_nothing_is_not_done_and_said"),
    "engine.overlap": ("test_fast.py", "test_overlap_changes_not_one_bit"),
    "engine.compiled": ("test_learner.py", "test_compiled_forward_pass_agrees"),
}
"""Keys whose effect needs more than two runs of a small file, each with the test that sees it."""


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """``{few}`` and ``{many}``: recordings, one with a gap of 4 ms, one of many packets; ``{labels}``."""
    folder = tmp_path_factory.mktemp("stream")
    few, many = labelled_events(0, 8), labelled_events(0, 8, per_step=8000)
    few = few[(few["t"] < 42_000) | (few["t"] >= 46_000)]
    for name, events in {"few": few, "many": many}.items():
        with Aedat4Writer(folder / f"{name}.aedat4", 8, 8) as writer:
            for part in np.array_split(events, 40):
                writer.write(part)
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(8)]
    (folder / "l.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    return {"{few}": f"{folder}/few.aedat4", "{many}": f"{folder}/many.aedat4", "{labels}": f"{folder}/l.csv"}


@pytest.fixture
def ran(stream: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ran]]:
    """Runs the command with settings and gives what it left."""
    from safetensors.numpy import load_file

    def run(settings: dict[str, str]) -> Ran:
        chosen = {"source": "{few}", "labels.file": "{labels}", **BASE, **settings}
        words = [w for k, v in chosen.items() for w in (f"--{k}", stream.get(v, v))]
        out, lines, model = (str(tmp_path / n) for n in ("s.json", "p.jsonl", "m.safetensors"))
        command = ["run", "--quiet", "--force", "--summary", out, "--predictions", lines, "--save", model]
        monkeypatch.setattr(sys, "argv", ["stream-ottt", *command, *words])
        with pytest.raises(SystemExit) as e:
            main()
        assert not e.value.code
        said = [json.loads(line) for line in Path(lines).read_text().splitlines()]
        return Ran(
            json.loads(Path(out).read_text()),
            [{k: v for k, v in line.items() if k != "latency_ms"} for line in said],
            load_file(model),
        )

    yield run


def test_every_key_has_its_line() -> None:
    known = set(keys(RunConfig))
    assert known == (EFFECTS.keys() | ELSEWHERE.keys()) and not EFFECTS.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("key", EFFECTS)
def test_every_key_has_an_effect(key: str, ran: Callable[..., Ran]) -> None:
    first, second, seen, settings = EFFECTS[key]
    assert seen(ran({**settings, key: first})) != seen(ran({**settings, key: second}))


@pytest.mark.parametrize("key", ELSEWHERE)
def test_the_tests_that_see_the_others_are_there(key: str) -> None:
    file, name = ELSEWHERE[key]
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    assert f"def {name}" in text and key.partition(".")[2] in text


def test_threads_are_those_of_the_settings(ran: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before, asked = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    ran({"stream.threads": "3"})
    assert asked == [3]
    monkeypatch.undo()
    torch.set_num_threads(before)


def test_the_speed_is_that_of_the_settings(ran: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    class Noting(Playback):
        def __init__(self, speed: float | None, stopped: Event) -> None:
            asked.append(speed)
            super().__init__(speed, stopped)

    monkeypatch.setattr("stream_ottt.pipeline.file_reader.Playback", Noting)
    for speed in ("max", "2x"):
        ran({"stream.speed": speed})
    assert asked == [None, 2.0]


def test_the_effects_are_no_accident(ran: Callable[..., Ran]) -> None:
    """Two runs with the same settings leave the same."""
    first, second = ran({}), ran({})
    assert predictions(first) == predictions(second) and weights(first) == weights(second)
