"""What a model has learned from, as its file keeps it: scores on a stream that was learned before are no test."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream_ottt.pipeline.source import FileConfig, Source
from stream_ottt.registry import split_uri
from stream_ottt.settings import Settings

ENDS = 1 << 20
"""Bytes at the beginning and at the end of a file that tell it from others of its size."""


class Stream(Settings):
    """One source of a run.

    Attributes:
        name: a file's name, or an address without its options.
        digest: SHA-256 of what makes it this one: a file's size, beginning and end; a folder's names and sizes; the
            options of a source that makes its events. Empty for a live source, which nothing tells from another.
        begins: where the excerpt begins, µs after the first event.
        ends: where it ends; None for the recording's end.
        samples: which of a collection; None for all.
    """

    name: str
    digest: str
    begins: int = 0
    ends: int | None = None
    samples: str | None = None

    def shares_with(self, other: Stream) -> bool:
        """Whether some of it is surely in ``other``, too."""
        if not self.digest or self.digest != other.digest:
            return False
        if self.samples is not None and other.samples is not None and self.samples != other.samples:
            return False  # slices of a collection, whose number of samples is not known here
        return all(a.ends is None or b.begins < a.ends for a, b in ((self, other), (other, self)))


def streams_of(uris: Sequence[str], source: Source) -> tuple[Stream, ...]:
    """The streams that a run sees.

    Args:
        uris: as the user gave them.
        source: opened from them; several stand in its ``lanes``.
    """
    opened = [lane.source for lane in getattr(source, "lanes", ())] or [source]
    return tuple(_stream(uri, one) for uri, one in zip(uris, opened, strict=True))


def seen_before(streams: Sequence[Stream], learned: Sequence[Stream]) -> bool | None:
    """Whether some of ``streams`` was surely learned from; None where that cannot be known."""
    if any(one.shares_with(other) for one in streams for other in learned):
        return True
    known = learned and all(one.digest for one in (*streams, *learned))
    return False if known else None


def _stream(uri: str, source: Source) -> Stream:
    scheme, rest, _ = split_uri(uri)
    if type(source).live:
        return Stream(name=f"{scheme}:{rest}", digest="")
    config = source.config
    if not isinstance(config, FileConfig):
        return Stream(name=f"{scheme}:{rest}", digest=_digest(type(source).name, config.model_dump(mode="json")))
    return Stream(
        name=Path(rest).name,
        digest=_digest_of_path(config.path),
        begins=config.from_ or 0,
        ends=config.to,
        samples=getattr(config, "samples", None),
    )


def _digest_of_path(path: Path) -> str:
    try:
        if path.is_dir():
            return _digest(sorted((str(p.relative_to(path)), p.stat().st_size) for p in path.rglob("*")))
        with path.open("rb") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(0)
            begin = f.read(ENDS)
            f.seek(max(size - ENDS, 0))
            return hashlib.sha256(f"{size} ".encode() + begin + f.read(ENDS)).hexdigest()
    except OSError:  # a data set that is elsewhere; whoever reads it says what is wrong
        return ""


def _digest(*what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode(errors="surrogateescape")).hexdigest()
