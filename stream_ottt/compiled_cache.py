"""Machine code on disk: read only from a folder that nobody else can write to, and only when it is whole.

numba's own cache loads whatever lies in its folder: another user's code there would be run, a file cut short would
end the process. Here each file begins with a digest of its content and of what the content was made from.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import serialize
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult

from stream_ottt.user_caches import user_caches

DIGEST_BYTES = 32
INSTALLS = {"site-packages", "dist-packages"}
"""Folders that pip fills."""
# numba has no types.
_rebuild: Any = CompileResult._rebuild
_dumps: Any = serialize.dumps


def keep(dispatcher: Any, options: str) -> Any:
    """Let a function that numba compiles keep its machine code, where there is a folder for it.

    Args:
        dispatcher: what ``numba.njit`` returned.
        options: how it is compiled.
    """
    source = Path(dispatcher.py_func.__code__.co_filename)
    folder = cache_folder(source.parent)
    if folder is not None:
        dispatcher._cache = CheckedCache(dispatcher.py_func, source, folder, options)
    return dispatcher


@cache
def cache_folder(beside: Path) -> Path | None:
    """Where the loops of the sources in ``beside`` keep their machine code; None where no folder is safe.

    ``__pycache__`` beside them in a checkout. For what was installed, a folder among the user's caches: pip does not
    know what it did not write, and a package's folder that it leaves behind hides a later install of another kind.
    """
    folders = [_beside, _of_the_user]
    if not INSTALLS.isdisjoint(beside.parts):
        folders.reverse()
    for find in folders:
        with suppress(OSError, RuntimeError):  # there may be no home
            if is_safe(folder := find(beside)):
                return folder
    return None


def _beside(sources: Path) -> Path:
    folder = sources / "__pycache__"
    folder.mkdir(exist_ok=True)
    return folder


def _of_the_user(_: Path) -> Path:
    folder = user_caches()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def is_safe(folder: Path) -> bool:
    """Whether a folder can be written to by this user, is this user's own, and nobody else can write to it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode) or not os.access(folder, os.W_OK | os.X_OK):
        return False
    return sys.platform == "win32" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)


class CheckedCache(_Cache):
    """What numba asks for and gives to keep: one file for each combination of argument types and processor.

    Whatever is wrong with a file, or with the folder, the function is compiled as if there were none.

    Args:
        function: the function, as Python.
        source: the file that it stands in.
        folder: where its machine code is kept.
        options: how it is compiled.
    """

    def __init__(self, function: Any, source: Path, folder: Path, options: str) -> None:
        self._folder = folder
        self._name = f"{source.stem}.{function.__qualname__}"
        parts = [sys.version, numba.__version__, llvmlite.__version__, options, source.read_bytes().hex()]
        # A loop that calls others contains them.
        called = (function.__globals__.get(name) for name in function.__code__.co_names)
        parts += [c._cache.stamp for c in called if isinstance(getattr(c, "_cache", None), CheckedCache)]
        self.stamp = hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def cache_path(self) -> str:
        return str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        with suppress(Exception):
            data = self._path(key).read_bytes()
            digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
            if digest == self._digest(key, content):
                return _rebuild(target_context, *serialize.loads(content))
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if data.lifted or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        content = _dumps(data._reduce())
        path = self._path(key)
        own = path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            try:
                own.write_bytes(self._digest(key, content) + content)
                own.replace(path)  # in one step, so that nobody finds half of it
            finally:
                own.unlink(missing_ok=True)

    def enable(self) -> None:
        """It always is."""

    def disable(self) -> None:
        """Nothing asks for it."""

    def flush(self) -> None:
        """Files are replaced, never gathered."""

    def _key(self, sig: Any, codegen: Any) -> str:
        return repr((sig, codegen.magic_tuple()))

    def _path(self, key: str) -> Path:
        return self._folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"

    def _digest(self, key: str, content: bytes) -> bytes:
        return hashlib.sha256(f"{self.stamp}\0{key}\0".encode() + content).digest()
