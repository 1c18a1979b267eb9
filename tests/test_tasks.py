"""What other threads ask a thread to do: in order, each once, and whoever asks is told what came of it."""

from __future__ import annotations

import pytest

from stream_ottt.errors import UsageError
from stream_ottt.pipeline.tasks import MAX_TASKS, Tasks


def test_what_is_asked_is_done_in_its_order_and_told_to_who_asked() -> None:
    tasks, done = Tasks(), []
    first = tasks.add(lambda: done.append(1))
    broken = tasks.add(lambda: 1 / 0)
    last = tasks.add(lambda: len(done))
    assert not done and len(tasks) == 3
    tasks.do()
    assert done == [1] and len(tasks) == 0
    assert first.done() and last.result(0) == 1
    with pytest.raises(ZeroDivisionError):
        broken.result(0)


def test_what_nobody_waits_for_any_more_is_not_done() -> None:
    tasks, done = Tasks(), []
    taken_back, other = tasks.add(lambda: done.append(1)), tasks.add(lambda: done.append(2))
    assert taken_back.cancel()
    tasks.do()
    assert done == [2] and other.done()


def test_no_more_wait_than_there_is_room_for() -> None:
    tasks = Tasks()
    for _ in range(MAX_TASKS):
        tasks.add(lambda: None)
    with pytest.raises(UsageError, match="ask less often"):
        tasks.add(lambda: None).result(0)
    tasks.do()
    assert tasks.add(lambda: None).done() is False
