"""What other threads ask one thread to do between two pieces of its work, each with a future of its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from stream_ottt.errors import UsageError

T = TypeVar("T")

MAX_TASKS = 1000
"""Tasks that may wait; more are refused."""


class Tasks:
    """Tasks in their order; they are added in any thread, and done in one."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, act: Callable[[], T]) -> Future[T]:
        """Have ``act`` done; the future fails with a UsageError where too much waits already."""
        if len(self._waiting) >= MAX_TASKS:
            return failed(UsageError(f"{MAX_TASKS} tasks wait already; ask less often"))
        future: Future[T] = Future()
        self._waiting.append(lambda: _settle(future, act))
        return future

    def do(self) -> None:
        """Do what waits."""
        while self._waiting:
            self._waiting.popleft()()


def failed(error: Exception) -> Future[T]:
    """A future that has failed already."""
    future: Future[T] = Future()
    future.set_exception(error)
    return future


def _settle(future: Future[T], act: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(act())
    except Exception as e:  # whoever asked gets it
        future.set_exception(e)
