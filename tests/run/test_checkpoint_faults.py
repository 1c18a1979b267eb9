"""Whatever call to the disk fails, and whenever the process dies, the last good checkpoint is there and is found."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.state import join, split

CALLS = ("open", "write", "fsync", "replace", "unlink")
ABOUT: dict[str, Any] = {
    "run": {
        "folder": "/",
        "source": "s",
        "sinks": [],
        "save": None,
        "summary": None,
        "learn": True,
        "settings": {},
    },
    "classes": (1, 2),
    "class_names": {1: "one"},
}
SHORT = int(os.environ.get("SOAK", "1"))
"""Factor on the number of trials; `make soak` sets it."""


class Killed(BaseException):
    """Stands for the end of the process: nothing that comes after it is done."""


def state(n: int, stretches: range) -> dict[str, Any]:
    """A state that is another one for each ``n``."""
    rng = np.random.default_rng(n)
    memory = {
        f"learning/session/memory/stretch/{i}": np.random.default_rng([1, i]).integers(0, 9, (2, 3), np.uint8)
        for i in stretches
    }
    return {
        "stream/place": {"pass": 0, "events": n},
        "learning/learner/weights/w": torch.from_numpy(rng.random((3, 4))),
        "learning/session/hits": rng.integers(0, 2, n, np.uint8),
        **memory,
    }


def write(folder: CheckpointFolder, n: int) -> None:
    folder.write(state(n, range(n // 2, n)), {"jsonl": {"bytes": n}}, {**ABOUT, "timesteps": n})


def newest(path: Path) -> int:
    """Of which ``n`` the newest good checkpoint is; all of it is as it was."""
    saved, _ = CheckpointFolder(path).newest()
    n = saved.manifest.timesteps
    expected = state(n, range(n // 2, n))
    assert saved.state.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(saved.state[key], value) if hasattr(value, "shape") else saved.state[key] == value
    assert saved.manifest.sinks == {"jsonl": {"bytes": n}}
    return n


@contextmanager
def calls_to_disk(monkeypatch: pytest.MonkeyPatch, act: Callable[[int, str], None]) -> Iterator[list[str]]:
    """``act`` before each call: with its number from 1 on, and its name."""
    made: list[str] = []
    with monkeypatch.context() as patch:
        for name in CALLS:
            real = getattr(os, name)

            def call(*args: Any, name: str = name, real: Any = real, **options: Any) -> Any:
                made.append(name)
                act(len(made), name)
                return real(*args, **options)

            patch.setattr(os, name, call)
        yield made


def number_of_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    folder = CheckpointFolder(path, keep=2)
    path.mkdir()
    for n in range(1, 5):
        write(folder, n)
    with calls_to_disk(monkeypatch, lambda *_: None) as made:
        write(folder, 5)
    assert {"open", "write", "fsync", "replace", "unlink"} <= set(made)
    return len(made)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_every_call_that_fails_leaves_the_last_good_one(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = number_of_calls(tmp_path / "count", monkeypatch)
    for k in range(1, total + 1):
        path = tmp_path / str(k)
        path.mkdir()
        folder = CheckpointFolder(path, keep=2)
        for n in range(1, 5):
            write(folder, n)

        def fail(number: int, _: str, k: int = k) -> None:
            if number == k:
                raise OSError(error, os.strerror(error))

        with calls_to_disk(monkeypatch, fail):
            try:
                write(folder, 5)
            except OSError as e:
                assert e.errno == error
        assert newest(path) in (4, 5)
        write(folder, 6)  # the next one succeeds
        assert newest(path) == 6
        assert not list(path.glob("*.partial"))


def test_a_process_that_dies_at_any_call_leaves_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the call, or in a write, half of which was done; 1,000 times in the soak."""
    rng = np.random.default_rng(0)
    total = number_of_calls(tmp_path / "count", monkeypatch)
    real_write = os.write
    for trial in range(min(1000, 60 * SHORT)):
        path = tmp_path / f"dies-{trial}"
        path.mkdir()
        folder = CheckpointFolder(path, keep=2)
        done = int(rng.integers(1, 6))
        for n in range(1, done + 1):
            write(folder, n)
        k, dead = int(rng.integers(1, total + 1)), False

        def die(number: int, name: str, k: int = k) -> None:
            nonlocal dead
            if dead or number == k:
                dead = True
                raise Killed(name)

        with calls_to_disk(monkeypatch, die), monkeypatch.context() as patch:
            torn = os.write

            def write_half(descriptor: int, data: Any, torn: Any = torn) -> int:
                try:
                    return torn(descriptor, data)
                except Killed:
                    real_write(descriptor, data[: len(data) // 2])
                    raise

            patch.setattr(os, "write", write_half)
            with suppress(Killed):
                write(folder, done + 1)
        assert newest(path) in (done, done + 1)
        again = CheckpointFolder(path, keep=2)
        again.newest()
        write(again, done + 2)
        assert newest(path) == done + 2
        assert len(again.numbers()) <= 2 and not list(path.glob("*.partial"))


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    from stream_ottt.errors import ModelError

    folder = CheckpointFolder(tmp_path)
    write(folder, 1)
    bad = state(2, range(1))
    bad["learning/learner/weights/w"][0, 0] = float("nan")
    with pytest.raises(ModelError, match="learner/weights/w holds numbers that are not finite"):
        folder.write(bad, {}, {**ABOUT, "timesteps": 2})
    assert newest(tmp_path) == 1


PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text())
ARRAYS = st.sampled_from(["u1", "i8", "f4", "f8", "?"]).flatmap(
    lambda kind: st.integers(0, 5).map(lambda n: np.arange(n).astype(kind))
)
VALUES = st.recursive(
    st.one_of(PLAIN, ARRAYS, ARRAYS.map(torch.from_numpy), st.lists(PLAIN)),
    lambda inner: st.dictionaries(st.text(), inner, max_size=4),
)


@settings(max_examples=100)
@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=5))
def test_a_state_comes_back_from_a_tree_and_tensors(made: dict[str, Any]) -> None:
    import json

    tree, tensors = split(made)
    found = join(json.loads(json.dumps(tree)), tensors)

    def same(one: Any, other: Any) -> bool:
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
        if isinstance(one, (np.ndarray, torch.Tensor)):
            return type(one) is type(other) and one.dtype == other.dtype and bool((one == other).all())
        return bool(one == other)

    assert same(made, found)
