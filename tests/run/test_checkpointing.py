"""Checkpoints while a run runs: who is told what, whatever becomes of the disk, of the sinks and of the run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from resumed import rewritten
from safetensors.numpy import load_file

from stream_ottt.errors import ModelError, OutputError, UsageError
from stream_ottt.pipeline.cut import Cut
from stream_ottt.pipeline.sink_writer import Mark
from stream_ottt.run import checkpointing
from stream_ottt.run.checkpoint_folder import STRETCHES, CheckpointFolder
from stream_ottt.run.checkpointing import Checkpointing
from stream_ottt.run.request import RunRequest
from stream_ottt.state import State

WITHIN_S = 60.0


def about() -> dict[str, Any]:
    return {"run": {**RunRequest("camera").about(), "settings": {}}, "classes": (0, 1), "class_names": {}}


def cut(timesteps: int = 1, **sinks: Future[State | None]) -> Cut:
    return Cut(timesteps, {"learning/learner/weights/w": torch.ones(2), "stream/index": timesteps}, sinks)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[CheckpointFolder]:
    made = CheckpointFolder(tmp_path / "checkpoints")
    made.open()
    yield made
    made.close()


def keeping(folder: CheckpointFolder, *, ask: Any = lambda: None, said: list[str] | None = None) -> Checkpointing:
    def say(text: str, *_: object, quiet: bool = False, **__: object) -> None:
        if said is not None and not quiet:
            said.append(text)

    return Checkpointing(folder, every_s=None, ask=ask, about=about, say=say)


def test_what_fails_and_what_works_again_is_said_once_and_all_is_counted(folder: CheckpointFolder) -> None:
    said: list[str] = []
    made, away = keeping(folder, said=said), folder.path.with_name("away")
    began = time.time()
    assert isinstance(made.write(cut(3)), Path) and not said
    at = made.state().at
    assert at is not None and began <= at <= time.time()
    folder.path.rename(away)
    assert [type(made.write(cut(n))) for n in (4, 5)] == [OutputError] * 2
    state = made.state()
    assert (state.written, state.failed, state.at, state.timesteps) == (1, 2, at, 3)
    away.rename(folder.path)
    for n in (6, 7):
        assert isinstance(made.write(cut(n)), Path)
    assert [text.partition(": ")[0] for text in said] == ["checkpoint"] * 2
    assert "No such file" in said[0] and said[1] == "checkpoint: written again, after 6 timesteps"
    assert (made.state().written, made.state().timesteps) == (3, 7)


def test_a_sink_that_does_not_come_to_the_mark_is_not_known(
    folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "SINKS_S", 0.01)
    there: Future[State | None] = Future()
    there.set_result({"bytes": 7})
    assert isinstance(keeping(folder).write(cut(2, there=there, stuck=Mark())), Path)
    assert folder.read(1).manifest.sinks == {"there": {"bytes": 7}, "stuck": None}


def test_one_that_is_asked_for_while_another_is_written_is_written_after_it(folder: CheckpointFolder) -> None:
    asked: list[int] = []
    answered: Future[None] = Future()

    def ask() -> None:
        asked.append(len(asked))
        if len(asked) == 2:  # the first one found a cut on its way
            made.take(cut(9))
            answered.set_result(None)

    made, mark = keeping(folder, ask=ask), Mark()
    made.start()
    assert made.wants()
    made.take(cut(5, slow=mark))
    assert not made.wants()
    path = made.now()
    mark.set_result({})
    answered.result(WITHIN_S)
    assert Path(path.result(WITHIN_S)).name == "checkpoint-000002.json"
    assert folder.read(2).manifest.timesteps == 9
    made.close(WITHIN_S)


def test_who_waits_when_the_run_ends_is_told_so(folder: CheckpointFolder) -> None:
    made = keeping(folder)
    made.start()
    path = made.now()
    made.close(WITHIN_S)
    with pytest.raises(UsageError, match="the run is ending"):
        path.result(0)


def test_after_a_damaged_newest_one_the_next_is_newer_than_all(folder: CheckpointFolder) -> None:
    made = keeping(folder)
    for n in range(1, 4):
        made.write(cut(n))
    newest = folder.path / "checkpoint-000003.json"
    newest.write_bytes(newest.read_bytes()[:-9])
    again = CheckpointFolder(folder.path)
    saved, wrong = again.newest()
    assert saved.manifest.number == 2 and "000003.json" in wrong[0]
    assert keeping(again).write(cut(4)) == folder.path / "checkpoint-000004.json"


def test_no_file_outside_the_folder_is_read(folder: CheckpointFolder) -> None:
    manifest = keeping(folder).write(cut())
    assert isinstance(manifest, Path)
    outside = folder.path.parent / "x"
    outside.write_bytes(b"secret")
    sha256 = hashlib.sha256(b"secret").hexdigest()
    rewritten(manifest, lambda text: text.replace('"files":{', f'"files":{{"../x":"{sha256}",'))
    with pytest.raises(ModelError, match="no name of a file in it"):
        folder.read(1)


def test_files_of_stretches_that_are_mostly_forgotten_go(folder: CheckpointFolder) -> None:
    """Those that are still remembered move on, so that what lies on the disk does not grow."""
    folder.keep = 1
    kept = [range(n, n + 4) for n in range(20)] + [range(100, 110), [100, 101, 102, 103, 110]]
    for n, ids in enumerate(kept):
        remembered = {f"{STRETCHES}{i}": np.full(3, i, np.uint8) for i in ids}
        one = cut(n)
        keeping(folder).write(replace(one, state={**one.state, **remembered}))
        state = folder.read(n + 1).state
        assert all(np.array_equal(state[key], value) for key, value in remembered.items())
        written = [load_file(file) for file in folder.path.glob("stretches-*")]
        assert sum(map(len, written)) <= 2 * len(remembered)


def test_a_folder_that_is_cleared_is_that_of_no_run(folder: CheckpointFolder) -> None:
    keeping(folder).write(cut())
    folder.finish({"reason": "end"})
    assert folder.is_used() and folder.finished() == {"reason": "end"}
    folder.clear()
    assert not folder.is_used() and [file.name for file in folder.path.iterdir()] == ["lock"]


def test_what_cannot_be_removed_spoils_no_checkpoint(folder: CheckpointFolder) -> None:
    (folder.path / "old.partial").mkdir()
    made = keeping(folder)
    assert isinstance(made.write(cut()), Path) and made.state().failed == 0
