"""``stream-ottt search``: from the user's words to the best settings that were found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stream_ottt.cli.progress import loading, progress
from stream_ottt.errors import INTERRUPTED
from stream_ottt.progress import Bar


def run_search(
    preset: str | None,
    overrides: dict[str, Any],
    *,
    vary: list[str],
    out: Path,
    trials: int,
    jobs: int,
    scheduler: str | None,
) -> int:
    """Search, print what was best as JSON; 0, or 130 after Ctrl-C. Arguments as of the command."""
    loading("the search")
    from stream_ottt.replay.search import Vary, search
    from stream_ottt.run.config import merge
    from stream_ottt.run.presets import REPLAYS

    base = merge({} if preset is None else REPLAYS.read(preset), overrides)
    try:
        space = [Vary.parse(word) for word in vary]
        with Bar(f"{trials} trials") as bar:
            found = search(base, space, out, trials=trials, jobs=jobs, scheduler=scheduler, say=progress, at=bar.at)
    except KeyboardInterrupt:
        progress(f"stopped; the same command goes on in {out}")
        return INTERRUPTED
    print(json.dumps(found))
    return 0
