"""Decoded samples on disk: one file a sample, in a folder named by what it was decoded with."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.replay.framing import Raw
from stream_ottt.user_caches import user_caches


class SampleCache:
    """Keeps arrays by key. Any number of processes may use the same folder at once.

    A file appears under its name only when complete; two workers that decode the same sample write the same bytes,
    and the later one wins. What cannot be read is decoded again, and a folder that cannot be written is done without.

    Args:
        folder: where; None keeps nothing.
        settings: all that decides what an array holds, JSON-ready; other settings have another subfolder.
    """

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        text = json.dumps(settings, sort_keys=True)
        self.folder = None if folder is None else folder / hashlib.sha256(text.encode()).hexdigest()[:20]
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / "settings.json").write_text(text)
            except OSError:
                self.folder = None

    def get(self, key: str, decode: Callable[[], Raw]) -> Raw:
        """The array of ``key``, decoded when it is not kept yet."""
        if self.folder is None:
            return decode()
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
        array = self._read(path)
        if array is None:
            array = decode()
            self._write(path, array)
        return array

    @staticmethod
    def _read(path: Path) -> Raw | None:
        try:
            with path.open("rb") as f, np.load(f, allow_pickle=False) as kept:
                array: Raw = kept["frames"]
                return array
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
            return None

    def _write(self, path: Path, array: Raw) -> None:
        assert self.folder is not None
        partial = None
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".partial", delete=False) as f:
                partial = Path(f.name)
                np.savez_compressed(f, frames=array)
            partial.replace(path)
        except OSError:
            if partial is not None:
                partial.unlink(missing_ok=True)


def cache_folder(setting: str) -> Path | None:
    """The folder that ``data.cache`` means."""
    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting).expanduser()
    return user_caches() / "replay"
