"""Keys in a real terminal: what they do to a real run, and the terminal as it was before, however the run ends."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from helpers import labelled_events
from on_terminal import on_terminal

from stream_ottt.errors import UsageError
from stream_ottt.pipeline.view import Controls
from stream_ottt.sinks.keys import KEYS, Keys
from stream_ottt.sinks.opening import open_sink

SMALL = ("--binning.width", 8, "--binning.height", 8, "--binning.window", "10ms", "--network.layers", "[4]")
RUN = """
import asyncio, importlib.util, os, sys
from stream_ottt.run import stopping
from stream_ottt.sinks.opening import open_sink
spec = importlib.util.spec_from_file_location("factory", sys.argv[1])
factory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(factory)
stopping.SAME_S = 0.0

async def main(signals):
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    asked = lambda: loop.call_soon_threadsafe(ended.set)
    signals.act = asked if sys.argv[2] == "first signal" else lambda: os.write(2, b"asked to end")
    sink = open_sink("terminal")
    await sink.open(factory.make_run())
    await sink.consume(factory.make_result(7))
    if sys.argv[2] == "exception":
        raise RuntimeError("a fault")
    await ended.wait()
    await sink.close(None)

with stopping.Stopping() as signals:
    asyncio.run(main(signals))
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """100 s of unlabelled events."""
    path = tmp_path_factory.mktemp("events") / "events.npy"
    np.save(path, labelled_events(0, 10_000, per_step=2))
    return f"{path}?width=8&height=8"


def test_a_real_run_is_taught_by_keys_and_ends_in_order(recording: str, tmp_path: Path) -> None:
    model, summary = tmp_path / "model.safetensors", tmp_path / "summary.json"
    words = (
        "-m",
        "stream_ottt",
        "run",
        "--source",
        recording,
        "--speed",
        "1x",
        *SMALL,
        "--labels.classes",
        "[1, 2, 12]",
    )
    words += ("--save", model, "--summary", summary, "--checkpoint", tmp_path / "checkpoints")
    with on_terminal(*words, columns=100, rows=30) as run:
        run.until("loading")
        run.until("l label by name  n new class  c correct  b take back  p pause  s save  k checkpoint  q quit")
        run.until("─ timestep ")
        run.until("○ nothing learned: no labels")
        run.until("label  1 1  2 2")
        run.press("l12\r")
        run.until("label 12: ")
        assert not run.shows_cursor
        run.press("1")
        run.until("label 1: ")
        run.until("● learning")
        run.press("c")
        run.until("which class was it?")
        run.press("2")
        run.until("corrected to 2, ")
        run.press("b")
        run.until("taken back: ")
        run.press("nlampx\x7f")
        run.until("name of the new class: lamp▏")
        run.press("\r")
        run.until("new class lamp: label 13")
        run.press("nnope\x1b")
        run.press("p")
        run.until("learning: paused")
        run.until("p resume")
        run.until("○ paused")
        run.press("\x1b[Ap")  # an arrow before it means nothing
        run.until("learning: on")
        run.press("s")
        run.until("saved: ")
        assert model.exists()
        run.press("k")
        run.until("checkpoint: ")
        run.press("q")
        assert run.end() == 0, run.screen
        assert run.settings() == run.before
        assert run.shows_cursor
        assert "ms p50" in run.screen and "q quit" not in run.screen
    found = json.loads(summary.read_text())
    assert found["exit"] == {"code": 0, "reason": "interrupted", "message": None}
    assert found["labels"]["taken"] == 2 and found["labels"]["corrected"] == 1
    assert found["labels"]["retracted"] == 1
    assert found["classes"] == {"13": "lamp"}
    assert found["events"]["in_hand"] == 0


@pytest.mark.parametrize("how", ["first signal", "second signal", "exception"])
def test_the_terminal_is_given_back_however_the_program_ends(how: str) -> None:
    factory = Path(__file__).with_name("conftest.py")
    with on_terminal("-c", RUN, factory, how) as run:
        run.until(lambda: b"timestep 7" in run.text)
        if how != "exception":
            assert run.settings() != run.before
            assert not run.shows_cursor
            run.child.send_signal(signal.SIGTERM)
        if how == "second signal":
            run.until(lambda: b"asked to end" in run.text)
            run.child.send_signal(signal.SIGTERM)
        code = run.end()
        assert code == {"first signal": 0, "second signal": -signal.SIGTERM, "exception": 1}[how], run.screen
        assert run.settings() == run.before
        assert run.shows_cursor
        assert (b"a fault" in run.text) == (how == "exception")


def press_all(keys: Keys, typed: str) -> tuple[str, bool]:
    for character in typed:
        keys.press(character)
    return keys.said


def test_keys_call_their_controls_and_say_what_came_of_it(view: Callable) -> None:
    run, asked = view(classes=(0, 1, 2, 12)), []

    def act(name: str, gives: object) -> Callable[..., Future[Any]]:
        def control(*words: object) -> Future[Any]:
            asked.append((name, *words))
            future: Future[Any] = Future()
            if isinstance(gives, Exception):
                future.set_exception(gives)
            else:
                future.set_result(gives)
            return future

        return control

    run.controls = Controls(
        label_now=act("label", 50),
        correct=act("correct", (1_000_000, 2_500_000)),
        retract=act("retract", (0, 500_000)),
        add_class=act("add_class", UsageError("there is a class 'ring' already")),
        toggle=act("toggle", "paused"),
        save=act("save", "a.safetensors"),
        checkpoint=act("checkpoint", "kept/3"),
        stop=act("stop", None),
    )
    changes: list[None] = []
    keys = Keys(run, lambda: changes.append(None))
    assert keys.digits() == [("0", "circle"), ("1", "triangle"), ("2", "square")]
    for typed, said, failed in (
        ("2", "label square: 50 timesteps had waited for it", False),
        ("c1", "corrected to triangle, 1.00 to 2.50 s", False),
        ("b", "taken back: 0.00 to 0.50 s", False),
        ("p", "learning: paused", False),
        ("s", "saved: a.safetensors", False),
        ("k", "checkpoint: kept/3", False),
        ("n ring \r", "there is a class 'ring' already", True),
        ("q", "ending …", False),
    ):
        before = len(changes)
        assert press_all(keys, typed) == (said, failed)
        assert len(changes) > before
        assert keys.prompt is None
    assert asked == [
        ("label", 2),
        ("correct", 1, None),
        ("retract", None),
        ("toggle",),
        ("save",),
        ("checkpoint",),
        ("add_class", "ring"),
        ("stop",),
    ]
    # What was begun can be left, and other keys do nothing.
    press_all(keys, "nsome1\x1bc\x1bcxn\n\x1b?")
    assert len(asked) == 8 and keys.prompt is None
    assert press_all(keys, "cn2")[0] and keys.prompt == "name of the new class: 2▏ (Enter adds it, Esc leaves)"


def test_classes_beyond_the_digits_are_named_or_numbered(view: Callable) -> None:
    names = {1: "cup", 10: "mug", 11: "mule", 12: "2nd mug", 13: "13b"}
    run, asked = view(classes=(1, 2, 10, 11, 12, 13, 130), class_names=names), []

    def act(*words: Any) -> Future[Any]:
        asked.append(words)
        done: Future[Any] = Future()
        done.set_result((0, 1) if len(words) == 2 else 5)
        return done

    run.controls = Controls(label_now=act, correct=act)
    keys = Keys(run)
    assert keys.digits() == [("1", "cup"), ("2", "2")]
    assert keys.others() == [("l", "label by name"), ("c", "correct")]
    for typed, prompt in (
        ("l", "label: ▏ (name or number, Enter; Esc leaves)"),
        ("mu", "label: mu▏ = mug, mule (name or number, Enter; Esc leaves)"),
        ("\r", "label: mu▏ = mug, mule (name or number, Enter; Esc leaves)"),  # which of both is not said
        ("x\r", "label: mux▏ = no such class (name or number, Enter; Esc leaves)"),
        ("\x7fL", "label: muL▏ = mule (name or number, Enter; Esc leaves)"),
    ):
        press_all(keys, typed)
        assert keys.prompt == prompt
    assert press_all(keys, "\r") == ("label mule: 5 timesteps had waited for it", False)
    for typed in ("lmug\r", "l13\r", "l130\r", "l2nd\n", "l 2 \r", "lcu\x1b", "l\r", "1"):
        press_all(keys, typed)
        assert keys.prompt is None
    press_all(keys, "c")
    assert keys.prompt == "which class was it? (a digit, or l and its name; Esc leaves)"
    press_all(keys, "lmule")
    assert keys.prompt == "which class was it: mule▏ = mule (name or number, Enter; Esc leaves)"
    assert press_all(keys, "\r")[0].startswith("corrected to mule")
    press_all(keys, "cl\x1b1")  # what was left is no correction any more
    assert asked == [(11,), (10,), (13,), (130,), (12,), (2,), (1,), (11, None), (1,)]
    run.set(classes=(0, 9))
    assert keys.others() == [("c", "correct")]  # each has its digit


def test_a_key_that_this_run_does_not_have_says_why(view: Callable) -> None:
    run = view(classes=(0, 1))
    keys = Keys(run)
    assert keys.digits() == keys.others() == []
    for key in KEYS:
        assert press_all(keys, key.key) == (f"{key.key} ({key.does}): {key.missing}", True)
    assert press_all(keys, "1") == ("1: this run takes no labels while it runs", True)


def test_without_a_terminal_no_label_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert not any(open_sink(f"terminal:?mode={mode}").gives_labels for mode in ("auto", "live", "plain", "quiet"))


def test_it_says_for_what_it_waits_while_nothing_comes() -> None:
    source = "zmq+pull://127.0.0.1:9?bind=false"
    with on_terminal("-m", "stream_ottt", "run", "--source", source, *SMALL) as run:
        run.until("loading")
        run.until(lambda: re.search(r"waiting for the first events … [1-9]\d* s", run.screen) is not None)
        assert "q quit" in run.screen
        run.press("q")
        assert run.end() == 0, run.screen
        assert run.settings() == run.before
