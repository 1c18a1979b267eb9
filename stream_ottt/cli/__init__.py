"""The command line: one file a command, imported when it is used."""

from __future__ import annotations

from stream_ottt.cli import offline, sockets  # noqa: F401 - add their commands
from stream_ottt.cli.app import main

__all__ = ["main"]
