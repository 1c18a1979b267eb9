"""Threads: one that an event loop can wait for, and what torch needs in the one that it works in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread


def start_thread(name: str, act: Callable[[], None]) -> asyncio.Future[None]:
    """Run ``act`` in a thread that does not keep the process alive; the future is done when it has ended."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    def body() -> None:
        try:
            act()
        finally:
            with suppress(RuntimeError):  # nobody waits any more, and the loop has ended
                loop.call_soon_threadsafe(settle)

    Thread(target=body, name=name, daemon=True).start()
    return done


def set_up_torch(threads: int) -> None:
    """Torch's settings of this thread."""
    import torch

    from stream_ottt.engine.precision import flush_denormals

    torch.set_num_threads(threads)
    flush_denormals()
