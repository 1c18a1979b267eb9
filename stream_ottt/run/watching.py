"""Whoever looks at a run again and again while it runs: the log, and the supervisor that started it."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from stream_ottt.log import warn
from stream_ottt.pipeline.view import RunView
from stream_ottt.run.journal import Journal
from stream_ottt.run.notify import Notifier

LOOK_S = 0.25
"""Time from one look to the next."""


class Watching:
    """Looks at the run while entered, in the run's own event loop: one that hangs is not seen to get on.

    Args:
        run: the run.
        live: whether its source is live.
    """

    def __init__(self, run: RunView, *, live: bool = False) -> None:
        self.journal = Journal(run.facts.source if live else None)
        self._run = run
        self._notifier = Notifier()
        self._faulty = False
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._notifier.ready()
        self._looking = asyncio.create_task(self._look_regularly())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._looking is not None
        self._notifier.stopping()
        self._looking.cancel()
        (fault,) = await asyncio.gather(self._looking, return_exceptions=True)
        if isinstance(fault, Exception):  # what was learned is to be written all the same
            warn(f"the run was not looked at to its end: {type(fault).__name__}: {fault}")

    def _say_fault(self, fault: Exception) -> None:
        if not self._faulty:
            self._faulty = True
            warn(f"the run could not be looked at: {type(fault).__name__}: {fault}; it goes on")

    async def _look_regularly(self) -> None:
        every, due = self._notifier.every_s, 0.0
        while True:
            try:
                snapshot = self._run.snapshot()
                self.journal.look(snapshot)
            except Exception as e:  # the next look may be better, and the beat must not stop for a line of the log
                self._say_fault(e)
                await asyncio.sleep(LOOK_S)
                continue
            if every is not None and time.monotonic() >= due:
                due = time.monotonic() + every
                self._notifier.look(snapshot)
            await asyncio.sleep(LOOK_S if every is None else min(LOOK_S, every))
