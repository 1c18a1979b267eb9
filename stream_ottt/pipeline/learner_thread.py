"""The learner's end of the pipeline: one thread that owns network, learner, session and their counters.

One thread, so that a run is the same to the last bit and torch's settings of a thread hold. Between any two pieces of
work (a timestep, or one update of what is due) it looks whether it is to stop, does what was asked of it, and publishes
a snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.cut import Cut, Keeper
from stream_ottt.pipeline.handed import Handed, Pass
from stream_ottt.pipeline.publishing import Published, Publisher
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.sink_writer import SinkWriter
from stream_ottt.pipeline.tasks import Tasks, failed
from stream_ottt.pipeline.threads import set_up_torch
from stream_ottt.state import State, part, take, under

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import Watcher

T = TypeVar("T")


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
        fail: told of an error that ends the thread before its end; it sets ``stopped``.
        prepare: called in the thread before anything else.

    Attributes:
        ledger: what became of events here.
        session: what the timesteps go through, once the first pass has begun.
        prepared: set when the stream may begin.
        ready: set when the session is there, or will never be.
        publisher: has the latest snapshot.
        queue: timesteps that wait.
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
        fail: Callable[[BaseException], None],
        prepare: Callable[[], None],
    ) -> None:
        self.ledger = Ledger()
        self.session: Session | None = None
        self.prepared = Event()
        self.ready = Event()
        self.publisher = Publisher()
        self.queue: BoundedQueue[Handed] = BoundedQueue(batch)
        self._begin = begin
        self._threads = threads
        self._stopped = stopped
        self._eager = eager
        self._max_steps = max_steps
        self._enough = enough
        self._fail = fail
        self._prepare = prepare
        self._writers: Sequence[SinkWriter] = ()
        self.timesteps = 0
        self.busy_since: float | None = None
        self._in_process = 0  # events
        self._tasks = Tasks()
        self._watchers: list[Watcher] = []
        self.onlookers: Sequence[Callable[[Session, StepResult], None]] = ()
        self.keeper: Keeper | None = None
        self.last: Cut | None = None
        self._restored: tuple[State, bool] | None = None  # of the session to be built; whether after a gap
        self._ended = False

    # --- from other threads ----------------------------------------------------------------------------------------

    def do(self, act: Callable[[Session], T]) -> Future[T]:
        """``act`` in the thread, between two pieces of work.

        The future fails with a UsageError where the stream has not begun, the run is ending, or too much waits.
        """
        if self.session is None:
            return failed(UsageError("the stream has not begun: no packet has come yet"))
        if self._ended or self._stopped.is_set():
            return failed(UsageError("the run is ending"))
        future = self._tasks.add(partial(act, self.session))
        self.queue.wake()
        self._do_what_came_too_late()
        return future

    def watch(self, watcher: Watcher) -> Future[None]:
        """Call ``watcher`` in the thread after each timestep, as long as it returns True; see :class:`Controls`."""
        return self.do(lambda _: self._watchers.append(watcher))

    def fresh(self) -> Future[Published]:
        """A snapshot of now."""
        return self.do(self.publisher.look)

    def held(self) -> int:
        """Events in the timesteps that wait, and in the one that is being predicted."""
        return self._in_process + sum(handed.events for handed in self.queue.waiting())

    # --- the thread ------------------------------------------------------------------------------------------------

    def run(self, writers: Sequence[SinkWriter]) -> None:
        """From timesteps to results in the writers, to the end or until stopped."""
        self._writers = writers
        whole = False
        try:
            set_up_torch(self._threads)
            self._prepare()
            self.prepared.set()
            while not self._stopped.is_set():
                self.busy_since = time.monotonic()
                self._tasks.do()
                handed = self.queue.get(0)
                if handed is None and not self.queue.exhausted:
                    if self.session is not None:
                        if self.session.idle():
                            self.publisher.publish_in_time(self.session)
                            continue
                        self.publisher.publish(self.session)
                    self.busy_since = None
                    handed = self.queue.get()
                    self.busy_since = time.monotonic()
                if handed is not None:
                    self._take(handed)
                elif self.queue.exhausted:
                    break
            if self.session is not None:
                self.session.finish()
                self._learn_due(self.session)
            whole = True
        except BaseException as e:
            self._fail(e)
        finally:
            for handed in self.queue.close():
                self.ledger.drop("stopped", handed.events, handed.shares)
            self._ended = True
            self.busy_since = None
            self.prepared.set()
            self.ready.set()
            self._tasks.do()
            if self.session is not None:
                self._publish_last(self.session)
                if self.keeper is not None and whole:
                    self.last = self._cut(self.session, {})
            for writer in writers:
                writer.end()

    def _take(self, handed: Handed) -> None:
        if handed.begins is not None:
            self._begin_pass(handed.begins)
        session = self.session
        assert session is not None  # a pass begins first
        for interval in handed.came:
            with suppress(UsageError):  # the session counts it
                session.labels.add(interval)
        if handed.came and self._eager:
            self._learn_due(session)
        if handed.timestep is not None:
            self._process(session, handed.timestep, handed.at)
        if handed.mark is not None and self.keeper is not None and self.keeper.wants():
            self.keeper.take(self._cut(session, handed.mark))

    def _begin_pass(self, begins: Pass) -> None:
        session = self.session
        if session is None:
            session = self._begin(begins)
            if self._restored is not None:
                state, gap = self._restored
                session.load_state_dict(state)
                if gap:
                    session.go_on_after_gap()
                self._restored = None
            self.session = session
            self.ready.set()
        else:
            session.end_pass()
            self._learn_due(session)
            if begins.timeline is not None:
                session.follow(begins.timeline)
        self.publisher.publish(session)

    def _process(self, session: Session, timestep: Timestep, at: float | None) -> None:
        since = time.perf_counter() if at is None else at
        self._in_process = timestep.events
        try:
            result = session.process(timestep)
        except BaseException:
            self.ledger.drop("failed", timestep.events, timestep.shares)
            raise
        finally:
            self._in_process = 0
        self.ledger.count("binned", timestep.events, timestep.shares)
        result.prediction.latency_s = time.perf_counter() - since
        self.publisher.latency.add(result.prediction.latency_s)
        self.timesteps += 1
        for look in self.onlookers:
            look(session, result)
        for writer in self._writers:
            while not writer.put(result):
                self._tasks.do()
        if self._watchers:
            self._watchers = [watch for watch in self._watchers if watch(session.learner, result)]
        self.publisher.publish_in_time(session)
        if self._eager:
            self._learn_due(session)
        if self.timesteps == self._max_steps:
            self._enough()

    def _learn_due(self, session: Session) -> None:
        """What is due, a piece at a time, until nothing is or the run is to stop."""
        while not self._stopped.is_set() and session.learn_due():
            self.busy_since = time.monotonic()
            self._tasks.do()
            self.publisher.publish_in_time(session)

    def _do_what_came_too_late(self) -> None:
        """The thread may have ended while a task was added; nobody else does it."""
        if self._ended:
            self._tasks.do()

    def _publish_last(self, session: Session) -> None:
        try:
            self.publisher.publish(session)
        except Exception as e:  # after an error the session may not be whole; what was published before remains
            self._fail(e)

    # --- its state -------------------------------------------------------------------------------------------------

    def _cut(self, session: Session, stream: State) -> Cut:
        """The state between two pieces of work, beside that of source and binner; in the thread."""
        own = {
            **under("session", session.state_dict()),
            **under("learner", session.learner.state_dict()),
            **under("latency", self.publisher.latency.state_dict()),
            "ledger": self.ledger.state_dict(),
            "timesteps": self.timesteps,
        }
        state = {**under("stream", stream), **under("learning", own)}
        return Cut(self.timesteps, state, {writer.name: writer.mark() for writer in self._writers})

    def load_state_dict(self, state: State, *, gap: bool) -> None:
        """Go on from a cut's ``learning``, before :meth:`run`; but for the learner, which is built later.

        Args:
            state: the state.
            gap: True where the stream has gone on meanwhile.

        Raises:
            ModelError: a field is missing.
        """
        self.publisher.latency.load_state_dict(part(state, "latency"))
        self.ledger.load_state_dict(take(state, "ledger"))
        self.timesteps = take(state, "timesteps")
        self._restored = part(state, "session"), gap
