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
from stream_ottt.sources.mistaken import is_text, mistaken_binary, mistaken_text
from stream_ottt.sources.packed import packing_of, unpacked
from stream_ottt.sources.pipe import Spooled, SpooledSource, from_pipe, is_pipe, spool

ELSEWHERE = {
    **dict.fromkeys(
        ("http", "https", "ftp", "s3", "gs"), "recordings are not fetched; download the file, give its path"
    ),
    "file": "give the path alone, without file://",
    "rtsp": "a stream of frames is not read",
}
"""Schemes of addresses that people try, and what to do."""


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
    if scheme is None and not rest.strip():
        raise UsageError(f"{str(spec)!r} names no source; expected a recording, a folder or an address")
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
    if scheme in ELSEWHERE:
        raise UsageError(f"{spec}: {ELSEWHERE[scheme]}")
    return _open_address(SOURCES.of_scheme(scheme), f"{scheme}:{rest}", rest, merged)


def _open_address(cls: type[Source], address: str, rest: str, options: dict[str, Any]) -> Source:
    """A source that is no file; it is told its address where its options have a place for one."""
    if "address" in cls.Config.model_fields:
        return cls.from_options(address=address, **options)
    if rest and issubclass(cls, FileSource):
        raise UsageError(f"{address}: a file is named alone, its format as an option: {rest}?format={cls.name}")
    if rest:
        raise UsageError(f"{address}: {cls.name} takes no address; give its options as {cls.name}:?KEY=VALUE")
    return cls.from_options(**options)


def _open_spooled(spooled: Spooled, path: Path, kind: str, options: dict[str, Any]) -> Source:
    return SpooledSource(_open_file(spooled.path, options, shown=path), spooled, path, kind)


def _open_file(path: Path, options: dict[str, Any], *, shown: Path) -> FileSource:
    said = options.pop("format", None)
    cls = SOURCES.get(_recognise(path, shown)) if said is None else format_of(said)
    return cast("FileSource", cls.from_options(path=path, **options))


def format_of(name: str) -> type[FileSource]:
    """The source of a file format. Raises UsageError naming the nearest where there is none of this name."""
    if name not in SOURCES.names() or not SOURCES.get(name).reads_files:
        formats = [n for n in SOURCES.names() if SOURCES.get(n).reads_files]
        raise UsageError(f"no file format {name!r}{near_miss(name, formats)}")
    return cast("type[FileSource]", SOURCES.get(name))


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
        if isinstance(e, FileNotFoundError) and path.is_symlink():
            target = str(path.readlink())
            fix = "fetch it with 'git annex get'" if "annex/objects" in target else "check the link"
            raise InputError(f"is a link to {target}, which is not there; {fix}", path=shown) from e
        raise InputError(f"cannot be read: {reason}; check the path", path=shown) from e
    if what := mistaken_text(head):
        raise InputError(f"this is {what}", path=shown)
    for name in SOURCES.names():
        if SOURCES.get(name).sniff(head, path):
            return name
    if what := mistaken_binary(head, path):
        raise InputError(f"this is {what}", path=shown)
    if is_text(head):
        line = head.lstrip(b"\xef\xbb\xbf").split(b"\n")[0][:40].decode(errors="replace").rstrip()
        raise InputError(
            f"no known recording format: text that begins with {line!r}; events as text are lines of t, x, y and p "
            "between commas, semicolons, bars, tabs or blanks",
            path=shown,
            offset=0,
        )
    raise InputError(
        f"no known recording format starts with {head[:16]!r}; say which with ?format=NAME "
        f"({', '.join(n for n in SOURCES.names() if SOURCES.get(n).reads_files)})",
        path=shown,
        offset=0,
    )
