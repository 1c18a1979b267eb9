"""The command line: one file a command, imported when it is used."""

from __future__ import annotations

from stream_ottt.cli import offline  # noqa: F401 - adds its commands
from stream_ottt.cli.app import main

__all__ = ["main"]
