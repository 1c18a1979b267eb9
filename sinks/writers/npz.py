"""NumPy .npz with the arrays t (int64, µs), x, y (uint16), p (bool), and the numbers width and height."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter

COLUMNS: dict[str, np.dtype[Any]] = {
    "t": np.dtype("<i8"),
    "x": np.dtype("<u2"),
    "y": np.dtype("<u2"),
    "p": np.dtype("?"),
}
LEVEL = 1
"""Of Deflate: the fastest, for little more bytes."""


class NpzWriter(EventWriter):
    """Gathers each column in a temporary file beside the target, and packs them when it is closed."""

    name = "npz"
    suffixes = (".npz",)

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._columns: dict[str, IO[bytes]] = {}
        self._events = 0
        try:
            for name in COLUMNS:
                self._columns[name] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - lives until close()
        except OSError as e:
            raise self.failed(e) from e

    def write(self, events: EventArray) -> None:
        """Append events; see the base class."""
        try:
            for name, dtype in COLUMNS.items():
                self._columns[name].write(events[name].astype(dtype).tobytes())
        except OSError as e:
            raise self.failed(e) from e
        self._events += len(events)

    def close(self) -> None:
        """Pack the columns into the archive."""
        if self.file.closed:
            return
        try:
            with zipfile.ZipFile(self.file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
                for name, dtype in COLUMNS.items():
                    self._columns[name].seek(0)
                    self._member(archive, name, dtype, (self._events,), self._columns[name])
                for name, value in (("width", self.width), ("height", self.height)):
                    self._member(archive, name, np.dtype("<i8"), (), io.BytesIO(np.int64(value).tobytes()))
        except OSError as e:
            raise self.failed(e) from e
        finally:
            for column in self._columns.values():
                column.close()
            super().close()

    def _member(
        self, archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], data: IO[bytes]
    ) -> None:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            shutil.copyfileobj(data, member, 1 << 20)
