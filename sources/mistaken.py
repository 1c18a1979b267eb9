"""What people give in place of a recording, named for what it is."""

from __future__ import annotations

import re
import zipfile
from contextlib import suppress
from pathlib import Path

from stream_ottt.sources.packed import DAMAGE

TEXTS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with 'git lfs pull'"),
    (b"<!doctype html", "a web page, not a recording; download the file itself"),
    (b"<html", "a web page, not a recording; download the file itself"),
    (b"<!--", "a web page, not a recording; download the file itself"),
    (b"<?xml", "XML, not a recording; it may be a server's answer in place of the file: download it again"),
    (b"{", "JSON, not a recording; save the events' columns as CSV or NPZ"),
    (b"[{", "JSON, not a recording; save the events' columns as CSV or NPZ"),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself; fetch it with 'git annex get'"),
    (b"../.git/annex/objects/", "a pointer of git-annex, not the file itself; fetch it with 'git annex get'"),
    (b".git/annex/objects/", "a pointer of git-annex, not the file itself; fetch it with 'git annex get'"),
    (b"outs:\n- md5:", "a pointer of DVC, not the file itself; fetch it with 'dvc pull'"),
    (b"rosbag2_bagfile_information:", "what a bag of ROS 2 says of itself; give the folder that it lies in"),
    (b"class,starttime_usec", "labels, not a recording; give them with --labels beside their recording"),
    (b"% bulk_size", "an index that Metavision keeps beside a RAW file; give the RAW file itself"),
    (b"http/1.", "a server's answer, not a recording; download the file itself"),
)
"""How a text begins, in lower case → what it is."""

ANSWERS = re.compile(
    rb"\W*(error )?(403|404|429|50[0-4])\b.{0,40}(not found|forbidden|error|denied|unavailable|too many)"
)
"""How a server says in a short text, in lower case, that it does not give a file."""

BIASES = re.compile(rb"\d+\s+% *bias_")
MAT4 = re.compile(rb"[\0\n\x14\x1e(2]\0\0\0.{8}[\0\1]\0\0\0[\x02-@]\0\0\0[a-zA-Z]\w*\0", re.DOTALL)
"""A variable of numbers in a MAT file of version 4: its type, rows, columns, whether it is complex, its name."""

ONE_LINE = 1000

PICKLE = "a Python pickle, which is never loaded; save the arrays with numpy.savez"
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
    (0, b"\xff\xfe\0\0", "text in UTF-32; save it as UTF-8"),
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
    *((0, bytes([0x80, version]), PICKLE) for version in range(2, 6)),
    (0, b'\x04"M\x18', "packed by LZ4; unpack it first with 'unlz4'"),
    (0, b"\x1f\x9d", "packed by compress; unpack it first with 'uncompress'"),
    *(
        (0, sign, "packed twice; unpack it once")
        for sign in (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
    ),
    (0, b"FEA1", "a Feather file; save its columns as CSV or NPZ"),
    (8, b'{"', "a model in safetensors, not a recording; give it with --load"),
    (8, b"WEBP", "a WebP image, not a recording"),
    (0, b"II*\0", "a TIFF image, not a recording"),
    (0, b"MM\0*", "a TIFF image, not a recording"),
    (
        0,
        b"% ",
        "a header in Prophesee's style that does not say what follows; say it with ?format=evt2, evt21, evt3 or dat",
    ),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
)
"""(byte offset, bytes there, what it is)."""


def mistaken_text(head: bytes) -> str | None:
    """What a text that is no recording is; None for all others."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if ANSWERS.match(start):
        return "a server's answer, not a recording; download the file itself"
    if BIASES.match(start):
        return "a camera's bias settings, not a recording"
    if start.startswith(b"[[") and b"\n" not in start[:ONE_LINE]:
        return "JSON, not a recording; save the events' columns as CSV or NPZ"
    return next((what for begin, what in TEXTS if start.startswith(begin)), None)


def is_text(head: bytes) -> bool:
    """Whether the beginning of a file is text: hardly any bytes beyond ASCII, and no control characters."""
    return not any(c < ord(" ") and c not in b"\t\r\n\f" for c in head) and 4 * sum(c > 127 for c in head) <= len(head)


def mistaken_binary(head: bytes, path: Path) -> str | None:
    """What a file in none of the formats is, where that is known."""
    if head.startswith(b"PK\x03\x04"):
        inside = ""
        with suppress(*DAMAGE), zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/")]
            if any(n.endswith("/data.pkl") for n in names):
                return "a file of PyTorch's, which is never loaded; save the arrays with numpy.savez"
            if "[Content_Types].xml" in names:
                return "an office document; save the sheet as CSV"
            inside = f" of {len(names)} files, such as {names[0]!r}" if names else ""
        return f"a ZIP archive{inside}; unpack it first with 'unzip'"
    if any(head) and not (any(head[::2]) and any(head[1::2])) and is_text(head[::2].replace(b"\0", b"") or head[1::2]):
        return "text in UTF-16; save it as UTF-8"
    if MAT4.match(head):
        return "a MAT file of version 4; save it with MATLAB's option -v7"
    if not any(head):
        return "zeros only: what was to be written here never was; copy the file again"
    return next((what for at, sign, what in BINARIES if head[at : at + len(sign)] == sign), None)
