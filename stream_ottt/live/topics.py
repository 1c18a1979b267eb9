"""Topics of the live feed (docs/feed.md): the first frame of a message, ``KIND/SOURCE``."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Kind = Literal["events", "labels", "predictions"]
KINDS: tuple[Kind, ...] = ("events", "labels", "predictions")


class FeedError(ValueError):
    """A message that is not in the wire format; the text says in what."""


def topic(kind: Kind, source: str) -> bytes:
    """The first frame of a message."""
    return f"{kind}/{source}".encode()


def split_topic(frame: bytes) -> tuple[Kind, str]:
    """Kind and source of a topic.

    Raises:
        FeedError: another kind, or no text.
    """
    try:
        kind, _, source = frame.decode().partition("/")
    except UnicodeDecodeError:
        raise FeedError(f"topic {frame[:40]!r} is no UTF-8 text") from None
    if kind not in KINDS:
        raise FeedError(f"topic {frame[:40]!r} is none of {', '.join(f'{k}/…' for k in KINDS)}")
    return kind, source


def source_name(uri: str) -> str:
    """A name for topics where the user gives none: the feed's own topic, host and port or key, or the file's stem."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("zmq+") or parts.scheme == "zenoh":
        place = parts.netloc if parts.scheme != "zenoh" else parts.netloc + parts.path
        return parse_qs(parts.query).get("topic", [place])[0]
    return parts.netloc or PurePath(parts.path).stem or parts.scheme or "events"


def check_name(name: str) -> str:
    """``name``, if it can stand in a topic.

    Raises:
        ValueError: it is empty, or has a character that cannot be printed.
    """
    if not name or not name.isprintable():
        raise ValueError("a source's name needs at least one character, and only such as can be printed")
    return name
