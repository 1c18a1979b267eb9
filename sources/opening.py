"""From a URI, a path or a table to a configured source.

Forms of a URI, the same for ``run``, ``info`` and every other command::

    recording.aedat4                  a file; its content decides the format
    recording.bin?format=nmnist       a file, read as what the user says
    recording.raw.gz                  a packed file (gzip, bzip2, xz, Zstandard, ZIP)
    <(nc -l 5000)                     a pipe, read once
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
from stream_ottt.pipeline.source import FileSource, Source
from stream_ottt.registry import near_miss, split_uri
from stream_ottt.sources import SOURCES
from stream_ottt.sources.mistaken import mistaken_binary, mistaken_text
from stream_ottt.sources.packed import packing_of, unpacked
from stream_ottt.sources.pipe import Spooled, SpooledSource, from_pipe, is_pipe, spool


def open_source(spec: str | Path | Mapping[str, Any]) -> Source:
    """The source that a URI, a path or a table with the key ``uri`` (and options) describes.

    Nothing is read yet but the beginning of a file, and a pipe or a packed file as a whole.

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
        if is_pipe(path):
            return _open_spooled(spool(from_pipe(path), path), path, "pipe", merged)
        if packing := packing_of(path):
            spooled = Spooled(unpacked(path, packing, path), path, Path(packing.inside).suffix)
            return _open_spooled(spooled, path, packing.name, merged)
        return _open_file(path, merged, shown=path)
    for name in SOURCES.names():
        # A source's own name is tried without importing the others.
        if scheme == name or (scheme not in SOURCES.names() and scheme in SOURCES.get(name).schemes):
            return _open_address(SOURCES.get(name), f"{scheme}:{rest}", rest, merged)
    schemes = [s for n in SOURCES.names() for s in SOURCES.get(n).schemes]
    raise UsageError(f"no source for {scheme + ':'!r}{near_miss(scheme, schemes)}")


def _open_address(cls: type[Source], address: str, rest: str, options: dict[str, Any]) -> Source:
    """A source that is no file; it is told its address where its options have a place for one."""
    if "address" in cls.Config.model_fields:
        return cls.from_options(address=address, **options)
    if rest:
        raise UsageError(f"{address}: {cls.name} takes no address; give its options as {cls.name}:?KEY=VALUE")
    return cls.from_options(**options)


def _open_spooled(spooled: Spooled, path: Path, kind: str, options: dict[str, Any]) -> Source:
    return SpooledSource(_open_file(spooled.path, options, shown=path), spooled, path, kind)


def _open_file(path: Path, options: dict[str, Any], *, shown: Path) -> FileSource:
    name = options.pop("format", None) or _recognise(path, shown)
    return cast("FileSource", SOURCES.get(name).from_options(path=path, **options))


def _recognise(path: Path, shown: Path) -> str:
    """The name of the first source whose ``sniff`` accepts the file's first 4 KiB. Messages name ``shown``."""
    try:
        if path.is_dir():
            head = b""
        else:
            with path.open("rb") as f:
                head = f.read(4096)
            if not head:
                raise InputError("the file is empty; expected a recording", path=shown, offset=0)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise InputError(f"cannot be read: {reason}; check the path", path=shown) from e
    if what := mistaken_text(head):
        raise InputError(f"this is {what}", path=shown)
    for name in SOURCES.names():
        if SOURCES.get(name).sniff(head, path):
            return name
    if what := mistaken_binary(head, path):
        raise InputError(f"this is {what}", path=shown)
    raise InputError(
        f"no known recording format starts with {head[:16]!r}; say which with ?format=NAME "
        f"({', '.join(n for n in SOURCES.names() if SOURCES.get(n).reads_files)})",
        path=shown,
        offset=0,
    )
