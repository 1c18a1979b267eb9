"""Short names for parts that are imported when they are first asked for, and the parser of URIs.

Parts of other packages are found through entry-point groups, such as ``stream_ottt.sources``; each entry names a class.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from stream_ottt.errors import UsageError

SCHEME = re.compile(r"^(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+):(?P<rest>.*)$", re.DOTALL)


class Registry:
    """Names of one kind of part, each with the ``module:Class`` that is imported when it is first asked for.

    Args:
        kind: ``"source"`` or ``"sink"``, for messages and the entry-point group ``stream_ottt.<kind>s``.
        builtin: name → ``module:Class``, in the order in which file formats are tried.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._builtin = tuple(builtin)
        self._targets = dict(builtin)
        self._external = False

    def names(self) -> list[str]:
        """All names, built-in ones first."""
        if not self._external:
            for point in entry_points(group=f"stream_ottt.{self.kind}s"):
                self._targets.setdefault(point.name, point.value)
            self._external = True
        return list(self._targets)

    def require(self, name: str) -> None:
        """Make sure that there is such a name, without importing what it stands for.

        Raises:
            UsageError: there is none; names the nearest.
        """
        if name not in self.names():
            raise UsageError(f"unknown {self.kind} {name!r}{near_miss(name, self.names())}")

    def get(self, name: str) -> type[Any]:
        """The class that ``name`` stands for.

        Raises:
            UsageError: no such name (naming the nearest), or its package cannot be imported.
        """
        self.require(name)
        module, _, attribute = self._targets[name].partition(":")
        try:
            return cast("type[Any]", getattr(importlib.import_module(module), attribute))
        except ImportError as e:
            raise UsageError(f"{self.kind} {name!r} needs a package that is not installed: {e}") from e

    def of_scheme(self, scheme: str) -> type[Any]:
        """The class that has this name, or takes addresses of this scheme; few others are imported for it.

        A scheme of a built-in part begins with the part's name: ``zmq+sub`` is of ``zmq``.

        Raises:
            UsageError: there is none; names the nearest.
        """
        if scheme in self.names():
            return self.get(scheme)
        known = self.names()
        for name in self.names():
            if name == scheme.partition("+")[0] or name not in self._builtin:
                schemes = self.get(name).schemes
                if scheme in schemes:
                    return self.get(name)
                known += schemes
        raise UsageError(f"unknown {self.kind} {scheme!r}{near_miss(scheme, known)}")


def near_miss(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """``"; did you mean 'x'?"``, or else ``otherwise``, or the list of what is known, if anything is."""
    known = list(known)
    if not known:
        return "; there are none"
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; {otherwise or 'known: ' + ', '.join(sorted(known))}"


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # longer than a name may be, or no name at all
        return False


def options_of(query: str) -> dict[str, str]:
    """The options behind a URI's question mark.

    Raises:
        UsageError: one is given twice.
    """
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in options:
            raise UsageError(f"the option {key!r} is given twice: {options[key]!r} and {value!r}")
        options[key] = value
    return options


def split_uri(uri: str) -> tuple[str | None, str, dict[str, str]]:
    """Split ``scheme:rest?key=value&…`` into (scheme or None, rest, options).

    An existing file wins, whatever its name holds: as it is written, or up to one of the question marks. A single
    letter before the colon is a Windows drive, not a scheme.

    Raises:
        UsageError: an option is given twice.
    """
    at = len(uri)
    while at > 0:
        if _is_there(uri[:at]):
            return None, uri[:at], options_of(uri[at + 1 :])
        at = uri.rfind("?", 0, at)
    rest, _, query = uri.partition("?")
    options = options_of(query)
    match = SCHEME.match(rest)
    if match:
        return match["scheme"].lower(), match["rest"], options
    return None, rest, options
