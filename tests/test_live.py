"""Whole live runs: publisher, classifier and listener as processes; late labels, keys and commands."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from stream_ottt.cli.control import control
from stream_ottt.cli.listen_text import ListenText
from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.events.timestep import StepResult
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.pipeline.view import RunView
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run

MAIN = [sys.executable, "-c", "from stream_ottt.cli import main; main()"]
LIMIT = 60.0
SMALL = {"binning": {"window": "20ms", "width": 8, "height": 8}, "network": {"layers": [4]}}


@contextmanager
def started(*words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, which does not outlive the block."""
    process = subprocess.Popen([*MAIN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(endpoint: str, command: object) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(endpoint)
        client.send(json.dumps(command).encode())
        assert client.poll(LIMIT * 1000), "no answer"
        return json.loads(client.recv())


def test_three_processes(tmp_path: Path) -> None:
    """publish → run → listen, with labels on the way and commands meanwhile."""
    sink = free_port()
    play = ["publish", "synthetic:?presentations=4&duration=400ms&pause=100ms", "--name", "cam", "--speed", "0.5x"]
    settings = [
        "--binning.width",
        "16",
        "--binning.height",
        "16",
        "--network.layers",
        "[8]",
        "--stream.queue_span",
        "1min",
    ]
    outputs = ["--save", str(tmp_path / "m.safetensors"), "--summary", str(tmp_path / "s.json"), "--quiet"]
    with (
        started(*play, "--to", "zmq+pub://127.0.0.1:0") as publisher,
        started("listen", f"zmq+sub://127.0.0.1:{sink}?topic=cam&reconnect_max=100ms", "--json") as listener,
    ):
        assert publisher.stdout is not None
        endpoint = publisher.stdout.readline().split()[-1]
        source = endpoint.replace("tcp", "zmq+sub") + "?topic=cam"
        where = ["--sink", f"zmq+pub://127.0.0.1:{sink}?wait=1", "--control", "zmq+rep://127.0.0.1:0"]
        with started("run", "--source", source, *where, *settings, *outputs) as run:
            assert run.stderr is not None
            commands = run.stderr.readline().split()[-1]
            while (ask(commands, {"v": 1, "command": "status"})["status"]["timesteps"]) < 5:
                pass
            assert ask(commands, {"v": 1, "command": "pause"}) == {"v": 1, "ok": True, "learning": "paused"}
            status = ask(commands, {"v": 1, "command": "status"})["status"]
            assert status["learning"] == "paused"
            assert status["exit"] == {"code": None, "reason": "running", "message": None}
            assert ask(commands, {"v": 1, "command": "resume"})["learning"] != "paused"
            saved = ask(commands, {"v": 1, "command": "save"})
            assert saved == {"v": 1, "ok": True, "path": str(tmp_path / "m.safetensors")}
            assert (tmp_path / "m.safetensors").stat().st_size > 0
            assert ask(commands, {"v": 1, "command": "reset"})["ok"]
            assert "did you mean 'pause'" in ask(commands, {"v": 1, "command": "pose"})["error"]
            assert "v = " in ask(commands, {"command": "pause"})["error"]
            assert ask(commands, [1])["ok"] is False
            heard, _ = listener.communicate(timeout=LIMIT)
            published, _ = publisher.communicate(timeout=LIMIT)
            _, complaints = run.communicate(timeout=LIMIT)
            assert (publisher.returncode, run.returncode, listener.returncode) == (0, 0, 0), complaints
    summary = json.loads((tmp_path / "s.json").read_text())
    events, transport = summary["events"], summary["transport"]
    assert published.splitlines()[-1].startswith(f"{events['read']:,} events in {transport['messages'] - 1:,} messages")
    assert events["read"] == events["binned"]
    assert (transport["lost_messages"], transport["malformed_messages"], transport["label_messages"]) == (0, 0, 4)
    assert summary["labels"]["taken"] == summary["labels"]["intervals_met"] == 4
    assert summary["updates"]["deferred"] > 0
    assert summary["presentations"] == 4
    predictions = [json.loads(line) for line in heard.splitlines()]
    assert [p["seq"] for p in predictions] == list(range(summary["timesteps"] + 1))
    assert predictions[-1]["eos"]
    assert {p["topic"] for p in predictions} == {"predictions/cam"}
    assert all(a["t1"] <= b["t0"] for a, b in pairwise(predictions[:-1]))
    # Labels that came late are told once each, and the score is the run's own.
    labels = [label for p in predictions for label in p["labels"]]
    assert len(labels) == 4
    assert predictions[-1]["accuracy"] == pytest.approx(summary["accuracy"]["presentations"])
    assert predictions[-1]["presentations"] == 4
    text = ListenText()
    lines = [line for p in predictions for line in text.of(p["topic"], p).splitlines()]
    assert "not learned" not in "\n".join(lines)
    assert lines[0].endswith(" ms") and "  no label yet  " in lines[0]
    for label in labels:
        inside = [p for p in predictions[:-1] if label["t0"] <= (p["t0"] + p["t1"]) / 2 < label["t1"]]
        right = sum(p["class"] == label["class"] for p in inside)
        name = label["name"] or f"class {label['class']}"
        assert any(x.endswith(f"label {name}  predicted in {right} of {len(inside)} timesteps") for x in lines)
    score = f"accuracy {summary['accuracy']['presentations']:.3f} of 4"
    assert any(score in line and "end of the stream" in line for line in lines)


# --- in one process ------------------------------------------------------------------------------------------------


def some_events(t0: int, n: int = 200, span: int = 100_000) -> EventArray:
    i = np.arange(n)
    return make_events(i % 16, i // 16 % 16, t0 + i * span // n, i % 2)


def live(
    messages: list[Any], tmp_path: Path, *, sink: Keys | None = None, learn: bool = True, **settings: Any
) -> tuple[int, dict[str, Any]]:
    """Exit code and summary of a run on what is sent over PUSH and PULL; a number waits for the key at that step."""

    async def go() -> int:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True))
        request = RunRequest(
            sender.endpoint.replace("tcp", "zmq+pull"),
            overrides={**SMALL, "stream": {"overflow": "block"}, **settings},
            sinks=[],
            summary=tmp_path / "s.json",
            learn=learn,
        )
        run = Run(request)
        if sink is not None:
            run.sinks.append(sink)
        running = asyncio.create_task(run.go())
        try:
            for message in messages:
                if isinstance(message, int):
                    assert sink is not None
                    assert await asyncio.to_thread(sink.pressed[message].wait, LIMIT)
                else:
                    await sender.send(message, LIMIT)
            return await asyncio.wait_for(running, LIMIT)
        finally:
            running.cancel()
            await sender.close()

    code = asyncio.run(go())
    return code, json.loads((tmp_path / "s.json").read_text())


def message(seq: int, t0: int) -> list[Any]:
    return feed.pack_events("cam", seq, some_events(t0), 16, 16)


def label(t0: int, t1: int, number: int) -> list[Any]:
    return feed.pack_label("cam", LabelInterval(t0, t1, number))


def last(seq: int) -> list[Any]:
    return feed.pack_events("cam", seq, some_events(0, 0), 16, 16, eos=True)


def test_labels_that_come_late_are_scored_and_learned(tmp_path: Path) -> None:
    sent = [message(k, k * 100_000) for k in range(6)]
    sent += [label(300_000, 400_000, 2), label(0, 100_000, 1), last(6)]
    code, summary = live(sent, tmp_path)
    assert code == 0
    assert summary["labels"]["taken"] == 2
    assert summary["presentations"] == 2
    assert summary["updates"]["deferred"] == 10  # five timesteps of 20 ms each
    assert summary["learning"] == "on"


@pytest.mark.parametrize("delay", [0, "end"])
@pytest.mark.parametrize("learn", [True, False])
def test_a_label_is_scored_once_though_its_last_window_is_still_open(
    tmp_path: Path, learn: bool, delay: int | str
) -> None:
    """A label comes right after its last event, whose window no later event has closed yet."""
    sent: list[list[Any]] = []
    for k in range(4):
        sent += [message(k, k * 100_000), label(k * 100_000, (k + 1) * 100_000, k)]
    code, summary = live([*sent, last(4)], tmp_path, learn=learn, labels={"delay": delay})
    assert code == 0
    assert summary["labels"]["taken"] == 4
    assert summary["presentations"] == 4
    assert sum(summary["updates"].values()) == (20 if learn else 0)  # each of the 20 timesteps once


def test_labels_that_cannot_be_used_are_counted_and_end_nothing(tmp_path: Path) -> None:
    sent = [message(0, 0), label(20_000, 50_000, 1), label(40_000, 90_000, 2), label(60_000, 80_000, 7), last(1)]
    code, summary = live(sent, tmp_path, labels={"classes": [1, 2]})
    assert code == 0
    assert (summary["labels"]["taken"], summary["labels"]["refused"]) == (1, 2)
    assert "overlap" in summary["labels"]["first_refusal"]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_label_may_name_a_class_that_is_new(tmp_path: Path, wanted: bool) -> None:
    mug = feed.pack_label("cam", LabelInterval(100_000, 200_000, -1, "mug"))
    sent = [message(k, k * 100_000) for k in range(4)] + [label(0, 100_000, 2), mug, label(200_000, 300_000, 9)]
    code, summary = live([*sent, last(4)], tmp_path, labels={"classes": [1, 2], "new_classes": wanted})
    assert code == 0
    assert (summary["labels"]["taken"], summary["labels"]["refused"]) == ((3, 0) if wanted else (1, 2))
    assert summary["classes"] == ({"3": "mug"} if wanted else {})
    assert [row["label"] for row in summary["accuracy"]["per_class"] if row["support"]] == (
        [2, 3, 9] if wanted else [2]
    )
    assert summary["updates"]["deferred"] == (15 if wanted else 5)


def test_a_label_may_tell_the_name_of_its_class(tmp_path: Path) -> None:
    told = [(1, "bell"), (2, "mug"), (1, "cup"), (3, "mug")]  # then another name of a class, and a name that is taken
    labels = [
        feed.pack_label("cam", LabelInterval(k * 100_000, (k + 1) * 100_000, number, name))
        for k, (number, name) in enumerate(told)
    ]
    code, summary = live([*(message(k, k * 100_000) for k in range(4)), *labels, last(4)], tmp_path)
    assert code == 0 and summary["labels"]["taken"] == 4
    assert summary["classes"] == {"1": "bell", "2": "mug"}


def test_without_any_label_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, summary = live([message(0, 0), last(1)], tmp_path)
    assert code == 0
    assert summary["learning"] == "no labels"
    assert "no label" in capsys.readouterr().err


def test_losses_and_damage_are_in_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = [message(0, 0), [b"events/cam", b"{}", b""], message(3, 300_000), last(4)]
    code, summary = live(sent, tmp_path)
    assert code == 3  # something could not be read
    transport = summary["transport"]
    assert (transport["lost_messages"], transport["malformed_messages"]) == (2, 1)
    assert transport["gaps"][0]["t1"] == 300_000
    assert summary["events"]["read"] == summary["events"]["binned"] == 400
    said = capsys.readouterr().err
    assert "1 messages could not be read" in said
    assert "2 messages never came" in said


def test_one_event_thirty_seconds_ahead_costs_itself(tmp_path: Path) -> None:
    far = some_events(100_000)
    far["t"][100] += 30_000_000
    sent = [message(0, 0), feed.pack_events("cam", 1, far, 16, 16), message(2, 200_000), last(3)]
    code, summary = live(sent, tmp_path)
    assert code == 3  # one was left out
    events = summary["events"]
    assert (events["read"], events["binned"], events["malformed"], events["late"]) == (600, 599, 1, 0)
    assert summary["timesteps"] == 15 and summary["clock"]["epochs"] == 1


def test_a_sender_that_begins_anew_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock began at 0 again: its events come after those before, and so do its labels."""
    monkeypatch.setattr("stream_ottt.sources.senders.AWAY_S", 0.0)

    def of(sender: str, seq: int, t0: int) -> Any:
        return feed.pack_events("cam", seq, some_events(t0), 16, 16, sender=sender)

    sent = [of("before", 0, 3_000_000), of("before", 1, 3_100_000), label(3_000_000, 3_190_000, 1)]
    sent += [of("after", 0, 0), of("after", 1, 100_000), label(0, 200_000, 2)]
    end = feed.pack_events("cam", 2, some_events(0, 0), 16, 16, t=200_000, eos=True, sender="after")
    code, summary = live([*sent, end], tmp_path, labels={"classes": [1, 2]})
    assert code == 0
    transport, labels = summary["transport"], summary["labels"]
    assert (transport["interruptions"], transport["lost_messages"], transport["refused_messages"]) == (1, 0, 0)
    assert summary["events"]["read"] == summary["events"]["binned"] == 800
    assert (labels["taken"], labels["intervals_met"]) == (2, 2)
    assert summary["presentations"] == 2


def test_a_model_that_learned_can_be_frozen(tmp_path: Path) -> None:
    """Paused from the first timestep on, nothing is learned, whatever labels come."""
    sent = [message(0, 0), 0, message(1, 100_000), message(2, 200_000)]
    sent += [label(0, 100_000, 1), label(150_000, 250_000, 2), last(3)]
    code, summary = live(sent, tmp_path, sink=Keys({0: "p"}))
    assert code == 0
    assert summary["learning"] == "paused"
    assert summary["labels"]["taken"] == 2
    assert summary["presentations"] == 2
    assert sum(summary["updates"].values()) == 0


def test_a_key_gives_its_label_to_what_is_shown(tmp_path: Path) -> None:
    """Again and again: each reaches back to where the one before ended, and no further than the span.

    Nothing more is sent before a key was pressed, so that what is shown then is known, but for a window that is still
    open: that one is shown once the stream has been silent for a while.
    """
    sent: list[Any] = [message(k, k * 100_000) for k in range(10)] + [last(10)]
    sent[7:7], sent[2:2], sent[1:1] = [33], [7, 8], [3]
    keys = Keys({3: 1, 7: 12, 8: 2, 33: 3})
    code, summary = live(sent, tmp_path, sink=keys, labels={"key_span": "100ms"}, stream={"overflow": "block"})
    assert code == 0
    assert (summary["labels"]["taken"], summary["labels"]["refused"]) == (3, 1)
    assert summary["presentations"] == 3
    assert 4 + 4 + 5 <= summary["updates"]["deferred"] <= 5 + 5 + 5


class Keys(Sink):
    """A person at a window: after the n-th result presses a key."""

    name = "keys"
    gives_labels = True

    def __init__(self, keys: dict[int, int | str]) -> None:
        super().__init__(SinkConfig())
        self.keys = keys
        self.pressed = {step: threading.Event() for step in keys}
        self.controls: Any = None

    async def open(self, run: RunView) -> None:
        self.controls = run.controls

    async def consume(self, result: StepResult) -> None:
        key = self.keys.get(result.prediction.step)
        if key == "p":
            self.controls.toggle()
        elif key is not None:
            self.controls.label_now(key)
        if key is not None:
            self.pressed[result.prediction.step].set()


# --- commands ------------------------------------------------------------------------------------------------------


def test_the_control_command_says_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="zmq\\+rep"):
        control("zmq+pub://127.0.0.1:1", "pause")
    request = RunRequest("synthetic:", sinks=[], overrides={"stream": {"control": "zmq+rep://0.0.0.0:1"}})
    with pytest.raises(UsageError, match="keys new"):
        asyncio.run(Run(request).go())


def test_listen_prints_what_passes_of_any_source(tmp_path: Path) -> None:
    with started("listen", "synthetic:?presentations=1&duration=200ms", "--count", "1") as listener:
        out, _ = listener.communicate(timeout=LIMIT)
    assert listener.returncode == 0
    assert "128×128" in out
