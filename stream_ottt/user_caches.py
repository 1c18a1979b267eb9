"""Where a user's programs keep what they can make anew."""

from __future__ import annotations

import os
from pathlib import Path


def user_caches() -> Path:
    """This program's folder among the user's caches, which need not be there. Raises RuntimeError without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stream-ottt"
