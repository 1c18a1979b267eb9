"""What people give in place of a recording, named for what it is."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

TEXTS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with 'git lfs pull'"),
    (b"<!doctype html", "a web page, not a recording; download the file itself"),
    (b"<html", "a web page, not a recording; download the file itself"),
    (b"<?xml", "XML, not a recording"),
    (b"{", "JSON, not a recording"),
)
"""How a text begins, in lower case → what it is."""

AS_TEXT = "a recording that was copied as text, which changed its bytes; copy it again as binary"
BINARIES = (
    (0, b"\x89HDF\r\r\n", AS_TEXT),
    (0, b"\x89HDF\n", AS_TEXT),
    (0, b"#!AER-DAT4.0\r\r\n", AS_TEXT),
    (0, b"#!AER-DAT4.0\n", AS_TEXT),
    (0, b"#!AER-DAT", "an AEDAT file of a version that is not known"),
    (0, b"PAR1", "a Parquet file; save its columns as CSV or NPZ"),
    (0, b"ARROW1", "an Arrow file; save its columns as CSV or NPZ"),
    (0, b"GIF8", "a GIF image, not a recording"),
    (0, b"\x1aE\xdf\xa3", "a video of frames, not a recording of events"),
    (8, b"WAVE", "a sound, not a recording of events"),
    (0, b"\xff\xfe", "text in UTF-16; save it as UTF-8"),
    (0, b"\xfe\xff", "text in UTF-16; save it as UTF-8"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first with 'tar xf'"),
    (0, b"%PDF", "a PDF document, not a recording"),
    (0, b"\x89PNG", "a PNG image, not a recording"),
    (0, b"\xff\xd8\xff", "a JPEG image, not a recording"),
    (4, b"ftyp", "a video of frames, not a recording of events"),
    (8, b"AVI ", "a video of frames, not a recording of events"),
    (0, b"SQLite format 3", "an SQLite database in which no events are found"),
    (0, b"\x80\x04", "a Python pickle, which is never loaded; save the arrays with numpy.savez"),
    (0, b"\x80\x02", "a Python pickle, which is never loaded; save the arrays with numpy.savez"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
)
"""(byte offset, bytes there, what it is)."""


def mistaken_text(head: bytes) -> str | None:
    """What a text that is no recording is; None for all others."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((what for begin, what in TEXTS if start.startswith(begin)), None)


def mistaken_binary(head: bytes, path: Path) -> str | None:
    """What a file in none of the formats is, where that is known."""
    if head.startswith(b"PK\x03\x04"):
        inside = ""
        with suppress(OSError, zipfile.BadZipFile, ValueError), zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/")]
            if any(n.endswith("/data.pkl") for n in names):
                return "a file of PyTorch's, which is never loaded; save the arrays with numpy.savez"
            if "[Content_Types].xml" in names:
                return "an office document; save the sheet as CSV"
            inside = f" of {len(names)} files, such as {names[0]!r}" if names else ""
        return f"a ZIP archive{inside}; unpack it first with 'unzip'"
    if not any(head):
        return "zeros only: what was to be written here never was; copy the file again"
    return next((what for at, sign, what in BINARIES if head[at : at + len(sign)] == sign), None)
