"""What reaches into a run while it runs: labels, pausing, commands. All of it acts between two timesteps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from stream_ottt.errors import StreamOtttError, UsageError
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.session import Session
from stream_ottt.live.control import ControlServer
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.progress import Progress

T = TypeVar("T")


class LiveInputs:
    """Connects labels, a viewer's keys and the control socket to a pipeline.

    Args:
        pipeline: the run's pipeline.
        progress: its counters; the viewers' hooks are put there.
        key_span: how far back a label given by a key reaches, µs.
        labels: whether labels are taken while the run runs.
        save: writes the model, in the learner's thread; returns its path, or raises UsageError where none was named.
        status: the summary so far.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        progress: Progress,
        *,
        key_span: int,
        labels: bool,
        save: Callable[[], str],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self._pipeline = pipeline
        self._progress = progress
        self._key_span = key_span
        self._save = save
        self._status = status
        self._control: ControlServer | None = None
        if labels:
            pipeline.source.on_label = self.add_label
            progress.label_hook = self.label_now
        progress.pause_hook = self.toggle

    def add_label(self, interval: LabelInterval) -> None:
        """Take a label that came with the stream, after the packets that came before it."""
        self._pipeline.after_what_came(lambda session: self._take(session, lambda: session.add_label(interval)))

    def label_now(self, label: int) -> None:
        """Take a label for what is shown now."""
        self._pipeline.between_timesteps(
            lambda session: self._take(session, lambda: session.label_now(label, self._key_span))
        )

    def toggle(self) -> None:
        """Pause learning, or resume it."""
        self._pipeline.between_timesteps(lambda session: self._toggle(session))

    def _toggle(self, session: Session) -> None:
        if session.learns:
            session.pause()
        elif session.learning == "paused":
            session.resume()
        self._progress.learning = session.learning

    def open_control(self, uri: str) -> str:
        """Take commands at ``uri``; returns the address that was bound.

        Raises:
            StreamOtttError: it cannot be used.
        """
        self._control = ControlServer(
            uri,
            {
                "pause": lambda: self._learn(False),
                "resume": lambda: self._learn(True),
                "reset": self._reset,
                "save": self._save_now,
                "status": self._tell,
            },
        )
        self._control.start()
        return self._control.endpoint

    async def close(self) -> None:
        """No more commands."""
        if self._control is not None:
            await self._control.close()

    def _take(self, session: Session, act: Callable[[], object]) -> None:
        """In the learner's thread: a label that cannot be used is counted, and ends nothing."""
        progress = self._progress
        with suppress(UsageError):
            act()
            progress.learning = session.learning

    async def _do(self, act: Callable[[Session], T]) -> T:
        """``act`` in the learner's thread.

        Raises:
            UsageError: the stream has not begun, or the run is ending; and what ``act`` raises.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: StreamOtttError | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def task(session: Session) -> None:
            result, error = None, None
            try:
                result = act(session)
            except StreamOtttError as e:
                error = e
            loop.call_soon_threadsafe(settle, result, error)

        if self._pipeline.session is None:
            raise UsageError("the stream has not begun: no packet has come yet")
        if not self._pipeline.between_timesteps(task):
            raise UsageError("the run is ending")
        return await done

    async def _learn(self, on: bool) -> dict[str, Any]:
        def act(session: Session) -> None:
            if on:
                session.resume()
            else:
                session.pause()
            self._progress.learning = session.learning

        await self._do(act)
        return {"learning": self._progress.learning}

    async def _reset(self) -> dict[str, Any]:
        await self._do(lambda session: session.reset())
        return {}

    async def _save_now(self) -> dict[str, Any]:
        return {"path": await self._do(lambda _: self._save())}

    async def _tell(self) -> dict[str, Any]:
        return {"status": self._status()}
