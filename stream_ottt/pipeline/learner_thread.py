"""The learner's end of the pipeline: all that touches the network, in one thread of its own, and results handed over.

One thread, so that a run is the same to the last bit and torch's settings of a thread hold.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import ParamSpec, TypeVar

from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.sink_writer import Outlet

P = ParamSpec("P")
T = TypeVar("T")

Task = Callable[[Session], object]
"""Something to be done to the session, in the learner's thread, between two timesteps."""


@dataclass(slots=True)
class Binned:
    """A timestep on its way to the learner.

    Attributes:
        timestep: the timestep.
        at: ``time.perf_counter()`` when the packet that completed it came; None for a file that is read ahead, whose
            events happened at no such moment.
    """

    timestep: Timestep
    at: float | None


class LearnerThread:
    """Takes timesteps and tasks in their order, and hands over a result for each timestep.

    Args:
        progress: live counters.
        batch: most timesteps that cross into the thread at once; twice as many wait.
        threads: of torch.
        stopped: once set, no further timestep is begun; those that wait are counted as dropped.
        max_steps: timesteps after which ``enough`` is called, in the thread; None for no limit.
        enough: see there.

    Attributes:
        session: what the timesteps go through, once :meth:`begin` was called.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        batch: int,
        threads: int,
        stopped: Event,
        max_steps: int | None,
        enough: Callable[[], None],
    ) -> None:
        self.progress = progress
        self.session: Session | None = None
        self._batch = batch
        self._stopped = stopped
        self._max_steps = max_steps
        self._enough = enough
        self._begun = asyncio.Event()
        self._queue: BoundedQueue[Binned | Task] = BoundedQueue(2 * batch)
        self._taken: deque[Binned | Task] = deque()  # from the queue, for the thread
        self._pool = ThreadPoolExecutor(1, "learner", initializer=_set_up, initargs=(threads,))

    # --- what comes in ---------------------------------------------------------------------------------------------

    async def call(self, act: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """``act``, in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: act(*args, **options))

    def begin(self, session: Session) -> None:
        """Let the timesteps go through ``session``."""
        self.session = session
        self.progress.follow(session)
        self._begun.set()

    async def put(self, binned: Binned) -> None:
        """Add a timestep, when there is room; it is dropped, and counted, where the thread has ended."""
        self._drop(await self._queue.put(binned))

    def between_timesteps(self, task: Task) -> bool:
        """Do ``task`` after what was put so far; False when the thread has ended."""
        return self._queue.push(task)

    def end(self) -> None:
        """No more will come."""
        self._queue.end()
        self._begun.set()

    def shut_down(self) -> None:
        """Wait for what the thread still does, and count what it will not do."""
        self._pool.shutdown()
        self._drop(self._taken)

    # --- what becomes of it ----------------------------------------------------------------------------------------

    async def run(self, outlets: Sequence[Outlet]) -> None:
        """From timesteps to results in the outlets, to the end or until stopped."""
        try:
            await self._begun.wait()
            session = self.session
            if session is None:
                return
            while not self._stopped.is_set():
                self._take()
                if not self._taken:
                    # Nothing waits: the time is the rehearsal's, if it wants it.
                    if not self._queue.exhausted and await self.call(session.idle):
                        continue
                    first = await self._queue.get()
                    if first is None:
                        break
                    self._taken.append(first)
                    self._take()
                while self._taken:
                    results, rehearse = await self.call(self._process, session)
                    for result in results:
                        for outlet in outlets:
                            await outlet.put(result)
                    while rehearse:
                        rehearse = await self.call(self._learn_due, session)
            await self.call(self._finish, session)
        finally:
            self._drop(self._queue.close())
            for outlet in outlets:
                outlet.end()

    def _take(self) -> None:
        """As much of what waits as may cross at once."""
        while len(self._taken) < self._batch and (item := self._queue.get_nowait()) is not None:
            self._taken.append(item)

    def _drop(self, given_up: Iterable[Binned | Task]) -> None:
        for item in given_up:
            if isinstance(item, Binned):
                self.progress.ledger.drop("stopped", item.timestep.events)

    def _process(self, session: Session) -> tuple[list[StepResult], bool]:
        """In the thread: go through what was taken, as far as to a timestep that makes rehearsals due.

        Returns:
            The results, and whether to rehearse when they have been handed over: no result waits for a rehearsal.
        """
        results: list[StepResult] = []
        while self._taken:
            item = self._taken.popleft()
            if not isinstance(item, Binned):
                item(session)
                self.progress.follow(session)
                if session.due:
                    return results, True
                continue
            if self._stopped.is_set():
                self._drop([item])
                continue
            since = time.perf_counter() if item.at is None else item.at
            result = session.process(item.timestep)
            self.progress.ledger.binned += item.timestep.events
            self.progress.follow(session)
            result.prediction.latency_s = time.perf_counter() - since
            self.progress.latency.add(result.prediction.latency_s)
            results.append(result)
            if self.progress.timesteps == self._max_steps:
                self._enough()
            if session.due:
                return results, True
        return results, False

    def _learn_due(self, session: Session) -> bool:
        """In the thread: learn what is due, at most some timesteps at once; True while more is due."""
        for _ in range(self._batch):
            if not session.learn_due():
                break
        self.progress.follow(session)
        return session.due

    def _finish(self, session: Session) -> None:
        session.finish()
        while not self._stopped.is_set() and session.learn_due():
            pass
        self.progress.follow(session)


def _set_up(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # Traces that fade through long silences become denormal numbers, which cost many times the time.
    torch.set_flush_denormal(True)
