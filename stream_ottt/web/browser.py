"""One connected browser: it is sent only what it has room for, and only the latest of each kind."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from stream_ottt.web.message import MAX_BYTES, Command, Ready, Wish, decode_incoming, encode_part
from stream_ottt.web.rest import until_picture
from stream_ottt.web.slot import Slot

IN_FLIGHT = 4
"""Messages that may be under way to a browser that has not said that it has drawn them. The page says so of two at
once, as each word of it wakes the thread."""

AFTER_S = 1e-6
"""How long after the thread wakes for a picture it is sent: results that came are taken first."""

COMMANDS_PER_S = 20
"""Commands that are taken from one browser; more than that in a second ends the connection."""

GOING_AWAY, TOO_MUCH, UNREADABLE = 1001, 1008, 1007
"""WebSocket close codes."""


class Shown(Protocol):
    """What a page shows, and what can be done on it."""

    def slots(self, wish: Wish) -> Iterable[Slot]:
        """The slots that a browser with this wish is sent, in the order of sending."""

    async def carry_out(self, command: Command) -> dict[str, Any]:
        """Do what a command says; returns what the answer holds beside ``ok``.

        Raises:
            StreamOtttError: it cannot be done, with the reason.
        """


Answer = Callable[[Command], Awaitable[dict[str, Any]]]


class RuleBroken(Exception):
    """The browser has sent what ends its connection; the text says what.

    Attributes:
        code: of the WebSocket's close.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Browser:
    """Sends parts to one browser and takes its messages.

    The browser says when it has drawn a message. One that sleeps, hides the page or reads slowly says nothing, so that
    nothing is looked up, encoded or kept for it.

    Args:
        socket: its connection, accepted.
        shown: what the page shows.
        answer: does a command, and never raises.

    Attributes:
        gone: set once the connection has ended.
    """

    def __init__(self, socket: WebSocket, shown: Shown, answer: Answer) -> None:
        self._socket = socket
        self._shown = shown
        self._answer = answer
        self._wish = Wish(kind="wish")
        self._in_flight = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._seen: dict[Slot, int] = {}
        self._answers: deque[bytes] = deque(maxlen=COMMANDS_PER_S)
        self._command_times: deque[float] = deque(maxlen=COMMANDS_PER_S)
        self._ending = False
        self.gone = asyncio.Event()

    @property
    def wish(self) -> Wish:
        """What the browser wants to see."""
        return self._wish

    @property
    def draws(self) -> bool:
        """Whether it can be sent something."""
        return self._has_room.is_set()

    async def run(self) -> None:
        """Serve the browser until it is gone, or breaks the rules."""
        sending = asyncio.create_task(self._send_all())
        receiving = asyncio.create_task(self._receive_all())
        done, pending = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        try:
            for task in done:
                error = task.exception()
                if isinstance(error, RuleBroken):
                    with suppress(WebSocketDisconnect, RuntimeError):  # it has gone by itself
                        await self._socket.close(error.code, reason=str(error))  # now that nothing more is sent
                elif error is not None and not isinstance(error, WebSocketDisconnect):
                    raise error
        finally:
            self.gone.set()

    def finish(self) -> None:
        """Nothing changes any more: send what is newest, also to a page that is hidden and draws later, and close."""
        self._ending = True
        self._has_room.set()

    async def _send_all(self) -> None:
        while True:
            await self._has_room.wait()
            ending = self._ending
            message = b"".join(self._take(at_once=ending))
            if message:
                self._count(+1)
                await self._socket.send_bytes(message)
            if ending:
                await self._socket.close(GOING_AWAY)
                return
            await asyncio.sleep(until_picture(time.perf_counter()) + AFTER_S)

    def _take(self, *, at_once: bool) -> Iterator[bytes]:
        """The parts that the browser does not have yet."""
        while self._answers:
            yield self._answers.popleft()
        seen, self._seen = self._seen, {}
        for slot in self._shown.slots(self._wish):
            version = self._seen[slot] = slot.poll(at_once=at_once)
            if version != seen.get(slot, 0):
                yield slot.part()

    async def _receive_all(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            text = received.get("text")
            try:
                if text is None or len(text) > MAX_BYTES:
                    raise ValueError("expected one JSON object in a text message")
                message = decode_incoming(text)
            except ValueError as e:
                raise RuleBroken(UNREADABLE, str(e)[:100]) from e
            if isinstance(message, Ready):
                self._count(-message.drawn)
            elif isinstance(message, Wish):
                self._wish = message
            elif self._is_flood():
                raise RuleBroken(TOO_MUCH, f"more than {COMMANDS_PER_S} commands in a second")
            else:
                answer = await self._answer(message)
                self._answers.append(encode_part("answer", {"id": message.id, **answer}))

    def _count(self, change: int) -> None:
        """Messages under way have become more or fewer."""
        self._in_flight = max(0, self._in_flight + change)
        if self._in_flight < IN_FLIGHT or self._ending:
            self._has_room.set()
        else:
            self._has_room.clear()

    def _is_flood(self) -> bool:
        now = time.perf_counter()
        full = len(self._command_times) == COMMANDS_PER_S and now - self._command_times[0] < 1
        self._command_times.append(now)
        return full
