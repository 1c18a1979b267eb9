"""The bounded queue between two threads, and its overflow policies."""

from __future__ import annotations

import threading
import time

import pytest

from stream_ottt.pipeline.queues import BoundedQueue


def in_a_thread(act) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_block_waits_for_room_and_keeps_the_order() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)
    largest = 0

    def produce() -> None:
        nonlocal largest
        for i in range(2000):
            assert queue.put(i) == []
            largest = max(largest, queue.weight)
        queue.end()

    thread = in_a_thread(produce)
    got = []
    while (item := queue.get(10)) is not None:
        got.append(item)
    thread.join(10)
    assert got == list(range(2000))
    assert largest <= 3


def test_dropping_policies_never_wait_and_give_back_what_they_drop() -> None:
    oldest: BoundedQueue[str] = BoundedQueue(10, "drop-oldest")
    assert oldest.put("a", 4) == []
    assert oldest.put("b", 4) == []
    assert oldest.put("c", 7) == ["a", "b"]
    assert oldest.put("huge", 99) == ["c"]
    assert oldest.get() == "huge"
    newest: BoundedQueue[str] = BoundedQueue(10, "drop-newest")
    assert newest.put("a", 8) == []
    assert newest.put("b", 3) == ["b"]
    assert newest.weight == 8 and newest.waiting() == ["a"] and newest.get() == "a"


def test_closing_gives_back_what_waits_and_frees_a_waiting_producer() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.put(1)
    given_back: list[list[int]] = []
    thread = in_a_thread(lambda: given_back.append(queue.put(2)))
    assert queue.close() == [1]
    thread.join(10)
    assert given_back == [[2]]
    assert queue.put(3) == [3]
    assert queue.get() is None
    assert queue.exhausted and queue.weight == 0


@pytest.mark.parametrize("policy", ["block", "drop-oldest", "drop-newest"])
def test_an_item_heavier_than_the_queue_is_taken_when_it_is_empty(policy) -> None:
    queue: BoundedQueue[int] = BoundedQueue(5, policy)
    assert queue.put(1, 100) == []
    assert queue.get(0) == 1 and queue.weight == 0


def test_a_wait_for_room_or_for_an_item_can_be_bounded() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1)
    assert queue.get(0.01) is None and not queue.exhausted
    queue.put(1)
    assert queue.put(2, within=0.01) == [2]
    assert queue.get(0) == 1 and queue.get(0) is None


def test_waking_lets_a_consumer_look_at_something_else() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.wake()  # before it waits: not lost
    began = time.monotonic()
    assert queue.get(20) is None
    thread = in_a_thread(queue.wake)
    assert queue.get(20) is None
    thread.join(10)
    assert time.monotonic() - began < 10
