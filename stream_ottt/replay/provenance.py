"""Which code on which machine made a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def versions() -> dict[str, str]:
    """The versions of all that a result may depend on."""
    out = {"python": platform.python_version(), "commit": commit()}
    for package in ("stream-ottt", "torch", "numpy", "numba", "opencv-python"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out


def commit() -> str:
    """The commit of the code that runs, ``+`` when it was changed since; ``unknown`` for an installed copy."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Processor and number of cores in a few words."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [s.partition(":")[2].strip() for s in info.read_text().splitlines() if s.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def command() -> str:
    """The command line of this process, as one would type it."""
    program = Path(sys.argv[0])
    name = program.name
    if name == "__main__.py":
        name = f"python -m stream_ottt{'.replay' if program.parent.name == 'replay' else ''}"
    return " ".join([name, *sys.argv[1:]])
