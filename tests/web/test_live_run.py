"""A real run behind the page, taught with clicks in Chromium."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from helpers import labelled_events
from safetensors.numpy import load_file

from stream_ottt.run.model_file import load_checkpoint
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run

SMALL = {
    "binning": {"window": "10ms", "width": 8, "height": 8},
    "network": {"layers": [4]},
    "labels": {"classes": [1, 2]},
    "stream": {"speed": 1.0},
}


class Running:
    """A run in a thread of its own, with its page.

    Attributes:
        url: of the page.
        codes: the exit code, once it has ended.
    """

    def __init__(self, request: RunRequest) -> None:
        self.run = Run(request)
        self.codes: list[int] = []
        self.url = ""

    def stop(self) -> None:
        """End it as a signal does."""
        self.run.pipeline.stop()


@contextmanager
def running(tmp_path: Path, capfd: Any, **changes: Any) -> Iterator[Running]:
    """A run over 100 s of unlabelled events, at their own pace, stopped when the block ends."""
    recording = tmp_path / "events.npy"
    events = labelled_events(0, 10_000, per_step=2)
    np.save(recording, events)
    request = RunRequest(
        source=f"{recording}?width=8&height=8",
        overrides=SMALL,
        sinks=["web:127.0.0.1:0"],
        save=tmp_path / "model.safetensors",
        force=True,
        **changes,
    )
    one = Running(request)
    thread = threading.Thread(target=lambda: one.codes.append(asyncio.run(one.run.go())))
    thread.start()
    try:
        said = ""
        while "the page is at" not in said:
            said += capfd.readouterr().err
            assert thread.is_alive(), said
        one.url = said.split("the page is at ")[1].split()[0]
        yield one
    finally:
        one.stop()
        thread.join(60)
    assert one.codes == [0]


def weights(path: Path) -> dict[str, np.ndarray]:
    """The model's weights, without the optimizer's buffers."""
    return {name: value for name, value in load_file(path).items() if name.startswith("weights/")}


def wait_for(page: Any, node: str, condition: str) -> None:
    page.wait_for_function(
        f"() => {{ const text = document.getElementById('{node}').textContent; return {condition}; }}"
    )


def save(page: Any, path: Path) -> dict[str, np.ndarray]:
    """What the model is now, saved with the page's button."""
    page.evaluate("document.getElementById('said').textContent = ''")
    page.click("[data-command=save]")
    wait_for(page, "said", "text.startsWith('saved:')")
    assert page.inner_text("#said") == f"saved: {path}"
    return weights(path)


def updates(page: Any) -> int:
    """Updates that the page shows, of all kinds."""
    return sum(int(page.inner_text(f"#updates div:nth-child({i}) dd").replace(",", "")) for i in (1, 2, 3))


def test_a_click_teaches_a_pause_pauses_and_the_model_s_file_proves_both(tmp_path, capfd, visit):
    model = tmp_path / "model.safetensors"
    with running(tmp_path, capfd) as run:
        page = visit(run.url, noisy=True)
        wait_for(page, "timesteps", "parseInt(text) > 3")
        assert page.inner_text("#state") == "no labels yet"
        before = save(page, model)

        page.click("#pause")
        wait_for(page, "said", "text === 'learning paused'")
        page.locator("#labels button").nth(0).click()
        wait_for(page, "said", "text === 'label 1'")
        page.wait_for_function("() => document.getElementById('updates').textContent.includes('refused1, 0')")
        wait_for(page, "state", "text === 'paused'")
        at = int(page.inner_text("#timesteps").replace(",", ""))
        page.wait_for_function(
            "(at) => parseInt(document.getElementById('timesteps').textContent.replace(',', '')) > at + 20", arg=at
        )
        assert updates(page) == 0
        paused = save(page, model)
        assert before.keys() == paused.keys() and len(before) == 5
        assert all(np.array_equal(before[name], paused[name]) for name in before)

        page.click("#pause")
        wait_for(page, "said", "text === 'learning goes on'")
        page.locator("#labels button").nth(1).click()
        page.wait_for_function("() => document.getElementById('updates').textContent.includes('refused2, 0')")
        page.wait_for_function("() => /live0deferred[1-9]/.test(document.getElementById('updates').textContent)")
        learned = save(page, model)
        assert not all(np.array_equal(before[name], learned[name]) for name in before)

        page.evaluate("document.querySelector('.raster').scrollIntoView()")
        page.wait_for_function("() => document.getElementById('layer').length === 1")
        page.wait_for_function("() => streamOttt.inside.steps.filter((step) => step >= 0).length > 5")
        page.wait_for_function("() => document.getElementById('weights-facts').textContent.startsWith('4')")
        run.stop()
        wait_for(page, "state", "text === 'ended: interrupted'")


def test_the_label_reaches_as_far_back_as_the_page_says(tmp_path, capfd, visit):
    with running(tmp_path, capfd) as run:
        page = visit(run.url, noisy=True)
        wait_for(page, "stream-time", "parseFloat(text) > 0.7")
        page.select_option("#span", "500000")
        page.keyboard.press("Escape")
        page.locator("#labels button").nth(0).click()
        wait_for(page, "said", "text === 'label 1'")
        page.wait_for_function("() => /deferred(49|50)/.test(document.getElementById('updates').textContent)")
        page.click("[data-command=reset]")
        wait_for(page, "said", "text === 'state at rest'")


def test_a_class_that_is_named_on_the_page_is_learned_and_a_label_corrected_and_taken_back(tmp_path, capfd, visit):
    model = tmp_path / "model.safetensors"
    with running(tmp_path, capfd) as run:
        page = visit(run.url, noisy=True)
        wait_for(page, "timesteps", "parseInt(text) > 3")
        before = save(page, model)
        page.keyboard.press("n")
        page.keyboard.type("mug <b>")
        page.keyboard.press("Enter")
        wait_for(page, "said", "text === 'new class mug <b>'")
        page.wait_for_function("() => document.querySelectorAll('#labels button').length === 3")
        page.wait_for_function("() => document.querySelectorAll('#probabilities li').length === 3")
        named = save(page, model)
        row = named["weights/readout.weight"]
        assert row.shape == (3, 4) and np.array_equal(row[:2], before["weights/readout.weight"])

        page.keyboard.press("3")
        wait_for(page, "said", "text === 'label mug <b>'")
        page.wait_for_function("() => document.getElementById('updates').textContent.includes('refused1, 0')")
        page.wait_for_function("() => /deferred[1-9]/.test(document.getElementById('updates').textContent)")
        learned = save(page, model)
        assert learned["weights/readout.bias"][2] > 0 > learned["weights/readout.bias"][:2].max()
        assert load_checkpoint(model).class_names == {3: "mug <b>"} and load_checkpoint(model).classes == [1, 2, 3]

        page.keyboard.press("c")
        wait_for(page, "said", "text === 'Which class was it? Choose one.'")
        page.keyboard.press("1")
        wait_for(page, "said", "text === 'last label corrected to 1'")
        page.wait_for_function("() => document.getElementById('updates').textContent.includes('taken back1, 0')")
        page.keyboard.press("b")
        wait_for(page, "said", "text === 'last label taken back'")
        page.wait_for_function("() => document.getElementById('updates').textContent.includes('taken back1, 1')")
        page.keyboard.press("n")
        page.keyboard.type("2")
        page.keyboard.press("Enter")
        wait_for(page, "said", "text.includes('already')")
    done = run.run.pipeline.learning.session
    assert done.evaluator.presentations.n == 0 and done.counters.labels_taken == 1


def test_a_recording_is_held_stepped_saved_where_it_stands_and_let_go_faster(tmp_path, capfd, visit):
    with running(tmp_path, capfd, checkpoints=tmp_path / "checkpoints") as run:
        page = visit(run.url, noisy=True)
        playback, learning = run.run.pipeline.reader.playback, run.run.pipeline.learning
        wait_for(page, "timesteps", "parseInt(text) > 3")
        page.click("[data-command=step]")
        wait_for(page, "said", "text === 'step'")
        while not playback.held or playback._steps:
            assert not run.codes
        at = run.run.pipeline.binner.made()
        page.click("[data-command=step]")
        wait_for(page, "timesteps", f"parseInt(text.replace(',', '')) === {at + 1}")
        page.wait_for_selector("#hold[aria-pressed=true]")
        assert page.input_value("#replay-speed") == "1"

        page.click("[data-command=checkpoint]")
        wait_for(page, "said", "text.startsWith('checkpoint: ')")
        path = Path(page.inner_text("#said").removeprefix("checkpoint: "))
        assert path.is_file() and path.parent == tmp_path / "checkpoints"
        assert learning.timesteps == at + 1

        page.select_option("#replay-speed", "5")
        page.click("#hold")
        wait_for(page, "said", "text === 'go on'")
        page.wait_for_selector("#hold[aria-pressed=false]")
        wait_for(page, "timesteps", f"parseInt(text.replace(',', '')) > {at + 50}")
        assert playback.speed == 5 and not playback.held
        playback.set_speed(7.5)  # by somebody else
        page.evaluate("document.activeElement.blur()")
        page.wait_for_function("() => document.getElementById('replay-speed').value === '7.5'")
        assert page.inner_text("#replay-speed option:checked") == "7.5×"
