"""The bounded queue and its overflow policies."""

from __future__ import annotations

import asyncio

import pytest

from stream_ottt.pipeline.queues import BoundedQueue


def test_block_waits_for_room_and_keeps_the_order() -> None:
    async def main() -> list[int]:
        queue: BoundedQueue[int] = BoundedQueue(3)
        got: list[int] = []
        largest = 0

        async def produce() -> None:
            nonlocal largest
            for i in range(20):
                assert await queue.put(i) == []
                largest = max(largest, queue.weight)
            queue.end()

        async def consume() -> None:
            while (item := await queue.get()) is not None:
                got.append(item)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
        assert largest == 3
        return got

    assert asyncio.run(asyncio.wait_for(main(), 5)) == list(range(20))


def test_dropping_policies_never_wait_and_give_back_what_they_drop() -> None:
    async def main() -> None:
        oldest: BoundedQueue[str] = BoundedQueue(10, "drop-oldest")
        assert await oldest.put("a", 4) == []
        assert await oldest.put("b", 4) == []
        assert await oldest.put("c", 7) == ["a", "b"]
        assert await oldest.put("huge", 99) == ["c"]
        assert await oldest.get() == "huge"
        newest: BoundedQueue[str] = BoundedQueue(10, "drop-newest")
        assert await newest.put("a", 8) == []
        assert await newest.put("b", 3) == ["b"]
        assert newest.weight == 8 and await newest.get() == "a"

    asyncio.run(asyncio.wait_for(main(), 5))


def test_closing_gives_back_what_waits_and_frees_a_waiting_producer() -> None:
    async def main() -> None:
        queue: BoundedQueue[int] = BoundedQueue(1)
        await queue.put(1)
        waiting = asyncio.create_task(queue.put(2))
        await asyncio.sleep(0)
        assert queue.close() == [1]
        assert await waiting == [2]
        assert await queue.put(3) == [3]
        assert await queue.get() is None
        assert queue.exhausted

    asyncio.run(asyncio.wait_for(main(), 5))


@pytest.mark.parametrize("policy", ["block", "drop-oldest", "drop-newest"])
def test_an_item_heavier_than_the_queue_is_taken_when_it_is_empty(policy) -> None:
    async def main() -> None:
        queue: BoundedQueue[int] = BoundedQueue(5, policy)
        assert await queue.put(1, 100) == []
        assert queue.get_nowait() == 1 and queue.weight == 0

    asyncio.run(asyncio.wait_for(main(), 5))
