"""One sink's end of the pipeline: a thread and a queue of its own, and what becomes of it when it fails or stalls.

A sink runs in an event loop in its own thread, so that nothing it does, such as a write to a pipe that nobody reads,
holds up the learner, the run's event loop or another sink. What must be in the main thread (a window) is run there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any

from stream_ottt.events.timestep import StepResult
from stream_ottt.log import Say
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.view import RunView
from stream_ottt.state import State

WAITING = 256
"""Results that wait for a sink."""
STALLED_S = 5.0
"""A sink that takes nothing for so long holds up a lossless run no longer, until it takes something again."""
SLICE_S = 0.05
LAST_TRY_S = 0.3
"""What a sink that fails has left when the run ends."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Pause after a sink's first failure, and the longest; it doubles with each."""


class Mark(Future[State | None]):
    """A place in the stream of results, and what the sink settled there."""

    @classmethod
    def missed(cls) -> Mark:
        """One at which nothing was settled."""
        mark = cls()
        mark.set_result(None)
        return mark


class SinkWriter:
    """Feeds one sink.

    Args:
        sink: the sink.
        name: what it is called in messages.
        lossy: True gives up results rather than let a slow sink hold up a live stream.
        say: told in one line when it fails or stalls, and when it works again.

    Attributes:
        failure: message of its first failure, or None.
        working: False from a failure until it takes something again.
    """

    def __init__(self, sink: Sink, name: str, *, lossy: bool, say: Say) -> None:
        self.sink = sink
        self.name = name
        self.failure: str | None = None
        self.working = True
        self._left_out = 0  # given up by who hands over
        self._not_taken = 0  # by the sink's thread
        self._queue: BoundedQueue[StepResult | Mark] = BoundedQueue(WAITING, "drop-oldest" if lossy else "block")
        self._full_since: float | None = None
        self._giving_since: float | None = None
        self._marked = Mark.missed()  # the last
        self._opened: Future[None] = Future()
        self._drained: Future[None] = Future()
        self._closing: Future[dict[str, Any] | None] = Future()
        self._closed: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more: asyncio.Event | None = None
        self._waits = False  # to be woken when something comes
        self._say = say
        self._hurry = False
        self._pause_s = FIRST_PAUSE_S
        self._thread: Thread | None = None
        self._task: asyncio.Task[None] | None = None  # of a sink in the main thread

    @property
    def missed(self) -> int:
        """Results that it did not get."""
        return self._left_out + self._not_taken

    # --- from the main thread --------------------------------------------------------------------------------------

    async def open(self, run: RunView) -> None:
        """Start, and open the sink.

        Raises:
            OutputError: it cannot be opened; and whatever else the sink raises.
        """
        if self.sink.in_main_thread:
            self._task = asyncio.create_task(self._live(run))
        else:
            self._thread = Thread(target=lambda: asyncio.run(self._live(run)), name=f"sink {self.name}", daemon=True)
            self._thread.start()
        await asyncio.wrap_future(self._opened)

    async def drain(self, within: float) -> None:
        """Wait until the sink has taken all it was given, at most ``within`` seconds; the rest counts as missed.

        One that fails or stands has had its time: it gets a last try, and the rest of the time if that succeeds.
        """
        self._hurry, fails = True, self._fails()
        self._wake(at_once=True)
        drained = await _wait_for(self._drained, min(within, LAST_TRY_S) if fails else within)
        if fails and not drained and not self._fails():
            drained = await _wait_for(self._drained, within)
        if not drained:
            self._give_up(self._queue.close())
            self._fail("takes nothing at the end" if fails else f"has not taken all results {within:g} s after the end")

    async def close(self, summary: dict[str, Any] | None, within: float) -> None:
        """Close the sink; one that does not come back in time is left behind."""
        self._queue.end()
        self._wake(at_once=True)
        if not self._closing.done():
            self._closing.set_result(summary)
        had_its_time = self._hurry and not self._drained.done()
        if not await _wait_for(self._closed, 0.1 if had_its_time else within):
            self._fail(f"has not closed within {within:g} s")
            if self._thread is not None:
                self._thread.name = f"left behind: sink {self.name}"
        elif self._thread is not None:
            self._thread.join()

    # --- from the learner's thread ---------------------------------------------------------------------------------

    def put(self, result: StepResult) -> bool:
        """Hand over a result.

        Returns:
            False when there is no room yet, and the call is to be repeated: a lossless run waits for its sinks, but not
            for one that fails or stalls.
        """
        patient = self.working and not self._stalled()
        given_up = self._queue.put(result, within=SLICE_S if patient else 0)
        if self._queue.policy == "block" and given_up and patient and not self._stalled():
            self._full_since = self._full_since or time.monotonic()
            return False
        if given_up and self._stalled():
            self._fail(f"has taken nothing for {STALLED_S:g} s; results are left out until it does")
        elif not given_up:
            self._full_since = None
        self._give_up(given_up)
        self._wake()
        return True

    def mark(self) -> Mark:
        """What the sink settles once it has taken what it was given so far; None where it does not come to that."""
        if not self._marked.done():  # a sink that does not move gets no more of them
            return Mark.missed()
        self._marked = Mark()
        self._give_up(self._queue.put(self._marked, 0, within=0))
        self._wake()
        return self._marked

    def _give_up(self, items: Iterable[StepResult | Mark]) -> None:
        for item in items:
            if isinstance(item, Mark):
                item.set_result(None)
            else:
                self._left_out += 1

    def end(self) -> None:
        """No more results will come."""
        self._queue.end()
        self._wake(at_once=True)

    def _stalled(self) -> bool:
        return self._full_since is not None and time.monotonic() - self._full_since > STALLED_S

    def _fails(self) -> bool:
        """Whether it has failed and takes nothing yet, or has stood at one result for long."""
        since = self._giving_since
        return not self.working or (since is not None and time.monotonic() - since > STALLED_S)

    def _wake(self, *, at_once: bool = False) -> None:
        """Let the sink's thread look for more: if it waits for that, or also while the sink rests."""
        if (self._waits or at_once) and self._loop is not None and self._more is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._more.set)

    # --- in the sink's own thread ----------------------------------------------------------------------------------

    async def _live(self, run: RunView) -> None:
        self._loop, self._more = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self.sink.open(run)
        except BaseException as e:
            self._opened.set_exception(e)
            return
        self._opened.set_result(None)
        try:
            while (item := await self._next()) is not None:
                if isinstance(item, Mark):
                    await self._settle(item)
                else:
                    await self._give(item)
        finally:
            _settle(self._drained)
            await self._close(await asyncio.wrap_future(self._closing))

    async def _settle(self, mark: Mark) -> None:
        try:
            mark.set_result(await self.sink.settle())
        except Exception as e:
            self._fail(str(e) or type(e).__name__)
            mark.set_result(None)

    async def _next(self) -> StepResult | Mark | None:
        assert self._more is not None
        while True:
            self._waits = True
            self._more.clear()
            if (result := self._queue.get(0)) is not None or self._queue.exhausted:
                self._waits = False
                return result
            if rest := self.sink.rest():
                self._waits = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(rest):
                        await self._more.wait()
            else:
                await self._more.wait()

    async def _give(self, result: StepResult) -> None:
        """Give the sink a result, and once more after a failure; then go on with the next."""
        for _ in range(2):
            self._giving_since = time.monotonic()
            try:
                await self.sink.consume(result)
            except Exception as e:  # whatever a sink raises is its own affair
                self._fail(str(e) or type(e).__name__)
                await self._pause()
            else:
                self._recover()
                return
            finally:
                self._giving_since = None
        self._not_taken += 1

    async def _pause(self) -> None:
        """Before the next attempt, longer each time; not at the end of the run."""
        assert self._more is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                while not self._hurry:
                    self._waits = True
                    self._more.clear()
                    await self._more.wait()
        self._waits = False
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _fail(self, text: str) -> None:
        if self.failure is None:
            self.failure = text
            self._say(f"sink {self.name}: {text}", "sink", level=logging.WARNING, sink=self.name, working=False)
        self.working = False

    def _recover(self) -> None:
        if not self.working:
            text = f"sink {self.name}: works again; {self.missed} results were missed"
            self._say(text, "sink", sink=self.name, working=True, missed=self.missed)
            self.working = True
            self._pause_s = FIRST_PAUSE_S

    async def _close(self, summary: dict[str, Any] | None) -> None:
        try:
            await self.sink.close(summary)
        except Exception as e:
            self._fail(str(e) or type(e).__name__)
        _settle(self._closed)


async def _wait_for(future: Future[None], within: float) -> bool:
    """Whether ``future`` is done within so many seconds; it stays as it is, for a thread that comes back later."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # nobody waits any more, and the loop has ended
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await done.wait()
    return future.done()


def _settle(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
