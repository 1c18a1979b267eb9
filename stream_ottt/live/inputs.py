"""What reaches into a run while it runs: labels, pausing, commands. All of it acts between two pieces of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from stream_ottt.errors import UsageError
from stream_ottt.learning.session import Session
from stream_ottt.live.control import ControlServer
from stream_ottt.pipeline.pace import parse_speed
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.playback import Playback
from stream_ottt.pipeline.tasks import failed
from stream_ottt.pipeline.view import Controls, RunSnapshot

FASTEST = 1000
"""Highest speed that can be asked for, but for as fast as possible."""
STATUS_S = 2.0
"""Longest wait for a snapshot of now; after it the latest is told."""


class LiveInputs:
    """Connects labels, a viewer's keys and the control socket to a pipeline.

    Args:
        pipeline: the run's pipeline.
        key_span: how far back a label given by a key reaches, µs.
        labels: whether labels are taken while the run runs.
        save: writes the model, in the learner's thread; returns its path. None where none was named.
        checkpoint: writes a checkpoint; None where none are written.
        status: the summary so far, from a snapshot.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        key_span: int,
        labels: bool,
        save: Callable[[], str] | None,
        checkpoint: Callable[[], Future[str]] | None = None,
        status: Callable[[RunSnapshot], dict[str, Any]],
    ) -> None:
        self._pipeline = pipeline
        self._key_span = key_span
        self._save = save
        self._checkpoint = checkpoint
        self._status = status
        self._control: ControlServer | None = None
        if labels:
            pipeline.source.on_label = pipeline.add_label
        pipeline.view.controls = Controls(
            label_now=self.label_now if labels else None,
            label_last=self.label_last if labels else None,
            correct=self.correct if labels else None,
            retract=self.retract if labels else None,
            add_class=self.add_class,
            pause=self.pause,
            resume=self.resume,
            toggle=self.toggle,
            reset=self.reset,
            save=None if save is None else self.save,
            checkpoint=None if checkpoint is None else self.checkpoint,
            hold=self.hold if pipeline.reader.playback else None,
            step=self.step if pipeline.reader.playback else None,
            speed=self.speed if pipeline.reader.playback else None,
            ask=pipeline.do,
            stop=self.stop,
            watch=pipeline.learning.watch,
        )

    # --- what can be done, in the learner's thread; see Controls ---------------------------------------------------

    def label_now(self, label: int) -> Future[int]:
        """Take a label for what is shown now; the session counts what it refuses."""
        return self.label_last(label, self._key_span)

    def label_last(self, label: int, span: int) -> Future[int]:
        """Take a label for the last ``span`` µs."""
        return self._pipeline.do(lambda session: session.labels.now(label, span))

    def correct(self, name: int | str, at: int | None) -> Future[tuple[int, int]]:
        """Give the latest label, or that at a time (µs), another class."""

        def act(session: Session) -> tuple[int, int]:
            wrong = session.labels.correct(name, at)
            return wrong.t_start, wrong.t_end

        return self._pipeline.do(act)

    def retract(self, at: int | None) -> Future[tuple[int, int]]:
        """Take the latest label back, or that at a time (µs)."""

        def act(session: Session) -> tuple[int, int]:
            wrong = session.labels.retract(at)
            return wrong.t_start, wrong.t_end

        return self._pipeline.do(act)

    def add_class(self, name: str) -> Future[int]:
        """Tell one class more apart."""
        return self._pipeline.do(lambda session: session.classes.add(name))

    def pause(self) -> Future[str]:
        """Pause learning."""
        return self._pipeline.do(_pause)

    def resume(self) -> Future[str]:
        """Learn again."""
        return self._pipeline.do(_resume)

    def toggle(self) -> Future[str]:
        """Pause learning, or resume it."""
        return self._pipeline.do(lambda session: _pause(session) if session.learns else _resume(session))

    def reset(self) -> Future[None]:
        """Put the network's state at rest."""
        return self._pipeline.do(lambda session: session.reset())

    def save(self) -> Future[str]:
        """Write the model."""
        save = self._save
        if save is None:
            return failed(UsageError("no file to save the model in; start the run with --save FILE"))
        return self._pipeline.do(lambda _: save())

    def checkpoint(self) -> Future[str]:
        """Write a checkpoint."""
        if self._checkpoint is None:
            return failed(UsageError("no checkpoints are written; start the run with --checkpoint FOLDER"))
        if self._pipeline.learning.session is None:
            return failed(UsageError("the stream has not begun: no packet has come yet"))
        return self._checkpoint()

    # --- the playback of a file ------------------------------------------------------------------------------------

    def hold(self, on: bool) -> Future[None]:
        """Stand still, or go on."""
        return self._play(lambda playback: playback.hold(on))

    def step(self) -> Future[None]:
        """Go on to the next timestep."""
        return self._play(lambda playback: playback.step())

    def speed(self, value: float | None) -> Future[None]:
        """Play at so many stream seconds per second; 0 for as fast as possible."""
        if value is None or not 0 <= value <= FASTEST:
            return failed(UsageError(f"speed: expected a number from 0, for as fast as possible, to {FASTEST}"))
        return self._play(lambda playback: playback.set_speed(value or None))

    def _play(self, act: Callable[[Playback], None]) -> Future[None]:
        playback = self._pipeline.reader.playback
        if playback is None:
            return failed(UsageError("what comes live can be neither held nor stepped nor played at another speed"))
        act(playback)
        return _done()

    def stop(self) -> Future[None]:
        """End the run in order."""
        self._pipeline.stop()
        return _done()

    # --- commands from a socket --------------------------------------------------------------------------------------

    def open_control(self, uri: str) -> str:
        """Take commands at ``uri``; returns the address that was bound.

        Raises:
            StreamOtttError: it cannot be used.
        """
        self._control = ControlServer(
            uri,
            {
                "add_class": self._add_class,
                "label": self._label,
                "correct": self._correct,
                "retract": self._retract,
                "pause": self._pause,
                "resume": self._resume,
                "reset": self._reset,
                "save": self._save_now,
                "checkpoint": self._checkpoint_now,
                "hold": self._hold,
                "step": self._step,
                "speed": self._set_speed,
                "status": self._tell,
            },
        )
        self._control.start()
        return self._control.endpoint

    async def close(self) -> None:
        """No more commands."""
        if self._control is not None:
            await self._control.close()

    async def _add_class(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"label": await asyncio.wrap_future(self.add_class(str(_class_of(asked))))}

    async def _label(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._check_labels("label")
        name, span = _class_of(asked), asked.get("last", self._key_span)
        if type(span) is not int or span <= 0:
            raise UsageError(f'label: "last" = {str(span)[:40]!r}; expected a whole number of µs above 0')
        act = self._pipeline.do(lambda session: session.labels.now(session.classes.expect(name), span))
        return {"timesteps": await asyncio.wrap_future(act)}

    async def _correct(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._check_labels("correct")
        start, end = await asyncio.wrap_future(self.correct(_class_of(asked), _time_of(asked)))
        return {"t0": start, "t1": end}

    async def _retract(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._check_labels("retract")
        start, end = await asyncio.wrap_future(self.retract(_time_of(asked)))
        return {"t0": start, "t1": end}

    def _check_labels(self, command: str) -> None:
        if self._pipeline.view.controls.correct is None:
            raise UsageError(
                f"{command}: this run takes no labels while it runs; say its classes with --labels.classes"
            )

    async def _pause(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"learning": await asyncio.wrap_future(self.pause())}

    async def _resume(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"learning": await asyncio.wrap_future(self.resume())}

    async def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.wrap_future(self.reset())
        return {}

    async def _save_now(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"path": await asyncio.wrap_future(self.save())}

    async def _checkpoint_now(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"path": await asyncio.wrap_future(self.checkpoint())}

    async def _hold(self, asked: dict[str, Any]) -> dict[str, Any]:
        value = asked.get("value", True)
        if value not in (True, False, "on", "off"):
            raise UsageError("hold: expected on or off")
        await asyncio.wrap_future(self.hold(value in (True, "on")))
        return {}

    async def _step(self, _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.wrap_future(self.step())
        return {}

    async def _set_speed(self, asked: dict[str, Any]) -> dict[str, Any]:
        await asyncio.wrap_future(self.speed(parse_speed(str(asked.get("value"))) or 0.0))
        return {}

    async def _tell(self, _: dict[str, Any]) -> dict[str, Any]:
        published = None
        try:
            async with asyncio.timeout(STATUS_S):
                published = await asyncio.wrap_future(self._pipeline.learning.fresh())
        except (TimeoutError, UsageError):
            pass  # busy, not begun or ending: the latest that is known
        return {"status": self._status(self._pipeline.snapshot(published))}


def _class_of(asked: dict[str, Any]) -> int | str:
    """The class that a command is about."""
    name = asked.get("class")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise UsageError(f'{asked.get("command")}: needs the name or number of a class, as "class"')
    return name


def _time_of(asked: dict[str, Any]) -> int | None:
    """The time that a command is about, µs; None where it says none."""
    at = asked.get("t")
    if at is not None and type(at) is not int:
        raise UsageError(f'{asked.get("command")}: "t" = {str(at)[:40]!r}; expected a whole number of µs')
    return at


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _pause(session: Session) -> str:
    session.pause()
    return session.learning


def _resume(session: Session) -> str:
    session.resume()
    return session.learning
