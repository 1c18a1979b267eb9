"""The order in which people and recorders number files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def natural_order(path: Path) -> list[Any]:
    """Sorts ``bag_10`` behind ``bag_9``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
