"""``stream-ottt search``: from the user's words to the best settings that were found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stream_ottt.errors import INTERRUPTED


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
    from stream_ottt.replay.search import Vary, search
    from stream_ottt.run.config import merge
    from stream_ottt.run.presets import REPLAYS

    base = merge({} if preset is None else REPLAYS.read(preset), overrides)
    try:
        space = [Vary.parse(word) for word in vary]
        found = search(base, space, out, trials=trials, jobs=jobs, scheduler=scheduler, say=_say)
    except KeyboardInterrupt:
        _say(f"stopped; the same command goes on in {out}")
        return INTERRUPTED
    print(json.dumps(found))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
