"""A checkpoint that a person asks for is there when the answer is, also while a file is held; and it can be resumed."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from helpers import LiveSource, labelled_events, pipeline_of, small_session
from resumed import moved, request, result, resume, same
from test_playback import asked, until

from stream_ottt.errors import UsageError
from stream_ottt.live.inputs import LiveInputs
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")


def run_and_say(made: Run, port: int, *commands: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is answered to commands; the run goes to its end."""

    async def go() -> list[dict[str, Any]]:
        running = asyncio.create_task(made.go())
        await until(lambda: hasattr(made, "pipeline") and made.pipeline.learning.timesteps >= 20)
        answers = [
            await asyncio.to_thread(asked, f"tcp://127.0.0.1:{port}", name, **fields) for name, fields in commands
        ]
        assert await running == 0
        return answers

    return asyncio.run(asyncio.wait_for(go(), 100))


def test_it_is_written_while_the_file_stands_still_and_resumed_to_the_same_end(tmp_path: Path, free_port: int) -> None:
    slowly = {
        "stream": {"checkpoint_every": "1h", "speed": "0.2x", "control": f"zmq+rep://127.0.0.1:{free_port}"},
        "labels": {"delay": "0"},  # what is learned later at a pace depends on the time that is left
        "rehearsal": {"mode": "off"},
    }
    folder = tmp_path / "whole"
    hold, checkpoint, go_on = ("hold", {}), ("checkpoint", {}), ("speed", {"value": "max"})
    made = Run(request(folder, slowly))
    answers = run_and_say(made, free_port, hold, checkpoint, checkpoint, go_on, ("hold", {"value": "off"}))
    assert [answer["ok"] for answer in answers] == [True] * 5
    paths = [Path(answer["path"]) for answer in answers[1:3]]
    assert [path.name for path in paths] == ["checkpoint-000001.json", "checkpoint-000002.json"]
    first, second = (CheckpointFolder(folder / "checkpoints").read(n).manifest.timesteps for n in (1, 2))
    assert second >= first >= 20
    assert len(CheckpointFolder(folder / "checkpoints").numbers()) == 2
    cut = moved(folder, tmp_path / "cut", 1)
    resume(cut)
    same(result(cut), result(folder))


def test_where_none_are_written_that_is_said(tmp_path: Path, free_port: int) -> None:
    settings = {"stream": {"speed": "1x", "control": f"zmq+rep://127.0.0.1:{free_port}"}}
    made = Run(request(tmp_path / "run", settings, checkpoints=None))
    (answer,) = run_and_say(made, free_port, ("checkpoint", {}))
    assert not answer["ok"] and "start the run with --checkpoint FOLDER" in answer["error"]


def test_before_the_first_packet_there_is_nothing_to_write() -> None:
    pipeline = pipeline_of(LiveSource(labelled_events(0, 1)), [], small_session(None))
    inputs = LiveInputs(pipeline, key_span=1, labels=False, save=None, checkpoint=Future, status=lambda _: {})
    with pytest.raises(UsageError, match="the stream has not begun"):
        inputs.checkpoint().result(0)


def test_why_it_is_not_written_is_told_to_who_asked(tmp_path: Path, free_port: int) -> None:
    settings = {"stream": {"checkpoint_every": "1h", "speed": "1x", "control": f"zmq+rep://127.0.0.1:{free_port}"}}
    made = Run(request(tmp_path / "run", settings))

    async def act() -> None:
        running = asyncio.create_task(made.go())
        await until(lambda: hasattr(made, "pipeline") and made.pipeline.learning.timesteps >= 5)
        (tmp_path / "run" / "checkpoints").rename(tmp_path / "away")
        answer = await asyncio.to_thread(asked, f"tcp://127.0.0.1:{free_port}", "checkpoint")
        assert not answer["ok"] and "No such file or directory" in answer["error"]
        (tmp_path / "away").rename(tmp_path / "run" / "checkpoints")
        assert await running == 0

    asyncio.run(asyncio.wait_for(act(), 100))
