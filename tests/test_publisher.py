"""Playing a source onto a socket: which messages, in which order with the labels, at which pace, to which end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import SIZE, ListSource
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.filters.chain import open_filters
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.live.publisher import MESSAGE_EVENTS, Counts, Output, play
from stream_ottt.pipeline.pace import parse_speed
from stream_ottt.pipeline.source import Source
from stream_ottt.sinks.writers.es import EventStreamWriter
from stream_ottt.sources.opening import open_source

MAIN = [sys.executable, "-c", "from stream_ottt.cli import main; main()"]


class Recorder(Output):
    """Keeps what is sent, in order, and when."""

    endpoint = "nowhere"

    def __init__(self) -> None:
        self.sent: list[EventPacket | LabelInterval] = []
        self.at: list[float] = []

    async def wait_for_readers(self, count: int, seconds: float) -> None: ...

    async def events(self, packet: EventPacket) -> None:
        self.sent.append(packet)
        self.at.append(time.perf_counter())

    async def label(self, interval: LabelInterval) -> None:
        self.sent.append(interval)

    async def end(self) -> None: ...


def played(source: Source, **options: object) -> tuple[Recorder, Counts]:
    output, counts = Recorder(), Counts()
    asyncio.run(play(source, output, counts, **options))
    return output, counts


def at_times(t: list[int]) -> np.ndarray:
    n = len(t)
    return make_events(np.arange(n) % SIZE, np.zeros(n), t, np.ones(n))


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60).map(lambda steps: np.cumsum(steps).tolist()),
    st.lists(st.integers(0, 600), min_size=2, max_size=8, unique=True).map(sorted),
    st.sampled_from([0, 7, "end"]),
    st.integers(1, 60),
)
def test_a_label_comes_after_the_last_event_before_its_time(
    t: list[int], edges: list[int], delay: int | str, cut: int
) -> None:
    timeline = LabelTimeline(
        [LabelInterval(a, b, a) for a, b in zip(edges[::2], edges[1::2], strict=False)], delay=delay
    )
    output, counts = played(ListSource(at_times(t), cut=cut), labels=timeline)
    seen: list[int] = []
    sent: list[LabelInterval] = []
    for one in output.sent:
        if isinstance(one, LabelInterval):
            sent.append(one)
            known = timeline.known_at(one)
            assert [x for x in seen if x < known] == [x for x in t if x < known]
            assert len(seen) == len(t) or all(x < known for x in seen)
        else:
            seen += one.events["t"].tolist()
    assert seen == t
    assert sent == [i for i in timeline if timeline.known_at(i) <= t[-1] or i.t_start <= t[-1]]
    assert (counts.events, counts.labels) == (len(t), len(sent))


def test_messages_have_a_largest_size() -> None:
    n = 3 * MESSAGE_EVENTS + 5
    output, counts = played(ListSource(at_times(list(range(n))), cut=n))
    assert [len(p) for p in output.sent] == [MESSAGE_EVENTS] * 3 + [5]
    assert counts.messages == 4


def test_events_that_cannot_be_are_not_sent_but_counted() -> None:
    events = make_events([1, -1, SIZE, 2], [0, 0, 0, 0], [1, 2, 3, 4], [1, 1, 1, 1])
    output, counts = played(ListSource(events))
    assert [p.events["t"].tolist() for p in output.sent] == [[1, 4]]
    assert counts.malformed == 2


def test_what_was_good_before_the_damage_is_sent_with_its_labels() -> None:
    output, counts = Recorder(), Counts()
    source = ListSource(at_times([1, 2, 3]), error=InputError("cut short"))
    with pytest.raises(InputError):
        asyncio.run(play(source, output, counts, labels=LabelTimeline([LabelInterval(0, 9, 4)], delay="end")))
    assert (counts.events, counts.labels) == (3, 1)
    assert output.sent[-1] == LabelInterval(0, 9, 4)


def test_it_keeps_the_streams_pace() -> None:
    output, _ = played(ListSource(at_times(list(range(0, 200_000, 1000))), cut=1000), speed=2.0)
    times = [int(p.events["t"][-1]) for p in output.sent]
    due = [(t - times[0]) / 1e6 / 2 for t in times]
    late = np.array([at - output.at[0] for at in output.at]) - due
    assert late.min() > -0.01  # never early
    assert len(times) >= 30  # and not in one piece


@pytest.mark.parametrize("text", ["0", "-1x", "fast", "inf", "nan", "x"])
def test_no_speed(text: str) -> None:
    with pytest.raises(UsageError):
        parse_speed(text)


def test_speeds() -> None:
    assert [parse_speed(s) for s in ("max", "1x", "2.5x", "0.5")] == [None, 1.0, 2.5, 0.5]


def test_ctrl_c_ends_a_publisher_that_waits() -> None:
    command = [*MAIN, "publish", "synthetic:", "--to", "zmq+pub://127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("publishing synthetic on tcp://127.0.0.1:")
            assert process.stdout.readline() == "waiting for 1 reader\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--to", "zmq+pub://*:5555"], "--insecure"),
        (["--to", "tcp://0.0.0.0:5555"], "--insecure"),
        (["--to", "file.aedat4"], "--to file.aedat4"),
        (["--to", "zmq+pub://127.0.0.1:0", "--label-delay", "soon"], "--label-delay"),
        (["--to", "zmq+pub://127.0.0.1:0", "--speed", "fast"], "speed 'fast'"),
        (["--to", "zmq+pub://127.0.0.1:0", "--name", "a\nb"], "--name"),
        (["--to", "zmq+pub://127.0.0.1:0", "--wait-for", "0.05"], "no reader came within 0.05 s"),
    ],
)
def test_wrong_words_get_one_clear_line(words: list[str], complaint: str, capsys, monkeypatch) -> None:
    from stream_ottt.cli import main

    monkeypatch.setattr(sys, "argv", ["stream-ottt", "publish", "synthetic:?presentations=1", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (2, 5)
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


async def received(uri: str) -> np.ndarray:
    async with asyncio.timeout(20):
        return np.concatenate([p.events async for p in open_source(uri)])


def test_filters_leave_events_out_before_they_are_sent(tmp_path: Path) -> None:
    i = np.arange(4000)
    events = make_events(i * 7 % 34, i * 5 % 34, 1000 + i * 10, i % 3 == 0)
    path = tmp_path / "in.es"
    with EventStreamWriter(path, 34, 34) as writer:
        writer.write(events)
    filters = ["refractory:1ms", "roi:?left=3&top=4&width=20&height=10"]
    chain = open_filters(filters, 34, 34)
    expected = chain(events)
    words = [word for spec in filters for word in ("--filter", spec)]
    command = [*MAIN, "publish", str(path), "--to", "zmq+push://127.0.0.1:0", "--speed", "max", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split("tcp://")[1].strip()
            found = asyncio.run(received(f"zmq+pull://{address}"))
            said = process.communicate(timeout=20)[0]
        finally:
            process.kill()
    assert 0 < len(expected) < len(events) and np.array_equal(found, expected)
    for reason, n in chain.dropped.items():
        assert n and f"{reason}: {n:,} events left out" in said
    assert f"{len(expected):,} events in" in said and process.returncode == 0
