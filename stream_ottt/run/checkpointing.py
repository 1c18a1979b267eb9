"""Checkpoints while a run runs: asked for in time, taken between two timesteps, written by a thread of their own.

A checkpoint is a consistent cut. A mark travels with the stream from the binner to the learner (Chandy and Lamport,
1985; the barriers of Flink). It carries the state of source and binner after a packet, and arrives when the learner has
taken all timesteps before it. The learner's thread then copies its own state, and sends the mark on to the sinks, which
say how far they have written. What lay behind the mark is read again when the run is resumed. Only copies are made in
the learner's thread; the disk is waited for here. One checkpoint at most is on its way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Lock, Thread
from typing import Any

from stream_ottt.errors import ModelError, OutputError, StreamOtttError, UsageError
from stream_ottt.log import Say
from stream_ottt.pipeline.cut import Cut
from stream_ottt.pipeline.view import CheckpointState
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.state import State

SINKS_S = 5.0
"""Longest wait for the sinks to come to a mark; what one that stalls has written is then not known."""


class Checkpointing:
    """Takes cuts of a run and writes them; a :class:`stream_ottt.pipeline.cut.Keeper`.

    Args:
        folder: where to, opened.
        every_s: seconds from one checkpoint to the next; None leaves it to others to send marks.
        ask: sends a mark along with the stream.
        about: what the manifest says of the run, in this moment.
        say: told of each checkpoint, when they fail, and when they work again.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        *,
        every_s: float | None,
        ask: Callable[[], None],
        about: Callable[[], dict[str, Any]],
        say: Say,
    ) -> None:
        self._state = CheckpointState()
        self._folder = folder
        self._every_s = every_s
        self._ask = ask
        self._about = about
        self._say = say
        self._working = True
        self._busy = False
        self._asked: list[Future[str]] = []  # for the next cut
        self._served: list[Future[str]] = []  # with the one that is on its way
        self._lock = Lock()
        self._cuts: Queue[Cut | None] = Queue(2)
        self._thread = Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, within: float) -> None:
        """Write what is on its way, and end; waits so many seconds at most."""
        with suppress(Full):
            self._cuts.put_nowait(None)
        self._thread.join(within)
        self._served, self._asked = [*self._served, *self._asked], []
        if not self._thread.is_alive():
            self._answer(UsageError("the run is ending"))

    def state(self) -> CheckpointState:
        """What has become of them; from any thread."""
        return self._state

    def now(self) -> Future[str]:
        """Write one as soon as may be, from any thread; gives its path, or fails with an error that says why not."""
        future: Future[str] = Future()
        with self._lock:
            self._asked.append(future)
        self._ask()
        return future

    # --- in the learner's thread -----------------------------------------------------------------------------------

    def wants(self) -> bool:
        """Whether none is on its way."""
        return not self._busy

    def take(self, cut: Cut) -> None:
        """Take a cut, to be written."""
        self._busy = True
        with self._lock:
            self._served, self._asked = self._asked, []
        self._cuts.put_nowait(cut)

    # --- in a thread of its own ------------------------------------------------------------------------------------

    def _run(self) -> None:
        due = None if self._every_s is None else time.monotonic() + self._every_s
        while True:
            try:
                cut = self._cuts.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except Empty:
                assert self._every_s is not None
                due = time.monotonic() + self._every_s
                self._ask()
                continue
            if cut is None:
                return
            self._answer(self.write(cut))
            self._busy = False
            if self._asked:  # while this one was on its way
                self._ask()

    def _answer(self, found: Path | StreamOtttError) -> None:
        """Tell those who had asked when the cut was taken what came of it."""
        while self._served:
            if isinstance(found, Path):
                self._served.pop().set_result(str(found))
            else:
                self._served.pop().set_exception(found)

    def write(self, cut: Cut) -> Path | StreamOtttError:
        """Write a cut; returns the file, or why it is not there, which is also said, but once."""
        try:
            sinks = self._of_sinks(cut.sinks)
            path = self._folder.write(cut.state, sinks, {**self._about(), "timesteps": cut.timesteps})
        except (OSError, ModelError) as e:
            self._state = replace(self._state, failed=self._state.failed + 1)
            why = f"{self._folder.path}: {e.strerror or e}" if isinstance(e, OSError) else str(e)
            if self._working:
                text = f"checkpoint: {why}; the run goes on and tries again"
                self._say(text, "checkpoint", level=logging.WARNING, ok=False, timesteps=cut.timesteps)
            self._working = False
            return OutputError(f"checkpoint: {why}")
        again = "" if self._working else "again, "
        text = f"checkpoint: written {again}after {cut.timesteps} timesteps"
        self._say(text, "checkpoint", quiet=self._working, ok=True, timesteps=cut.timesteps)
        self._working = True
        written = self._state.written + 1
        self._state = replace(self._state, written=written, at=time.time(), timesteps=cut.timesteps)
        return path

    @staticmethod
    def _of_sinks(futures: dict[str, Future[State | None]]) -> dict[str, State | None]:
        until = time.monotonic() + SINKS_S
        found: dict[str, State | None] = {}
        for name, future in futures.items():
            try:
                found[name] = future.result(max(0.0, until - time.monotonic()))
            except TimeoutError:
                found[name] = None
        return found
