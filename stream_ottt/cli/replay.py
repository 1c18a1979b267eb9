"""``stream-ottt replay``: one run over a data set, from the user's words to an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stream_ottt.cli.markdown import show
from stream_ottt.cli.progress import loading, progress
from stream_ottt.errors import INTERRUPTED
from stream_ottt.progress import Bar


def run_replay(preset: str | None, overrides: dict[str, Any], out: Path) -> int:
    """Run one replay, alone or as one of torchrun's processes.

    Args:
        preset: a replay preset or a TOML file.
        overrides: tables on top of it.
        out: the run's folder.

    Returns:
        0, or 130 after Ctrl-C; the same command then goes on at the last completed interval.

    Raises:
        StreamOtttError: one line for the user.
    """
    from stream_ottt.replay.check import check
    from stream_ottt.replay.config import ReplayConfig
    from stream_ottt.replay.datasets import DATASETS
    from stream_ottt.run.config import merge
    from stream_ottt.run.presets import REPLAYS

    config = ReplayConfig.load(merge({} if preset is None else REPLAYS.read(preset), overrides))
    check(config)  # this and the next before torch is imported, which takes seconds
    DATASETS.get(config.data.name).require_path(config.data)
    loading("the replay")
    from stream_ottt.replay.distributed import join_world
    from stream_ottt.replay.runs import replay

    try:
        with join_world(config.compute.device) as world:
            if world.rank == 0:
                with Bar(f"{config.method.name}, {config.protocol.name}") as bar:
                    result = replay(config, out, world=world, say=progress, at=bar.at)
                show((out / "row.md").read_text(encoding="utf-8"))
                progress(f"accuracy {result['accuracy']:.4f}; {out}")
            else:
                replay(config, out, world=world, say=_silent)
    except KeyboardInterrupt:
        progress(f"stopped; the same command goes on at the last completed interval of {out}")
        return INTERRUPTED
    return 0


def _silent(line: str) -> None:
    """Another process speaks."""
