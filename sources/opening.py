"""From a URI, a path or a table to a configured source.

Forms of a URI, the same for ``run``, ``info`` and every other command::

    recording.aedat4                  a file; its content decides the format
    recording.bin?format=nmnist       a file, read as what the user says
    -?format=aedat4                   standard input (also stdin:?format=aedat4)
    recording.aedat4?stream=2         options of that source as a query
    synthetic:?seed=3&duration=20s    a source that is no file, by its name
    zmq+sub://host:5555?topic=a       a source that is an address, by its scheme
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stream_ottt.errors import InputError, UsageError
from stream_ottt.pipeline.source import Source
from stream_ottt.registry import near_miss, split_uri
from stream_ottt.sources import SOURCES


def open_source(spec: str | Path | Mapping[str, Any]) -> Source:
    """The source that a URI, a path or a table with the key ``uri`` (and options) describes; nothing is read yet.

    Raises:
        UsageError: unknown source, or an option that it does not have.
        InputError: no such file, or no format recognises its content.
    """
    extra: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        extra = {k: v for k, v in spec.items() if k != "uri"}
        spec = str(spec["uri"])
    scheme, rest, options = split_uri(str(spec))
    merged = {**options, **extra}
    if scheme is None and rest == "-":
        return cast("Source", SOURCES.get("stdin").from_options(**merged))
    if scheme is None:
        path = Path(rest)
        name = merged.pop("format", None) or _recognise(path)
        return cast("Source", SOURCES.get(name).from_options(path=path, **merged))
    for name in SOURCES.names():
        # A source's own name is tried without importing the others.
        if scheme == name or (scheme not in SOURCES.names() and scheme in SOURCES.get(name).schemes):
            return cast("Source", SOURCES.get(name).from_options(address=f"{scheme}:{rest}", **merged))
    schemes = [s for n in SOURCES.names() for s in SOURCES.get(n).schemes]
    raise UsageError(f"no source for {scheme + ':'!r}{near_miss(scheme, schemes)}")


def _head(path: Path) -> bytes:
    with path.open("rb") as f:
        return f.read(4096)


def _recognise(path: Path) -> str:
    """The name of the first source whose ``sniff`` accepts the file's first 4 KiB."""
    try:
        folder = path.is_dir()
        head = b"" if folder else _head(path)
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}; check the path", path=path) from e
    if not head and not folder:
        raise InputError("the file is empty; expected a recording", path=path, offset=0)
    for name in SOURCES.names():
        if SOURCES.get(name).sniff(head, path):
            return name
    raise InputError(
        f"no known recording format starts with {head[:16]!r}; say which with ?format=NAME "
        f"({', '.join(n for n in SOURCES.names() if SOURCES.get(n).reads_files)})",
        path=path,
        offset=0,
    )
