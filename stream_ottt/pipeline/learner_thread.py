"""The learner's end of the pipeline: one thread that owns network, learner, session and their counters.

One thread, so that a run is the same to the last bit and torch's settings of a thread hold. Between any two pieces of
work (a timestep, or one update of what is due) it looks whether it is to stop, does what was asked of it, and publishes
a snapshot.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Protocol, TypeVar

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.learning.durations import DurationHistogram
from stream_ottt.learning.session import Session
from stream_ottt.learning.snapshot import Durations, SessionSnapshot
from stream_ottt.pipeline.binning_thread import Handed, Pass
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.sink_writer import SinkWriter
from stream_ottt.state import State, part, take, under

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import CheckpointState, Watcher

T = TypeVar("T")

PUBLISH_S = 0.1
"""Shortest time between two snapshots while there is work."""
MAX_TASKS = 1000
"""Tasks that may wait to be done between two pieces of work; more are refused."""


@dataclass(frozen=True, slots=True)
class Published:
    """What the thread last said of itself.

    Attributes:
        session: the session's own snapshot.
        latency, latency_counts: from a complete timestep to its prediction.
    """

    session: SessionSnapshot
    latency: Durations
    latency_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """A run at one place in its stream: what every part of it was after the same timestep.

    Attributes:
        timesteps: timesteps predicted up to there.
        state: of source and binner (``stream/…``) and of the learner's thread (``learning/…``); nobody changes it.
        sinks: what each sink, by name, needs to go on behind the last of these timesteps; it comes once it is there.
    """

    timesteps: int
    state: State
    sinks: dict[str, Future[State | None]]


class Keeper(Protocol):
    """Takes cuts, in the learner's thread; must be quick."""

    def wants(self) -> bool:
        """Whether it takes one now."""

    def take(self, cut: Cut) -> None:
        """Take it."""

    def state(self) -> CheckpointState:
        """What has become of them; from any thread."""


class LearnerThread:
    """Takes timesteps in their order, hands over a result for each, and learns what is due when it is out.

    Args:
        begin: builds the session, in the thread, from the first pass.
        batch: most timesteps that wait.
        threads: of torch.
        stopped: once set, nothing more is begun; what waits is counted as dropped.
        eager: True learns what is due before the next timestep, so that the run is the same whatever the machine's
            speed. False does so only while no timestep waits.
        max_steps: timesteps after which ``enough`` is called; None for no limit.
        enough: see there.
        prepare: called in the thread before anything else.

    Attributes:
        ledger: what became of events here.
        session: what the timesteps go through, once the first pass has begun.
        prepared: set when the stream may begin.
        ready: set when the session is there, or will never be.
        published: the latest snapshot; None before the first pass.
        error: what ended the thread before its end.
        timesteps: predicted so far.
        busy_since: ``time.monotonic()`` at which its present piece of work began; None at rest.
        onlookers: called with the session and the result after each timestep.
        keeper: takes the whole state at the marks that come with the stream; None where nobody does.
        last: the state in which it was stopped, where there is a keeper; without that of source and binner.
    """

    def __init__(
        self,
        begin: Callable[[Pass], Session],
        *,
        batch: int,
        threads: int,
        stopped: Event,
        eager: bool,
        max_steps: int | None,
        enough: Callable[[], None],
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.session: Session | None = None
        self.prepared = Event()
        self.ready = Event()
        self.published: Published | None = None
        self.error: BaseException | None = None
        self.queue: BoundedQueue[Handed] = BoundedQueue(batch)
        self._begin = begin
        self._threads = threads
        self._stopped = stopped
        self._eager = eager
        self._max_steps = max_steps
        self._enough = enough
        self._prepare = prepare
        self._writers: Sequence[SinkWriter] = ()
        self._latency = DurationHistogram()
        self.timesteps = 0
        self.busy_since: float | None = None
        self._in_process = 0  # events
        self._tasks: deque[Callable[[], None]] = deque()
        self._watchers: list[Watcher] = []
        self.onlookers: Sequence[Callable[[Session, StepResult], None]] = ()
        self.keeper: Keeper | None = None
        self.last: Cut | None = None
        self._restored: State | None = None  # of the session that is still to be built
        self._after_gap = False
        self._due_at = 0.0  # of the next snapshot
        self._ended = False

    # --- from other threads ----------------------------------------------------------------------------------------

    def do(self, act: Callable[[Session], T]) -> Future[T]:
        """``act`` in the thread, between two pieces of work.

        The future fails with a UsageError where the stream has not begun, the run is ending, or too much waits.
        """
        future: Future[T] = Future()
        if self.session is None:
            future.set_exception(UsageError("the stream has not begun: no packet has come yet"))
        elif self._ended or self._stopped.is_set():
            future.set_exception(UsageError("the run is ending"))
        elif len(self._tasks) >= MAX_TASKS:
            future.set_exception(UsageError(f"{MAX_TASKS} tasks wait already; ask less often"))
        else:
            self._tasks.append(lambda: _settle(future, act, self.session))
            self.queue.wake()
            self._do_what_came_too_late()
        return future

    def watch(self, watcher: Watcher) -> Future[None]:
        """Call ``watcher`` in the thread after each timestep, as long as it returns True; see :class:`Controls`."""
        return self.do(lambda _: self._watchers.append(watcher))

    def fresh(self) -> Future[Published]:
        """A snapshot of now."""
        return self.do(self._snapshot)

    def held(self) -> int:
        """Events in the timesteps that wait, and in the one that is being predicted."""
        return self._in_process + sum(handed.events for handed in self.queue.waiting())

    # --- the thread ------------------------------------------------------------------------------------------------

    def run(self, writers: Sequence[SinkWriter]) -> None:
        """From timesteps to results in the writers, to the end or until stopped."""
        self._writers = writers
        try:
            _set_up(self._threads)
            if self._prepare is not None:
                self._prepare()
            self.prepared.set()
            while not self._stopped.is_set():
                self.busy_since = time.monotonic()
                self._do_tasks()
                handed = self.queue.get(0)
                if handed is None and not self.queue.exhausted:
                    if self.session is not None and self.session.idle():
                        self._publish()
                        continue
                    self._publish(at_rest=True)
                    self.busy_since = None
                    handed = self.queue.get()
                    self.busy_since = time.monotonic()
                if handed is not None:
                    self._take(handed)
                elif self.queue.exhausted:
                    break
            if self.session is not None:
                self.session.finish()
                self._learn_due()
        except BaseException as e:
            self.error = e
            self._stopped.set()
        finally:
            for handed in self.queue.close():
                self.ledger.drop("stopped", handed.events)
            self._ended = True
            self.busy_since = None
            self.prepared.set()
            self.ready.set()
            self._do_tasks()
            self._publish_last()
            if self.keeper is not None and self.session is not None and self.error is None:
                self.last = self._cut({})
            for writer in writers:
                writer.end()

    def _take(self, handed: Handed) -> None:
        if handed.begins is not None:
            self._begin_pass(handed.begins)
        if self.session is None:
            return
        for interval in handed.came:
            try:
                self.session.add_label(interval)
            except UsageError:
                continue  # the session counts it
        if handed.came and self._eager:
            self._learn_due()
        if handed.timestep is not None:
            self._process(self.session, handed.timestep, handed.at)
        if handed.mark is not None and self.keeper is not None and self.keeper.wants():
            self.keeper.take(self._cut(handed.mark))

    def _begin_pass(self, begins: Pass) -> None:
        if self.session is None:
            session = self._begin(begins)
            if self._restored is not None:
                session.load_state_dict(self._restored)
                self._restored = None
                if self._after_gap:
                    session.go_on_after_gap()
            self.session = session
            self.ready.set()
        else:
            self.session.end_pass()
            self._learn_due()
            if begins.timeline is not None:
                self.session.follow(begins.timeline)
        self._publish(at_rest=True)

    def _process(self, session: Session, timestep: Timestep, at: float | None) -> None:
        since = time.perf_counter() if at is None else at
        self._in_process = timestep.events
        try:
            result = session.process(timestep)
        except BaseException:
            self.ledger.drop("failed", timestep.events)
            raise
        finally:
            self._in_process = 0
        self.ledger.binned += timestep.events
        result.prediction.latency_s = time.perf_counter() - since
        self._latency.add(result.prediction.latency_s)
        self.timesteps += 1
        for look in self.onlookers:
            look(session, result)
        for writer in self._writers:
            while not writer.put(result):
                self._do_tasks()
        if self._watchers:
            self._watchers = [watch for watch in self._watchers if watch(session.learner, result)]
        self._publish()
        if self._eager:
            self._learn_due()
        if self.timesteps == self._max_steps:
            self._enough()

    def _learn_due(self) -> None:
        """What is due, a piece at a time, until nothing is or the run is to stop."""
        assert self.session is not None
        while not self._stopped.is_set() and self.session.learn_due():
            self.busy_since = time.monotonic()
            self._do_tasks()
            self._publish()

    def _do_what_came_too_late(self) -> None:
        """The thread may have ended while a task was added; nobody else does it."""
        if self._ended:
            self._do_tasks()

    def _do_tasks(self) -> None:
        while self._tasks:
            self._tasks.popleft()()

    # --- what is known of it ---------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        """The state between two pieces of work; in the thread."""
        assert self.session is not None
        return {
            **under("session", self.session.state_dict()),
            **under("learner", self.session.learner.state_dict()),
            **under("latency", self._latency.state_dict()),
            "ledger": self.ledger.state_dict(),
            "timesteps": self.timesteps,
        }

    def load_state_dict(self, state: State, *, gap: bool = False) -> None:
        """Go on from what :meth:`state_dict` gave, before :meth:`run`; but for the learner, which is built later.

        Args:
            state: the state.
            gap: True where the stream has gone on meanwhile.

        Raises:
            ModelError: a field is missing.
        """
        self._latency.load_state_dict(part(state, "latency"))
        self.ledger.load_state_dict(take(state, "ledger"))
        self.timesteps = take(state, "timesteps")
        self._restored = part(state, "session")
        self._after_gap = gap

    def _cut(self, stream: State) -> Cut:
        state = {**under("stream", stream), **under("learning", self.state_dict())}
        return Cut(self.timesteps, state, {writer.name: writer.mark() for writer in self._writers})

    def _snapshot(self, session: Session) -> Published:
        return Published(session.snapshot(), Durations.of(self._latency), self._latency.counts(5))

    def _publish(self, *, at_rest: bool = False) -> None:
        now = time.monotonic()
        if self.session is not None and (at_rest or now >= self._due_at):
            self.published = self._snapshot(self.session)
            self._due_at = now + PUBLISH_S

    def _publish_last(self) -> None:
        try:
            self._publish(at_rest=True)
        except Exception as e:  # after an error the session may not be whole; what was published before remains
            self.error = self.error or e


def _settle(future: Future[T], act: Callable[[Session], T], session: Session | None) -> None:
    assert session is not None
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(act(session))
    except Exception as e:  # whoever asked gets it
        future.set_exception(e)


def _set_up(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # Traces that fade through long silences become denormal numbers, which cost many times the time.
    torch.set_flush_denormal(True)
