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
import zmq
from helpers import SIZE, ListSource
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.filters.chain import open_filters
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.live.publisher import MESSAGE_EVENTS, Counts, Output, play
from stream_ottt.pipeline.pace import JUMP_US, Pace, parse_speed
from stream_ottt.pipeline.source import Source
from stream_ottt.sinks import aedat4_tcp
from stream_ottt.sinks.aedat4_tcp import TcpOutput
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

    async def end(self, within: float | None = None) -> None: ...


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


def test_the_labels_of_a_folder_are_sent_with_its_events(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        with EventStreamWriter(tmp_path / name / "a.es", SIZE, SIZE) as writer:
            writer.write(at_times([0, 40, 90]))
    output, counts = played(open_source(tmp_path), delay=10)
    told = [(one.label, one.name) if isinstance(one, LabelInterval) else len(one) for one in output.sent]
    assert told == [1, (0, "cat"), 3, (1, "dog"), 2] and counts.labels == 2


def test_labels_say_the_names_that_the_source_or_the_label_has() -> None:
    source = open_source("synthetic:?presentations=2&classes=2&duration=100ms")
    names = source.class_names
    labels = LabelTimeline([LabelInterval(0, 10_000, 1), LabelInterval(10_000, 20_000, 0, "lamp")])
    output, counts = played(source, labels=labels)
    told = [(sent.label, sent.name) for sent in output.sent if isinstance(sent, LabelInterval)]
    assert told == [(1, names[1]), (0, "lamp")] and names[1] and counts.labels == 2


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


def test_one_event_thirty_seconds_ahead_costs_itself() -> None:
    t = np.arange(0, 200_000, 100)
    t[1000] += 30_000_000
    output, counts = played(ListSource(at_times(t.tolist())))
    assert counts.wrong_times == 1 and counts.events == len(t) - 1
    sent = np.concatenate([p.events["t"] for p in output.sent if isinstance(p, EventPacket)])
    assert sent.tolist() == np.delete(t, 1000).tolist()


def test_what_was_good_before_the_damage_is_sent_with_its_labels() -> None:
    output, counts = Recorder(), Counts()
    source = ListSource(at_times([1, 2, 3]), error=InputError("cut short"))
    with pytest.raises(InputError):
        asyncio.run(play(source, output, counts, labels=LabelTimeline([LabelInterval(0, 9, 4)], delay="end")))
    assert (counts.events, counts.labels) == (3, 1)
    assert output.sent[-1] == LabelInterval(0, 9, 4)


def test_a_label_comes_before_an_event_at_its_own_time() -> None:
    label = LabelInterval(9, 20, 4)
    output, _ = played(ListSource(at_times([0, 5, 9])), labels=LabelTimeline([label]))
    assert [one if one == label else one.events["t"].tolist() for one in output.sent] == [[0, 5], label, [9]]


def test_no_label_is_sent_of_a_stream_without_events() -> None:
    output, counts = played(ListSource(at_times([])), labels=LabelTimeline([LabelInterval(0, 9, 4)]))
    assert output.sent == [] and counts.labels == 0


def test_it_keeps_the_streams_pace() -> None:
    began = time.perf_counter()
    output, _ = played(ListSource(at_times(list(range(0, 200_000, 1000))), cut=1000), speed=2.0)
    due = [int(p.events["t"][-1]) / 1e6 / 2 for p in output.sent]
    assert all(at - began >= t for at, t in zip(output.at, due, strict=True))  # never early
    assert len(due) >= 30  # and not in one piece


def test_a_jump_of_the_clock_is_not_waited_for_but_what_comes_after_it_is() -> None:
    pace = Pace(2.0)
    for t in (0, 5 * JUMP_US, 0):
        jumped = pace.due(EventPacket(at_times([t]), SIZE, SIZE))
        assert jumped <= time.perf_counter()
        for late in (10_000, 5_000):
            assert pace.due(EventPacket(at_times([t + late]), SIZE, SIZE)) - jumped == pytest.approx(0.005)


@pytest.mark.parametrize("text", ["0", "-1x", "fast", "inf", "nan", "x"])
def test_no_speed(text: str) -> None:
    with pytest.raises(UsageError):
        parse_speed(text)


def test_speeds() -> None:
    assert [parse_speed(s) for s in ("max", "1x", "2.5x", "0.5")] == [None, 1.0, 2.5, 0.5]


@pytest.mark.parametrize(
    ("kind", "wait", "number", "code"),
    [
        ("pub", 1, signal.SIGINT, 130),
        ("push", 1, signal.SIGTERM, 0),
        ("push", 0, signal.SIGINT, 130),  # it plays, and finds no room
        ("push", 0, signal.SIGHUP, 0),
    ],
)
def test_a_signal_ends_a_publisher_without_a_reader(kind: str, wait: int, number: signal.Signals, code: int) -> None:
    command = [*MAIN, "publish", "synthetic:", "--to", f"zmq+{kind}://127.0.0.1:0", "--wait", str(wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("publishing synthetic on tcp://127.0.0.1:")
            assert not wait or process.stdout.readline() == "waiting for 1 reader\n"
            process.send_signal(number)
            assert process.wait(20) == code
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
            said = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert 0 < len(expected) < len(events) and np.array_equal(found, expected)
    for reason, n in chain.dropped.items():
        assert n and f"{reason}: {n:,} events left out" in said
    assert f"{len(expected):,} events in" in said and process.returncode == 0


def test_a_signal_ends_a_publisher_whose_reader_takes_nothing_any_more() -> None:
    """All was played, and PUSH waits for what its reader has no room for."""
    source = "synthetic:?presentations=4&duration=300ms"
    command = [*MAIN, "publish", source, "--to", "zmq+push://127.0.0.1:0?hwm=1000", "--wait", "1", "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, zmq.Context() as context:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().split()[-1]
            reader = context.socket(zmq.PULL)
            reader.linger, reader.rcvhwm, reader.rcvbuf = 0, 1, 4096
            reader.connect(endpoint)
            assert reader.poll(20_000)  # the first is there; it is not taken
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            reader.close()
        finally:
            process.kill()


def test_a_client_that_takes_nothing_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not take is bounded, then it is cut off; the other gets every byte."""
    monkeypatch.setattr(aedat4_tcp, "STALL_S", 0.05)
    monkeypatch.setattr(aedat4_tcp, "MAX_BEHIND", 8 << 20)
    events = at_times(np.arange(0, 600_000, 2).tolist())
    packet = EventPacket(events, SIZE, SIZE)

    async def go() -> tuple[int, bool]:
        output = TcpOutput("127.0.0.1", 0)
        await output.open()
        port = int(output.endpoint.rpartition(":")[2])
        readers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await output.wait_for_readers(2, 20)
        taken = asyncio.create_task(readers[1][0].read(-1))
        for _ in range(25):
            await output.events(packet)
        dead = len(output._clients) == 1
        await output.end(0.5)
        got = len(await taken)
        for _, writer in readers:
            writer.transport.abort()
        return got, dead

    got, dead = asyncio.run(asyncio.wait_for(go(), 60))
    assert dead and got > 25 * len(events)


def test_a_client_that_takes_again_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets every byte, although it is behind by all that may wait for one that takes nothing."""
    monkeypatch.setattr(aedat4_tcp, "STALL_S", 0.05)
    monkeypatch.setattr(aedat4_tcp, "MAX_BEHIND", 32 << 20)
    packet = EventPacket(at_times(np.arange(0, 600_000, 2).tolist()), SIZE, SIZE)

    async def go() -> tuple[int, int]:
        output = TcpOutput("127.0.0.1", 0)
        await output.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(output.endpoint.rpartition(":")[2]))
        await output.wait_for_readers(1, 20)
        sent = 0
        while not output._stalled:
            await output.events(packet)
            sent += 1
        (client,) = output._clients
        behind = client.transport.get_write_buffer_size()
        got = 0
        while client.transport.get_write_buffer_size() == behind:
            got += len(await reader.read(1 << 16))
        taken = asyncio.create_task(reader.read(-1))
        for _ in range(sent + 40):
            await output.events(packet)
        clients = len(output._clients)
        await output.end(30)
        got += len(await taken)
        writer.transport.abort()
        return clients, got // (2 * sent + 40)

    clients, each = asyncio.run(asyncio.wait_for(go(), 60))
    assert clients == 1 and each > len(packet.events)
