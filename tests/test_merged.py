"""Several sources as one stream: one order of time, one plane, an account of each."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import ListSource, labelled_events, pipeline_of, run, small_session
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, EventPacket, join_events, make_events
from stream_ottt.live import feed
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.run.run import run as run_request
from stream_ottt.sources.merged import live as merged_live
from stream_ottt.sources.merged.files import MergedFiles
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.live import MergedLive
from stream_ottt.sources.merged.opening import open_sources
from stream_ottt.sources.merged.order import Order
from stream_ottt.sources.merged.place import Place
from stream_ottt.sources.merged.presence import Presence
from stream_ottt.sources.merged.run_time import Mapping, RunTime


def at(t: list[int], x: int = 0) -> EventArray:
    return make_events([x] * len(t), [0] * len(t), t, [1] * len(t))


def lanes(*sources: Source, **places: int) -> list[Lane]:
    return [Lane(f"s{i}", source, Place(x=8 * i * bool(places))) for i, source in enumerate(sources)]


def read(source: MergedFiles) -> EventArray:
    return join_events([packet.events for packet in source.packets()])


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.lists(st.integers(0, 9_000), min_size=1, max_size=60), min_size=2, max_size=4),
    cuts=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_recordings_are_merged_the_same_whatever_the_packets(steps: list[list[int]], cuts: tuple[int, int]) -> None:
    streams = [at(np.cumsum(s).tolist(), x) for x, s in enumerate(steps)]
    one, other = (read(MergedFiles(lanes(*(ListSource(e, cut=cut) for e in streams)), None)) for cut in cuts)
    every = np.concatenate(streams)
    expected = every[np.argsort(every["t"], kind="stable")]
    assert one.tobytes() == other.tobytes() == expected.tobytes()


def test_sources_lie_where_they_are_put_and_do_not_reach_into_each_other() -> None:
    left, right = labelled_events(0, 1), labelled_events(1, 1)
    left["x"][5] = 9  # beyond its own sensor, where the other one lies
    source = MergedFiles(lanes(ListSource(left), ListSource(right), side_by_side=1), None)
    packets = list(source.packets())
    assert {(p.width, p.height) for p in packets} == {(16, 8)}
    events = np.concatenate([p.events for p in packets])
    assert (events["x"] >= 8).sum() == len(right)
    assert source.lanes[0].ledger.facts() == {
        "read": 200, "binned": 199, "late": 0, "malformed": 1, "dropped": {}, "in_hand": 0
    }  # fmt: skip


def test_a_damaged_recording_ends_and_the_others_go_on() -> None:
    broken = ListSource(at([1, 2, 3]), error=InputError("cut short"))
    source = MergedFiles(lanes(broken, ListSource(at([0, 10, 20]))), None)
    pipeline = pipeline_of(source, [], small_session(None))
    outcome = run(pipeline)
    assert outcome.reason == "damaged" and "cut short" in str(outcome.error)
    ledger = pipeline.snapshot().ledger
    assert ledger.read == 6 and ledger.in_hand == 0 and ledger.binned == 6


def test_a_run_that_is_stopped_counts_what_waits_for_the_other_source() -> None:
    streams = [labelled_events(0, 5), labelled_events(1, 5)]
    source = MergedFiles(lanes(*(ListSource(e, cut=70) for e in streams)), None)
    pipeline = pipeline_of(source, [], small_session(None), max_steps=7)
    run(pipeline)
    snapshot = pipeline.snapshot()
    assert snapshot.ledger.in_hand == 0 and snapshot.ledger.dropped["stopped"] > 0
    assert snapshot.ledger.read == sum(one["events"]["read"] for one in snapshot.sources.values())


def test_events_wait_for_the_others_no_longer_than_the_wait() -> None:
    order = Order(2, 0.05)
    order.feed(0, at([10, 20, 30]), 0.0)
    assert not any(map(len, order.ready(0.04)))
    order.feed(1, at([15]), 0.04)
    assert [len(part) for part in order.ready(0.04)] == [1, 0]  # before 15
    assert order.due() == pytest.approx(0.05)
    assert [len(part) for part in order.ready(0.05)] == [2, 1]
    assert order.feed(1, at([16, 29, 31]), 0.06) == 2
    order.streams[1].awaited = order.streams[0].awaited = False
    assert [len(part) for part in order.ready(0.06)] == [0, 1]


def test_clocks_are_mapped_to_the_runs_at_the_first_event() -> None:
    clock = RunTime()
    first, second = Mapping(clock, own=False), Mapping(clock, own=False)
    assert first.place(at([5_000_000, 5_010_000]), 100.0)["t"].tolist() == [5_000_000, 5_010_000]
    assert second.place(at([7, 1_007]), 100.2)["t"].tolist() == [5_210_000, 5_211_000]
    assert second.place(at([100_007]), 100.3)["t"].tolist() == [5_310_000]
    assert Mapping(clock, own=True).place(at([3]), 100.4)["t"].tolist() == [3]


def test_a_clock_that_is_set_forward_goes_on_where_it_was() -> None:
    mapping = Mapping(RunTime(), own=False)
    mapping.place(at([1_000]), 1.0)
    assert mapping.place(at([30_001_000, 30_002_000]), 1.1)["t"].tolist() == [101_000, 102_000]
    assert mapping.place(at([31_002_000]), 2.1)["t"].tolist() == [1_102_000]  # a pause is none
    assert mapping.moves == 1


def test_a_clock_that_runs_behind_is_mapped_anew_after_a_second() -> None:
    clock = RunTime()
    ahead, behind = Mapping(clock, own=False), Mapping(clock, own=False)
    behind.place(at([0]), 0.0)
    ahead.place(at([10**9]), 0.0)
    clock.heard(900_000, 0.0)
    for now in (0.1, 0.9):
        behind.came(1, 1, now)
    assert behind.moves == 0
    behind.came(1, 1, 1.2)
    assert behind.moves == 1
    assert behind.place(at([1_300_000]), 1.3)["t"].tolist() == [2_200_000]


def test_losses_and_returns_are_counted_and_said() -> None:
    said: list[str] = []
    one, other = Presence("left", said.append), Presence("right", said.append)
    one.heard(0.0)
    other.heard(0.0)
    other.heard(2.5)
    one.look(2.5, [other])
    assert not one.there and one.losses == 1
    one.heard(4.0)
    assert one.there and one.returns == 1
    other.gone(4.0, InputError("cut"), alone=False)
    other.gone(4.5, InputError("cut"), alone=False)
    assert other.losses == 1
    assert [line.split(";")[0] for line in said] == [
        "left: nothing has come for 2.5 s", "left: back after 4.0 s", "right: cut"
    ]  # fmt: skip


class Comes(Source):
    """A live source that gives one stretch each time that it is asked, then fails; after the last it waits."""

    name = "comes"
    Config = SourceConfig
    live = True

    def __init__(self, *stretches: EventArray, error: Exception | None = None) -> None:
        super().__init__(SourceConfig())
        self.stretches, self.error = list(stretches), error

    async def __aiter__(self):
        if not self.stretches:
            await asyncio.Event().wait()
        yield EventPacket(self.stretches.pop(0), 8, 8)
        if self.error is not None and self.stretches:
            raise self.error
        await asyncio.Event().wait()


def steady(t0: int, n: int = 64) -> EventArray:
    return at(list(range(t0, t0 + 10 * n, 10)))


def test_a_source_that_fails_comes_back_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_live, "RETRY_S", 0.0)
    said: list[str] = []
    dies = Comes(steady(0), steady(10_000), error=InputError("the cable is out"))
    parts = [Lane(f"s{i}", one, Place(clock="own")) for i, one in enumerate((dies, Comes(steady(500))))]
    source = MergedLive(parts, None, 0.01, said.append)  # on one clock, so that no pause of the machine's moves times

    async def take() -> list[EventPacket]:
        packets = []
        async for packet in source:
            packets.append(packet)
            if sum(map(len, packets)) == 192:
                break
        return packets

    packets = asyncio.run(asyncio.wait_for(take(), 60))
    t = np.concatenate([p.events["t"] for p in packets])
    assert (np.diff(t) >= 0).all()
    assert source.parts()["s0"]["losses"] >= 1 and source.parts()["s0"]["returns"] == 1
    assert any("the cable is out; the others go on" in line for line in said)
    assert any("s0: back after" in line for line in said)


def files(folder: Path) -> list[str]:
    uris = []
    for i in range(2):
        e = labelled_events(i, 6)
        np.savez(folder / f"{i}.npz", width=8, height=8, **{k: e[k] for k in "xytp"})
        uris.append(f"{folder / f'{i}.npz'}?time=us&name=cam{i}&x={8 * i}")
    return uris


def summary_of(folder: Path, code: int = 0, **options: object) -> dict:
    small = {"binning": {"window": "1ms"}, "network": {"layers": [4]}}
    first, second = files(folder)
    stream = {"sources": [second], **dict(options.pop("stream", {}))}  # type: ignore[call-overload]
    request = RunRequest(
        first, overrides={**small, "stream": stream}, sinks=[], summary=folder / "s.json", force=True, **options
    )
    assert run_request(request) == code
    return json.loads((folder / "s.json").read_text())


def test_a_run_of_two_recordings_accounts_for_each(tmp_path: Path) -> None:
    found = summary_of(tmp_path, stream={"passes": 2})
    assert found["sensor"]["width"] == 16
    assert {name: one["events"]["binned"] for name, one in found["sources"].items()} == {"cam0": 2400, "cam1": 2400}
    assert found["events"]["read"] == found["events"]["binned"] == 4800
    smaller = summary_of(tmp_path, 3, stream={"plane": [12, 8]})
    cam1 = smaller["sources"]["cam1"]["events"]
    assert cam1["malformed"] > 0 and cam1["malformed"] + cam1["binned"] == 1200


def test_counts_go_on_in_a_second_pass() -> None:
    """A source that was left in its second pass counts on as if it had never been."""

    def made() -> MergedFiles:
        return MergedFiles(lanes(ListSource(labelled_events(0, 2), cut=50), ListSource(labelled_events(1, 2))), None)

    whole, cut = made(), made()
    list(whole.packets())
    second = whole.packets()
    given = len(next(second)) + len(next(second))
    state = json.loads(json.dumps(whole.state_dict()))
    list(second)
    cut.load_state_dict(state, 1, given)
    next(first := cut.packets())
    first.close()
    list(cut.packets())
    assert [lane.ledger for lane in cut.lanes] == [lane.ledger for lane in whole.lanes]


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ("?name=cam0", "'cam0'"),
        ("?x=-1", "source.x"),
        ("udp://127.0.0.1:0?width=8&height=8", "a recording cannot wait for what is live"),
        ("?clock=arrival", "is for live sources"),
    ],
)
def test_sources_that_do_not_go_together_are_refused(second: str, complaint: str, tmp_path: Path) -> None:
    first, other = files(tmp_path)
    uri = second if "://" in second else other.partition("?")[0] + second
    with pytest.raises(UsageError, match=complaint):
        open_sources([first, uri])


def test_more_sources_than_can_be_told_apart_are_refused() -> None:
    with pytest.raises(UsageError, match="257 sources; one stream can be made of 256"):
        open_sources(["synthetic:"] * 257)


def test_the_wait_is_that_of_the_settings() -> None:
    uris = [f"udp://127.0.0.1:0?width=8&height=8&name={name}" for name in "ab"]
    live = Run(RunRequest(uris[0], overrides={"stream": {"sources": [uris[1]], "merge_wait": "70ms"}}, sinks=[])).source
    assert isinstance(live, MergedLive)
    live._order.feed(0, at([5]), 1.0)
    assert live._order.due() == pytest.approx(1.07)


def test_two_feeds_through_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two publishers, one of which begins anew 2 s back and sends one time at the end of int64 and one 30 s ahead."""
    monkeypatch.setattr("stream_ottt.sources.senders.AWAY_S", 0.0)

    async def session() -> int:
        senders = [Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True)) for _ in range(2)]
        uris = [f"{s.endpoint.replace('tcp', 'zmq+pull')}?name={n}" for s, n in zip(senders, "ab", strict=True)]
        one = Run(
            RunRequest(
                None,
                overrides={"stream": {"sources": uris}, "binning": {"window": "20ms"}, "network": {"layers": [4]}},
                sinks=[],
                summary=tmp_path / "s.json",
            )
        )
        running = asyncio.create_task(one.go())
        wild = steady(3_000_000)
        wild["t"][10], wild["t"][20] = 2**62 + 1, 33_000_000
        await senders[0].send(feed.pack_events("a", 0, wild, 8, 8), 20)
        await senders[1].send(feed.pack_events("b", 0, steady(77), 8, 8), 20)
        await senders[0].send(feed.pack_events("a", 0, steady(1_000_000), 8, 8), 20)
        for sender, name, seq in zip(senders, "ab", (1, 1), strict=True):
            await sender.send(feed.pack_events(name, seq, at([]), 8, 8, eos=True), 20)
        code = await asyncio.wait_for(running, 60)
        for sender in senders:
            await sender.close(0)
        return code

    assert asyncio.run(session()) == 3
    found = json.loads((tmp_path / "s.json").read_text())
    a, b = (found["sources"][name]["events"] for name in "ab")
    assert (a["read"], a["binned"] + a["late"], a["malformed"]) == (128, 126, 2)
    assert (b["read"], b["binned"] + b["late"], b["malformed"]) == (64, 64, 0)
    assert found["events"]["read"] == 192 and found["events"]["in_hand"] == 0
    assert found["stream_s"] < 10  # neither 30 s ahead nor 2 s back
