"""Commands to a run while it runs: a REP socket that takes one JSON object and answers with one (docs/feed.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import zmq

from stream_ottt.errors import StreamOtttError, UsageError
from stream_ottt.live import feed, topics
from stream_ottt.live.commands import check_address
from stream_ottt.live.memory_guard import LOOK_S, MemoryGuard
from stream_ottt.live.zmq_socket import FeedSocket, SocketOptions
from stream_ottt.registry import near_miss, split_uri

MAX_GROWTH = 512 << 20
"""By how many bytes the process may grow before all who are connected are cut off."""
RETRY_S = 0.1
"""Pause after an error of the socket."""

Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""What a command does, from the object that was sent; returns what the answer holds beside ``ok``."""


class ControlConfig(SocketOptions):
    """Options of the control socket; it binds unless told otherwise."""

    bind: bool = True


class ControlServer:
    """Answers commands until closed.

    Args:
        uri: ``zmq+rep://HOST:PORT``, with the options of a socket as a query.
        commands: what each name does.

    Raises:
        UsageError: the address cannot be used.
    """

    def __init__(self, uri: str, commands: dict[str, Command]) -> None:
        scheme, rest, options = split_uri(uri)
        address = f"{scheme}:{rest}"
        check_address(uri)
        self._link = FeedSocket(address, ControlConfig.load(dict(options), where="control"), max_bytes=1 << 16)
        self._commands = commands
        self._task: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> str:
        """Where commands can be sent."""
        return self._link.endpoint

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Stop; a command that is under way gets no answer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._link.release()
        await asyncio.to_thread(self._link.close, linger_ms=500)

    async def _serve(self) -> None:
        """Answer until cancelled; an error of the socket costs one answer."""
        guard, closed = MemoryGuard(MAX_GROWTH), False
        while True:
            try:
                if closed or guard.exceeded():
                    closed = True  # until it could be opened
                    self._link.open_anew()
                    guard.begin_again()
                    closed = False
                if not await self._link.wait(zmq.POLLIN, LOOK_S):
                    continue
                frames = self._link.socket.recv_multipart()
                answer = await self._answer(frames)
                self._link.socket.send(json.dumps(answer).encode())
            except (zmq.ZMQError, StreamOtttError):
                await asyncio.sleep(RETRY_S)

    async def _answer(self, frames: list[bytes]) -> dict[str, Any]:
        """What to answer; whatever was sent, and whatever goes wrong with it, there is an answer."""
        try:
            if len(frames) != 1:
                raise topics.FeedError(f"{len(frames)} frames, where a command has 1")
            asked = feed.unpack_json(frames[0])
            name = asked.get("command")
            if not isinstance(name, str) or name not in self._commands:
                raise UsageError(f"unknown command {_shown(name)}{near_miss(str(name)[:40], self._commands)}")
            answer = {"v": feed.VERSION, "ok": True, **await self._commands[name](asked)}
            json.dumps(answer)
            return answer
        except (topics.FeedError, StreamOtttError) as e:
            return {"v": feed.VERSION, "ok": False, "error": str(e)}
        except Exception as e:  # a fault of the program, which must not end the answering
            return {"v": feed.VERSION, "ok": False, "error": f"the command failed: {type(e).__name__}: {e}"}


def _shown(value: object) -> str:
    """At most forty characters of a value, printable in ASCII."""
    return ascii(value)[:40]
