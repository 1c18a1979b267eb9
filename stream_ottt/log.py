"""What a run says beside its results: lines on stderr, as text for people or as JSON for collectors of logs.

All of it goes through the standard library's logger ``stream_ottt``. A line of JSON is one object: ``time`` (ISO 8601,
UTC), ``level``, ``event`` (a word for each kind), ``message``, and fields of that kind.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from stream_ottt.errors import UsageError

LOGGER = logging.getLogger("stream_ottt")


class Say(Protocol):
    """What takes a line: :func:`say`, or something in its place."""

    def __call__(
        self, message: str, event: str = "note", *, level: int = ..., quiet: bool = ..., **fields: Any
    ) -> None:
        """One line; see :func:`say`."""


def say(message: str, event: str = "note", *, level: int = logging.INFO, quiet: bool = False, **fields: Any) -> None:
    """One line.

    Args:
        message: for people.
        event: what kind of thing has happened, one word.
        level: of the logging module.
        quiet: left out of text, where the terminal shows the same.
        fields: plain values.
    """
    if not LOGGER.handlers:
        set_up("text")
    LOGGER.log(level, "%s", message, extra={"event": event, "fields": fields, "quiet": quiet})


def warn(message: str, event: str = "warning", *, quiet: bool = False, **fields: Any) -> None:
    """One line about what is wrong; as :func:`say`."""
    say(message, event, level=logging.WARNING, quiet=quiet, **fields)


def set_up(form: str) -> None:
    """Write lines in this form to stderr from now on.

    Raises:
        UsageError: it is neither ``text`` nor ``json``.
    """
    if form not in ("text", "json"):
        raise UsageError(f"--log-format: {form!r} is neither text nor json")
    handler = _ToStderr()
    handler.setFormatter(_Json() if form == "json" else _Text())
    if form == "text":
        handler.addFilter(lambda record: not getattr(record, "quiet", False))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class _ToStderr(logging.StreamHandler[TextIO]):
    """To what ``sys.stderr`` is at the moment; says nothing more where that is gone."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        if self.stream is not None:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        return


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"stream-ottt: {record.getMessage()}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at,
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "note"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)
        return text.encode(errors="backslashreplace").decode()
