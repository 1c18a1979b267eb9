"""Short names for sources and sinks, and the one parser that turns a URI or a table into a configured object.

Forms of a URI, the same for ``run``, ``info`` and every other command::

    recording.aedat4                  a file; its content decides the format
    recording.bin?format=nmnist       a file, read as what the user says
    -?format=aedat4                   standard input (also stdin:?format=aedat4)
    recording.aedat4?stream=2         options of that source as a query
    synthetic:?seed=3&duration=20s    a source that is no file, by its name
    zmq+sub://host:5555?topic=a       a source that is an address, by its scheme

Sources and sinks of other packages are found through the entry-point groups ``stream_ottt.sources`` and
``stream_ottt.sinks``, each entry naming a class.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from stream_ottt.errors import InputError, UsageError

if TYPE_CHECKING:
    from stream_ottt.sinks.base import Sink
    from stream_ottt.sources.base import Source

SCHEME = re.compile(r"^(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+):(?P<rest>.*)$", re.DOTALL)


class Registry:
    """Names of one kind of part, each with the ``module:Class`` that is imported when it is first asked for.

    Args:
        kind: ``"source"`` or ``"sink"``, for messages and the entry-point group ``stream_ottt.<kind>s``.
        builtin: name → ``module:Class``, in the order in which file formats are tried.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._targets = dict(builtin)
        self._external = False

    def names(self) -> list[str]:
        """All names, built-in ones first."""
        if not self._external:
            for point in entry_points(group=f"stream_ottt.{self.kind}s"):
                self._targets.setdefault(point.name, point.value)
            self._external = True
        return list(self._targets)

    def get(self, name: str) -> type[Any]:
        """The class that ``name`` stands for.

        Raises:
            UsageError: no such name (naming the nearest), or its package cannot be imported.
        """
        if name not in self.names():
            raise UsageError(f"unknown {self.kind} {name!r}{near_miss(name, self.names())}")
        module, _, attribute = self._targets[name].partition(":")
        try:
            return cast("type[Any]", getattr(importlib.import_module(module), attribute))
        except ImportError as e:
            raise UsageError(f"{self.kind} {name!r} needs a package that is not installed: {e}") from e


def near_miss(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or the list of what is known when nothing is near."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}"


def split_uri(uri: str) -> tuple[str | None, str, dict[str, str]]:
    """Split ``scheme:rest?key=value&…`` into (scheme or None, rest, options).

    A single letter before the colon is a Windows drive, not a scheme. A file whose name holds a ``?`` and exists as
    written is taken as it is.
    """
    if Path(uri).exists():
        return None, uri, {}
    rest, _, query = uri.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    match = SCHEME.match(rest)
    if match:
        return match["scheme"].lower(), match["rest"], options
    return None, rest, options


def open_source(spec: str | Path | Mapping[str, Any]) -> Source:
    """The source that a URI, a path or a table with the key ``uri`` (and options) describes; nothing is read yet.

    Raises:
        UsageError: unknown source, or an option that it does not have.
        InputError: no such file, or no format recognises its content.
    """
    from stream_ottt.sources import SOURCES

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


def _recognise(path: Path) -> str:
    """The name of the first source whose ``sniff`` accepts the file's first 4 KiB."""
    from stream_ottt.sources import SOURCES

    if path.is_dir():
        head = b""
    else:
        try:
            with path.open("rb") as f:
                head = f.read(4096)
        except OSError as e:
            raise InputError(f"cannot be read: {e.strerror}; check the path", path=path) from e
        if not head:
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


def open_sink(spec: str | Mapping[str, Any]) -> Sink:
    """The sink that ``name``, ``name:target``, ``name:target?options`` or an address ``scheme://…`` describes.

    Raises:
        UsageError: unknown sink, or an option that it does not have.
    """
    from stream_ottt.sinks import SINKS

    extra: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        extra = {k: v for k, v in spec.items() if k != "uri"}
        spec = str(spec["uri"])
    scheme, rest, options = split_uri(spec)
    merged = {**options, **extra}
    word = scheme or rest
    for name in SINKS.names():
        cls = SINKS.get(name)
        if word == name or word in cls.schemes:
            target = f"{scheme}:{rest}" if word in cls.schemes else (rest if scheme else "")
            return cast("Sink", cls.from_options(target=target, **merged))
    raise UsageError(f"unknown sink {word!r}{near_miss(word, SINKS.names())}")
