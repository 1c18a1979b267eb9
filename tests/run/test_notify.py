"""What systemd is told, over a real datagram socket: ready, the beat of a learner that gets on, the end."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from resumed import request

from stream_ottt.events.packet import Ledger
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.view import RunSnapshot
from stream_ottt.run.notify import Notifier
from stream_ottt.run.run import Run
from stream_ottt.run.summary import NOTHING

pytestmark = pytest.mark.usefixtures("one_thread")

BEAT_S = 0.4


def listening(name: str, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The end of the socket at which systemd listens."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind("\0" + name[1:] if name.startswith("@") else name)
    end.settimeout(20)
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(BEAT_S * 1e6)))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    return end


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with listening(str(tmp_path / "notify"), monkeypatch) as end:
        yield end


def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(f"@stream-ottt-{os.getpid()}", monkeypatch) as end:
        Notifier().ready()
        assert "READY=1" in end.recv(4096).decode()


def until(end: socket.socket, word: str) -> str:
    while word not in (state := end.recv(4096).decode()):
        pass
    return state


def beats_within(end: socket.socket, seconds: float) -> int:
    found, deadline = 0, time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        end.settimeout(left)
        try:
            found += "WATCHDOG=1" in end.recv(4096).decode()
        except TimeoutError:
            break
    end.settimeout(20)
    return found


def test_the_beat_stops_with_the_learner(
    supervisor: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, reached, release = Session.process, threading.Event(), threading.Event()

    def stuck(self, timestep):  # type: ignore[no-untyped-def]
        if timestep.index == 30:
            reached.set()
            assert release.wait(60)
        return process(self, timestep)

    monkeypatch.setattr(Session, "process", stuck)
    endless = "synthetic:?presentations=3000&duration=100ms&pause=50ms&classes=3"
    made = Run(request(tmp_path / "run", {"stream": {"speed": "1x"}}, source=endless, sinks=[], checkpoints=None))
    thread = threading.Thread(target=lambda: asyncio.run(made.go()))
    thread.start()
    try:
        assert "READY=1" in supervisor.recv(4096).decode()
        assert reached.wait(60)
        deadline = time.monotonic() + 10
        while beats_within(supervisor, BEAT_S):  # some may be on their way until it counts as stuck
            assert time.monotonic() < deadline
        assert beats_within(supervisor, BEAT_S) == 0
        release.set()
        assert "timesteps, learning on" in until(supervisor, "WATCHDOG=1")
        until(supervisor, "WATCHDOG=1")
    finally:
        release.set()
        made.pipeline.stop()
        thread.join(60)
    assert "STOPPING=1" in until(supervisor, "STOPPING=1")


def test_without_a_supervisor_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    notifier = Notifier()
    assert notifier.every_s is None
    notifier.ready()


@pytest.mark.parametrize("said", ["0", "", "soon"])
def test_a_watchdog_without_a_time_waits_for_no_beat(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(f"@stream-ottt-{os.getpid()}", monkeypatch) as end:
        monkeypatch.setenv("WATCHDOG_USEC", said)
        notifier = Notifier()
        assert notifier.every_s == 5.0
        notifier.look(RunSnapshot(NOTHING, Ledger()))
        assert "WATCHDOG" not in end.recv(4096).decode()


def test_a_supervisor_that_has_gone_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notifier().ready()
    Notifier().stopping()


def test_the_watchdog_of_another_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().every_s == 5.0
