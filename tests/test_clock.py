"""The clock against a plain model of its definition, in packets of any cut; and what it is for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_ottt.events import clock as module
from stream_ottt.events.clock import CONFIRM, LIMIT_US, PAUSE_US, SILENCE_US, Clock
from stream_ottt.events.packet import EventArray, make_events


@dataclass
class Model:
    """The definition, one event after the other, with lists of (number, time)."""

    tolerance: int = 0
    confirm: int = CONFIRM
    most_rivals: int = module.MAX_RIVALS
    passed: list[tuple[int, int]] = field(default_factory=list)
    held: list[tuple[int, int, int]] = field(default_factory=list)  # number, time, step from the newest before
    rivals: list[tuple[int, int]] = field(default_factory=list)
    newest_passed: int = -LIMIT_US
    shift: int = 0
    epochs: int = 1
    credit: int = 0
    in_epoch: int = 0

    @property
    def newest(self) -> int:
        return max([self.newest_passed, *(t for _, t, _ in self.held)])

    @property
    def rival_newest(self) -> int:
        return max(t for _, t in self.rivals)

    @property
    def branches_off(self) -> bool:
        return self.rivals[0][1] >= self.newest_passed - self.tolerance

    @property
    def ahead(self) -> int:
        return sum(t > self.rivals[0][1] + self.tolerance for _, t, _ in self.held)

    def feed(self, number: int, t: int) -> None:
        if not 0 <= t < LIMIT_US:
            return
        if t < self.newest - self.tolerance:
            self.against(number, t)
            return
        if self.rivals and self.branches_off:
            if t >= self.rival_newest - self.tolerance and len(self.rivals) > self.ahead:
                self.adopt()
            self.rivals = []
        elif self.rivals:
            if len(self.rivals) >= self.confirm and t <= self.rival_newest + module.CLIMB_US:
                self.begin_epoch()
            elif not self.held and t <= self.newest + module.GAP_US:
                self.rivals = []
            else:
                self.credit -= 1
                if not self.credit:
                    self.rivals = []
        self.join(number, t)

    def against(self, number: int, t: int) -> None:
        if self.rivals:
            step = t > self.rival_newest + module.GAP_US
            if self.branches_off and step and len(self.rivals) > self.ahead:
                self.adopt()
                self.rivals = []
                self.join(number, t)
                return
            follows = t >= self.newest_passed - self.tolerance
            if t < self.rival_newest - self.tolerance or (step and follows and not self.branches_off):
                self.credit -= 1
                if self.credit:
                    return
                self.rivals = []
        if not self.rivals:
            self.credit = 0
        self.rivals.append((number, t))
        self.credit += 1
        if len(self.rivals) < self.confirm:
            return
        if self.branches_off:
            self.adopt()
            self.rivals = []
        elif self.newest - self.rival_newest > module.FAR_US or len(self.rivals) == self.most_rivals:
            self.begin_epoch()

    def join(self, number: int, t: int) -> None:
        step = t - self.newest if self.newest > -LIMIT_US else module.GAP_US + 1
        if not self.held and step <= module.GAP_US:
            self.release(number, t, 0)
            return
        self.held.append((number, t, step))
        pauses = [k for k, (_, _, step) in enumerate(self.held) if k and step > PAUSE_US]
        if not self.passed and pauses and len(self.held) >= self.confirm:
            if len(self.held) - pauses[-1] >= self.confirm:
                self.held = self.held[pauses[-1] :]
                self.held[0] = (*self.held[0][:2], module.GAP_US + 1)
            elif len(self.held) < 2 * self.confirm:
                return
        while len(self.held) >= self.confirm:
            self.release(*self.held.pop(0))
            while self.held and self.held[0][2] <= module.GAP_US:
                self.release(*self.held.pop(0))

    def release(self, number: int, t: int, step: int) -> None:
        self.epochs += step > PAUSE_US
        self.in_epoch = 1 if step > PAUSE_US else self.in_epoch + 1
        self.passed.append((number, t + self.shift))
        self.newest_passed = max(self.newest_passed, t)

    def adopt(self) -> None:
        limit = self.rivals[0][1] + self.tolerance
        self.held = [h for h in self.held if h[1] <= limit]
        if self.held and self.held[0][2] <= module.GAP_US:
            self.held[0] = (*self.held[0][:2], module.GAP_US + 1)
        rivals, self.rivals = self.rivals, []
        for rival in rivals:
            self.join(*rival)

    def begin_epoch(self) -> None:
        for h in self.held:
            if h[0] < self.rivals[0][0]:
                self.release(*h)
        self.held = []
        oldest = min(t for _, t in self.rivals)
        self.shift += self.newest_passed + SILENCE_US - oldest
        self.epochs += 1
        self.newest_passed = oldest
        self.in_epoch = 0
        for rival in self.rivals:
            self.release(*rival, 0)
        self.rivals = []

    def end(self, ended: bool) -> list[tuple[int, int]]:
        if self.rivals and self.branches_off:
            if len(self.rivals) > self.ahead:
                self.adopt()
        elif len(self.rivals) >= self.confirm:
            self.begin_epoch()
        for number, t, step in self.held:
            if ended and step > PAUSE_US and self.in_epoch >= self.confirm:
                break
            self.release(number, t, step)
        return sorted(self.passed, key=lambda p: p[1]) if self.tolerance else self.passed


def events_at(t: object) -> EventArray:
    times = np.asarray(t, np.int64)
    i = np.arange(len(times))
    return make_events(i % 2**15, i // 2**15, times, i % 2 == 0)


def through(clock: Clock, events: EventArray, cut: int = 1 << 16, *, ended: bool = True) -> EventArray:
    """All that the clock passes on; that every event is accounted for is checked along the way."""
    out, passed = [], 0
    for at in range(0, len(events), cut):
        out.append(clock.feed(events[at : at + cut]))
        passed += len(out[-1])
        assert passed + clock.held + clock.left_out == min(at + cut, len(events))
    out.append(clock.flush(ended=ended))
    together = np.concatenate(out)
    assert clock.held == 0 and len(together) + clock.left_out == len(events)
    assert (np.diff(together["t"]) >= 0).all()
    return together


STEP = st.one_of(
    st.integers(0, 30),
    st.integers(-40, 40),
    st.sampled_from(
        [0, 900, 9999, 10_000, 10_001, -10_001, 5000, -5000, 100_000, -100_000, 3_000_000, -3_000_000, 2**27, -(2**27)]
    ),
    st.sampled_from([2**52, -(2**52), 2**61, -(2**61)]),
)
PIECE = st.tuples(STEP, st.integers(1, 9), st.integers(0, 400))
"""A jump, then some events a step apart."""


def times_of(pieces: list[tuple[int, int, int]]) -> list[int]:
    t, out = 1000, []
    for jump, count, step in pieces:
        t += jump
        for _ in range(count):
            out.append(t)
            t += step
    return [max(min(t, 2**62), -(2**62)) for t in out]


@settings(max_examples=300)
@given(
    pieces=st.lists(PIECE, max_size=30),
    tolerance=st.sampled_from([0, 0, 25, 6000]),
    cut=st.integers(1, 60),
    confirm=st.sampled_from([2, 5, CONFIRM]),
    ended=st.booleans(),
)
@example(  # what is passed on is a whole stretch of events, and yet not in their order
    pieces=[(9999, 2, 0), (-10001, 9, 0), (100000, 2, 0), (-10001, 1, 0), (0, 1, 0), (0, 1, 0)],
    tolerance=0,
    cut=16,
    confirm=2,
    ended=False,
)
def test_agrees_with_the_model_whatever_the_packets(
    pieces: list[tuple[int, int, int]], tolerance: int, cut: int, confirm: int, ended: bool
) -> None:
    t = times_of(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CONFIRM", confirm)
        patch.setattr(module, "MAX_RIVALS", 12 if confirm < 12 else 40)
        model = Model(tolerance, confirm, module.MAX_RIVALS)
        for number, now in enumerate(t):
            model.feed(number, now)
        clock = Clock(tolerance)
        out = through(clock, events_at(t), cut, ended=ended)
        assert [(int(e["x"]), int(e["t"])) for e in out] == model.end(ended)
        assert clock.epochs == model.epochs


@settings(max_examples=60)
@given(pieces=st.lists(PIECE, max_size=20), cut=st.integers(1, 60), stop=st.integers(0, 9))
def test_goes_on_from_its_state(pieces: list[tuple[int, int, int]], cut: int, stop: int) -> None:
    events = events_at(times_of(pieces))
    one, other = Clock(30), Clock(30)
    parts = [events[at : at + cut] for at in range(0, len(events), cut)]
    expected = [one.feed(p) for p in parts] + [one.flush()]
    out = [other.feed(p) for p in parts[:stop]]
    again = Clock()
    again.load_state_dict(other.state_dict())
    out += [again.feed(p) for p in parts[stop:]] + [again.flush()]
    assert np.array_equal(np.concatenate(out), np.concatenate(expected))
    assert again.facts() == one.facts()


@settings(max_examples=60)
@given(steps=st.lists(st.integers(0, 10**10), max_size=200), cut=st.integers(1, 99), tolerance=st.integers(0, 5000))
def test_times_that_never_decrease_pass_unchanged(steps: list[int], cut: int, tolerance: int) -> None:
    events = events_at(np.cumsum(steps))
    clock = Clock(tolerance)
    assert np.array_equal(through(clock, events, cut), events)
    assert clock.left_out == 0


STREAM = np.arange(20_000) * 25
CUTS = (1, 37, 4096, 1 << 16)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("wrong", [65_536, 1_000_000, 30_000_000, 3_600_000_000, 2**40, 2**52, 2**62, -(2**62), -400])
@pytest.mark.parametrize("at", [0, 1, 5_000, 19_999])
def test_one_wrong_time_costs_one_event(wrong: int, at: int, cut: int) -> None:
    t = STREAM.copy()
    t[at] += wrong
    clock = Clock()
    out = through(clock, events_at(t), cut)
    if at == 19_999 and 0 < wrong <= PAUSE_US:  # nothing contradicts it
        assert clock.left_out == 0
        return
    assert clock.left_out == 1 and clock.epochs == 1
    assert np.array_equal(out["t"], np.delete(STREAM, at))


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("last", [[2**31], [2**40, 2**52], [2**31 + 25 * i for i in range(CONFIRM - 1)]])
def test_wrong_times_at_the_very_end_begin_no_epoch(last: list[int], cut: int) -> None:
    events = events_at([*STREAM, *last])
    clock = Clock()
    out = through(clock, events, cut)
    assert np.array_equal(out["t"], STREAM) and clock.facts() == {"epochs": 1, "left_out": len(last), "jumps": []}
    quiet = Clock()  # a live stream has paused: time has passed
    assert np.array_equal(through(quiet, events, cut, ended=False), events) and quiet.left_out == 0


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("first", [[0], [0, PAUSE_US + 1, 3 * PAUSE_US], [40 * i for i in range(CONFIRM - 1)]])
def test_wrong_times_at_the_very_beginning_begin_no_epoch(first: list[int], cut: int) -> None:
    later = STREAM + 1_600_000_000_000_000
    clock = Clock()
    out = through(clock, events_at([*first, *later]), cut)
    assert np.array_equal(out["t"], later) and clock.facts() == {"epochs": 1, "left_out": len(first), "jumps": []}


def test_a_stream_with_few_events_in_a_minute_keeps_its_first_ones() -> None:
    t = np.concatenate([np.arange(2 * CONFIRM) * 2 * PAUSE_US, 10**12 + np.arange(3 * CONFIRM)])
    clock = Clock()
    assert np.array_equal(through(clock, events_at(t), 7)["t"], t) and clock.left_out == 0


def test_a_stream_with_few_events_in_a_minute_keeps_its_last_ones() -> None:
    t = np.concatenate([np.arange(50) * 2 * PAUSE_US, 10**12 + np.arange(CONFIRM - 1), 10**13 + np.arange(3)])
    clock = Clock()
    assert np.array_equal(through(clock, events_at(t), 7)["t"], t) and clock.left_out == 0


@pytest.mark.parametrize("cut", CUTS)
def test_events_of_the_last_session_that_come_first_are_left_out(cut: int) -> None:
    clock = Clock()
    out = through(clock, events_at(np.concatenate([50_000_000 + np.arange(5), STREAM])), cut)
    assert clock.facts() == {"epochs": 1, "left_out": 5, "jumps": []}
    assert np.array_equal(out["t"], STREAM)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("back", [37_900, 2_000_000])
def test_a_clock_that_jumps_back_goes_on_after_a_silence(back: int, cut: int) -> None:
    t = STREAM + 10_000_000
    t[10_000:] -= back
    clock = Clock()
    out = through(clock, events_at(t), cut)
    at = int(t[9_999]) + SILENCE_US
    assert clock.left_out == 0 and clock.epochs == 2
    assert clock.facts()["jumps"] == [{"before": int(t[9_999]), "after": int(t[10_000]), "at": at}]
    assert np.array_equal(out["t"][:10_000], t[:10_000])
    assert np.array_equal(out["t"][10_000:], t[10_000:] - t[10_000] + at)


@pytest.mark.parametrize("cut", CUTS)
def test_a_clock_that_jumps_ahead_keeps_its_times(cut: int) -> None:
    t = STREAM.copy()
    t[10_000:] += 2 * PAUSE_US
    clock = Clock()
    assert np.array_equal(through(clock, events_at(t), cut)["t"], t)
    assert clock.epochs == 2 and clock.left_out == 0


def test_wrong_times_do_not_keep_a_new_epoch_from_beginning() -> None:
    t = np.concatenate([STREAM + 100_000_000, STREAM])
    wrong = np.arange(0, len(t), 20)
    t[wrong] += np.random.default_rng(0).integers(-(2**40), 2**40, len(wrong))
    clock = Clock()
    out = through(clock, events_at(t))
    assert clock.epochs == 2 and len(out) >= 0.99 * (len(t) - len(wrong))


def test_jitter_is_put_in_order_within_the_tolerance() -> None:
    packets = STREAM[:3100].copy().reshape(-1, 100)
    packets[:30] = packets[np.arange(30).reshape(-1, 2)[:, ::-1].ravel()]  # each two in the wrong order
    t = packets.ravel()
    clock = Clock(tolerance=5_000)
    out = through(clock, events_at(t), 77)
    assert clock.left_out == 0 and clock.epochs == 1
    assert np.array_equal(out["t"], np.sort(t))
    clock = Clock()
    through(clock, events_at(t), 77)
    assert clock.epochs == 1 and 0 < clock.left_out < 3000


def test_a_clock_that_jumps_for_ever_stays_within_int64() -> None:
    t = np.tile(np.concatenate([np.arange(40), LIMIT_US - 1000 + np.arange(40)]), 1500)
    clock = Clock()
    passed = through(clock, events_at(t))["t"]
    assert passed[-1] < 2**62 and np.all(passed[1:] >= passed[:-1])
    assert len(clock.jumps) == module.MAX_JUMPS
    assert clock.epochs > 1 + module.MAX_JUMPS  # all are counted


def test_what_was_given_up_is_forgotten() -> None:
    """Old events that waited for more of their kind say nothing of what comes later."""
    clock = Clock()
    before = clock.feed(events_at(PAUSE_US + np.arange(100)))
    assert len(clock.feed(events_at(np.arange(5)))) == 0 and clock.held == 5
    assert clock.forget() == 5 and clock.held == 0
    after = clock.feed(events_at(PAUSE_US + 100 + np.arange(10)))
    assert (len(before), len(after), clock.held, clock.left_out, clock.epochs) == (100, 10, 0, 0, 1)
    assert len(clock.feed(events_at([7]))) == 0 and clock.held == 1


def test_memory_is_bounded_and_ordered_streams_are_not_copied() -> None:
    rng = np.random.default_rng(0)
    clock = Clock()
    for _ in range(20):
        clock.feed(events_at(rng.integers(0, 2**40, 10_000)))
        assert clock.held <= module.MAX_RIVALS + CONFIRM
    events = events_at(STREAM)
    assert Clock().feed(events) is events


def test_ordered_streams_pass_fast() -> None:
    """The floor is far below what a quiet machine shows (some 500 M events a second), as machines are busy."""
    events = events_at(np.arange(1 << 20))
    packets = [events[at : at + (1 << 16)] for at in range(0, len(events), 1 << 16)]
    best = 0.0
    for _ in range(5):
        clock, start = Clock(), time.perf_counter()
        for packet in packets:
            clock.feed(packet)
        best = max(best, len(events) / (time.perf_counter() - start))
    assert best > 50e6
