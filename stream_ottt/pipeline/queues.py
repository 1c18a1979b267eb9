"""A bounded queue of stream parts with an overflow policy: waiting for room, or giving up the oldest or the newest."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

OverflowPolicy = Literal["block", "drop-oldest", "drop-newest"]


class BoundedQueue(Generic[T]):
    """A first-in-first-out queue for one producer and one consumer, bounded by total weight.

    An item heavier than the whole capacity is taken when the queue is empty.

    Args:
        capacity: largest total weight that waits.
        policy: what :meth:`put` does when there is no room.
    """

    def __init__(self, capacity: int, policy: OverflowPolicy = "block") -> None:
        self.capacity = capacity
        self.policy = policy
        self.weight = 0
        self._items: deque[tuple[T, int]] = deque()
        self._ended = False
        self._closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: T, weight: int = 1) -> list[T]:
        """Add an item, in the way of the policy.

        Returns:
            The items that were given up for it: under ``drop-newest``, or when the queue was closed, the item itself;
            none under ``block``.
        """
        dropped: list[T] = []
        while not self._closed and self._items and self.weight + weight > self.capacity:
            if self.policy == "drop-newest":
                return [item]
            if self.policy == "drop-oldest":
                oldest, own = self._items.popleft()
                self.weight -= own
                dropped.append(oldest)
            else:
                await self._change()
        if self._closed:
            return [*dropped, item]
        self._items.append((item, weight))
        self.weight += weight
        self._changed.set()
        return dropped

    def push(self, item: T) -> bool:
        """Add an item of no weight, whatever waits before it; False when the queue was closed."""
        if self._closed:
            return False
        self._items.append((item, 0))
        self._changed.set()
        return True

    def end(self) -> None:
        """No more items will come."""
        self._ended = True
        self._changed.set()

    async def get(self) -> T | None:
        """The oldest item; None once the queue has ended and is empty."""
        while not self._items:
            if self._ended:
                return None
            await self._change()
        return self._pop()

    def get_nowait(self) -> T | None:
        """The oldest item, or None when there is none now."""
        return self._pop() if self._items else None

    @property
    def exhausted(self) -> bool:
        """True once the queue has ended and is empty."""
        return self._ended and not self._items

    def close(self) -> list[T]:
        """The consumer is gone: what waits is returned, and what still comes is given back by :meth:`put`."""
        items = [item for item, _ in self._items]
        self._closed = self._ended = True
        self._items.clear()
        self.weight = 0
        self._changed.set()
        return items

    def _pop(self) -> T:
        item, weight = self._items.popleft()
        self.weight -= weight
        self._changed.set()
        return item

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
