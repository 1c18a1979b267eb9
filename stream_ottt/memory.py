"""How much memory there is and is taken, so that what cannot fit is refused before anything is allocated."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from stream_ottt.errors import UsageError

CGROUP = Path("/sys/fs/cgroup/memory.max")
STATM = Path("/proc/self/statm")


@cache
def total_bytes() -> int | None:
    """Memory of this machine, or what its container may use of it; None where that cannot be found out."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    try:
        allowed = CGROUP.read_text().strip()
    except OSError:
        return total
    return min(total, int(allowed)) if allowed.isdigit() else total


def resident_bytes() -> int | None:
    """Resident memory of this process now; None where the system does not say."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def check_room(needed: int, *, what: str, fix: str) -> None:
    """Refuse what does not fit into memory.

    Args:
        needed: bytes, at least.
        what: what needs them, with its key.
        fix: what to do about it.

    Raises:
        UsageError: there is less memory than that.
    """
    total = total_bytes()
    if total is not None and needed > total:
        raise UsageError(f"{what} needs at least {needed / 2**30:,.1f} GiB, of {total / 2**30:,.1f} GiB here; {fix}")
