"""Runs and learners as a notebook uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import small_learner
from recorded import record, write_stream

import stream_ottt
from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.notebook.learn import Keeper
from stream_ottt.report.recorded import read_run
from stream_ottt.run.config import merge

SETTINGS = {
    "binning": {"window": "1ms", "width": 8, "height": 8},
    "network": {"layers": [4]},
    "labels": {"delay": "3ms"},
    "rehearsal": {"stretch": 5},
}


@pytest.fixture
def axes() -> Iterator[None]:
    """Figures of pyplot that no window shows, closed afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_a_run_with_await_is_the_run_of_the_command(tmp_path: Path) -> None:
    file, labels = write_stream(tmp_path)
    record(tmp_path / "kept", (file, labels))
    kept = read_run(tmp_path / "kept")
    found = asyncio.run(stream_ottt.learn(file, labels=labels, settings=SETTINGS))
    assert found.name == "stream.aedat4" and found.predictions is not None and kept.predictions is not None
    np.testing.assert_array_equal(found.predictions.label, kept.predictions.label)
    np.testing.assert_array_equal(found.predictions.truth, kept.predictions.truth)
    np.testing.assert_array_equal(found.predictions.scored, kept.predictions.scored)
    assert found.summary["accuracy"] == kept.summary["accuracy"] and found.summary["exit"]["code"] == 0
    assert [p["accuracy"] for p in found.points] == [p["accuracy"] for p in kept.points]
    assert f"{found.summary['accuracy']['steps']:.5g}" in found._repr_html_()


def test_two_runs_at_once_in_one_loop(tmp_path: Path) -> None:
    file, labels = write_stream(tmp_path, presentations=2)

    async def both() -> list[stream_ottt.RecordedRun]:
        run = stream_ottt.learn(file, labels=labels, settings=SETTINGS)
        again = stream_ottt.learn(file, labels=labels, settings=SETTINGS, learning=False)
        return await asyncio.gather(run, again)

    one, two = asyncio.run(both())
    assert one.summary["updates"]["live"] > 0 and two.summary["updates"]["live"] == 0
    with pytest.raises(UsageError, match="unknown key"):
        asyncio.run(stream_ottt.learn(file, settings={"learner": {"lrr": 1}}))


def test_a_run_that_is_cancelled_ends_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "m.safetensors"

    async def go() -> None:
        began, loop = asyncio.Event(), asyncio.get_running_loop()

        class Telling(Keeper):
            async def consume(self, result: StepResult) -> None:
                await super().consume(result)
                loop.call_soon_threadsafe(began.set)

        monkeypatch.setattr("stream_ottt.notebook.learn.Keeper", Telling)
        slow = merge(SETTINGS, {"stream": {"speed": 1.0}, "labels": {"delay": "end"}})
        source = "synthetic:?presentations=100&classes=2"
        run = asyncio.create_task(stream_ottt.learn(source, settings=slow, save=model))
        await began.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(asyncio.wait_for(go(), 60))
    assert stream_ottt.load_model(model).classes == [0, 1]  # what was asked for was written


def test_the_figures(axes: None, tmp_path: Path) -> None:
    record(tmp_path / "kept", write_stream(tmp_path))
    run = read_run(tmp_path / "kept")
    axis = stream_ottt.plot.prequential(tmp_path / "kept")
    (line,) = axis.get_lines()
    assert run.predictions is not None
    t, accuracy = run.predictions.prequential(run.window)
    np.testing.assert_allclose(line.get_xdata(), t)
    np.testing.assert_allclose(line.get_ydata(), accuracy)
    assert len(stream_ottt.plot.prequential(run, run).get_legend().get_texts()) == 2
    with pytest.raises(InputError):
        stream_ottt.plot.prequential(tmp_path)

    packet = EventPacket(make_events([0, 0, 2, 9], [1, 1, 0, 0], [0, 5, 1500, 1600], [1, 1, 0, 1]), width=3, height=2)
    axis = stream_ottt.plot.events(packet)
    (image,) = axis.get_images()
    np.testing.assert_array_equal(image.get_array(), [[0, 0, -1], [2, 0, 0]])
    assert axis.get_title() == "3 events, 1.5 ms"
    stream_ottt.plot.events(EventPacket(make_events([], [], [], []), width=3, height=2))


def frames(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.poisson(0.5, (2, 8, 8)).astype(np.uint8) for _ in range(n)]


def test_predict_one_and_learn_one_are_step_and_feedback() -> None:
    short, long = small_learner(), small_learner()
    for i, frame in enumerate(frames(20)):
        label = 1 + i // 5 % 2
        said = long.step(Timestep(frame.astype(np.float32), i, i + 1, i, 0)).label
        assert long.feedback(i, label)
        if i % 3:
            assert short.predict_one(frame) == said
        short.learn_one(frame.copy(), label)
    assert short.counts == long.counts and short.counts.learned == 20
    for key, value in long.network.parameters.items():
        np.testing.assert_array_equal(short.network.parameters[key], value, err_msg=key)


def test_learn_one_takes_no_step_for_another() -> None:
    learner = small_learner()
    a, b, c = frames(3)
    learner.predict_one(a)
    learner.step(Timestep(b.astype(np.float32), 1, 2, 1, 0))
    learner.learn_one(a, 1)  # it was seen before b: now it is seen again
    assert learner.counts.learned == 1 and learner.learned_from == 2
    learner.learn_one(a, 1)  # the same once more is a timestep of its own
    assert learner.learned_from == 3
    buffer = c.copy()
    learner.predict_one(buffer)
    buffer[:] = b
    learner.learn_one(buffer, 2)
    assert learner.learned_from == 5
    with pytest.raises(ValueError, match="label 7"):
        learner.learn_one(a, 7)


def test_a_network_as_html() -> None:
    html = small_learner().network._repr_html_()
    assert "<td>conv1</td><td>SpikingConv</td>" in html and "2 planes of 8 × 8 pixels" in html
    assert "<td>ReadOut</td><td>weight 2×256, bias 2</td><td>514</td>" in html
