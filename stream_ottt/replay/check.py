"""What can be said of a replay's settings before torch is imported and before anything is read or written."""

from __future__ import annotations

from importlib.util import find_spec

from stream_ottt.errors import UsageError
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import DATASETS
from stream_ottt.replay.methods import METHODS


def check(config: ReplayConfig) -> None:
    """Find names that nothing has, and packages that are not installed.

    Raises:
        UsageError: one line that names the key and the nearest name.
    """
    if ":" not in config.method.name:  # FILE.py:CLASS is looked at when it is loaded
        METHODS.require(config.method.name)
    DATASETS.require(config.data.name)
    for key, package in (("figures", "matplotlib"), ("tensorboard", "tensorboard")):
        if getattr(config.report, key) and find_spec(package) is None:
            fix = f"pip install 'stream-ottt[report]', or --report.{key} false"
            raise UsageError(f"report.{key} needs {package}: {fix}")
