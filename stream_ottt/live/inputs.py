"""What reaches into a run while it runs: labels, pausing, commands. All of it acts between two pieces of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from stream_ottt.errors import UsageError
from stream_ottt.learning.session import Session
from stream_ottt.live.control import ControlServer
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.view import Controls, RunSnapshot

T = TypeVar("T")

STATUS_S = 2.0
"""Longest wait for a snapshot of now; after it the latest is told."""


class LiveInputs:
    """Connects labels, a viewer's keys and the control socket to a pipeline.

    Args:
        pipeline: the run's pipeline.
        key_span: how far back a label given by a key reaches, µs.
        labels: whether labels are taken while the run runs.
        save: writes the model, in the learner's thread; returns its path, or raises UsageError where none was named.
        status: the summary so far, from a snapshot.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        key_span: int,
        labels: bool,
        save: Callable[[], str],
        status: Callable[[RunSnapshot], dict[str, Any]],
    ) -> None:
        self._pipeline = pipeline
        self._key_span = key_span
        self._save = save
        self._status = status
        self._control: ControlServer | None = None
        if labels:
            pipeline.source.on_label = pipeline.add_label
        pipeline.view.controls = Controls(label_now=self.label_now if labels else None, toggle=self.toggle)

    def label_now(self, label: int) -> None:
        """Take a label for what is shown now; the session counts what it refuses."""
        self._pipeline.do(lambda session: session.label_now(label, self._key_span))

    def toggle(self) -> None:
        """Pause learning, or resume it."""
        self._pipeline.do(lambda session: session.pause() if session.learns else session.resume())

    def open_control(self, uri: str) -> str:
        """Take commands at ``uri``; returns the address that was bound.

        Raises:
            StreamOtttError: it cannot be used.
        """
        self._control = ControlServer(
            uri,
            {
                "pause": self._pause,
                "resume": self._resume,
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

    async def _do(self, act: Callable[[Session], T]) -> T:
        """``act`` in the learner's thread.

        Raises:
            UsageError: the stream has not begun, or the run is ending; and what ``act`` raises.
        """
        return await asyncio.wrap_future(self._pipeline.do(act))

    async def _pause(self) -> dict[str, Any]:
        def pause(session: Session) -> str:
            session.pause()
            return session.learning

        return {"learning": await self._do(pause)}

    async def _resume(self) -> dict[str, Any]:
        def resume(session: Session) -> str:
            session.resume()
            return session.learning

        return {"learning": await self._do(resume)}

    async def _reset(self) -> dict[str, Any]:
        await self._do(lambda session: session.reset())
        return {}

    async def _save_now(self) -> dict[str, Any]:
        return {"path": await self._do(lambda _: self._save())}

    async def _tell(self) -> dict[str, Any]:
        published = None
        try:
            async with asyncio.timeout(STATUS_S):
                published = await asyncio.wrap_future(self._pipeline.fresh())
        except (TimeoutError, UsageError):
            pass  # busy, not begun or ending: the latest that is known
        return {"status": self._status(self._pipeline.snapshot(published))}
