"""A bounded queue between two threads, with an overflow policy: wait for room, or give up the oldest or the newest."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

OverflowPolicy = Literal["block", "drop-oldest", "drop-newest"]


class BoundedQueue(Generic[T]):
    """A first-in-first-out queue for one producer and one consumer, bounded by total weight.

    An item heavier than the whole capacity is taken when the queue is empty.

    Args:
        capacity: largest total weight that waits.
        policy: what :meth:`put` does when there is no room.

    Attributes:
        weight: of all that waits.
    """

    def __init__(self, capacity: int, policy: OverflowPolicy = "block") -> None:
        self.capacity = capacity
        self.policy = policy
        self.weight = 0
        self._items: deque[tuple[T, int]] = deque()
        self._ended = False
        self._closed = False
        self._woken = False
        self._changed = Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, weight: int = 1, within: float | None = None) -> list[T]:
        """Add an item, in the way of the policy.

        Args:
            item: the item.
            weight: what it takes of the capacity.
            within: longest wait for room under ``block``, seconds; None waits as long as it takes.

        Returns:
            The items that were given up for it: under ``drop-newest``, when no room came in time, or when the queue was
            closed, the item itself; none where there was room.
        """
        until = None if within is None else time.monotonic() + within
        dropped: list[T] = []
        with self._changed:
            while not self._closed and self._items and self.weight + weight > self.capacity:
                if self.policy == "drop-newest":
                    return [item]
                if self.policy == "drop-oldest":
                    dropped.append(self._pop())
                    continue
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return [item]
                self._changed.wait(left)
            if self._closed:
                return [item]
            self._items.append((item, weight))
            self.weight += weight
            self._changed.notify_all()
        return dropped

    def get(self, within: float | None = None) -> T | None:
        """The oldest item, when there is one.

        Args:
            within: longest wait, seconds; None waits as long as it takes.

        Returns:
            None when the queue has ended and is empty (:attr:`exhausted`), when :meth:`wake` was called, or when
            nothing came in time.
        """
        with self._changed:
            if not self._items and not self._ended and not self._woken and within != 0:
                self._changed.wait_for(lambda: self._items or self._ended or self._woken, within)
            self._woken = False
            return self._pop() if self._items else None

    def wake(self) -> None:
        """Let a :meth:`get` that waits, or else the next one, return."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def end(self) -> None:
        """No more items will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """True once the queue has ended and is empty."""
        return self._ended and not self._items

    def close(self) -> list[T]:
        """The consumer is gone: what waits is returned, and what still comes is given back by :meth:`put`."""
        with self._changed:
            items = [item for item, _ in self._items]
            self._closed = self._ended = True
            self._items.clear()
            self.weight = 0
            self._changed.notify_all()
        return items

    def waiting(self) -> list[T]:
        """What waits now, the oldest first."""
        with self._changed:
            return [item for item, _ in self._items]

    def _pop(self) -> T:
        item, weight = self._items.popleft()
        self.weight -= weight
        self._changed.notify_all()
        return item
