"""``stream-ottt report``: what runs did, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stream_ottt.cli.progress import loading
from stream_ottt.errors import OutputError
from stream_ottt.log import say
from stream_ottt.outputs import check_writable, write_atomically


def write_report(paths: Sequence[Path], out: Path, *, force: bool) -> int:
    """Write the report of runs, replays and tables.

    Returns:
        0.

    Raises:
        StreamOtttError: one line for the user.
    """
    check_writable(out, overwrite=force)
    loading(" + ".join(map(str, paths)))
    from stream_ottt.report.page import report

    data = report(paths)
    try:
        write_atomically(out, data)
    except OSError as e:
        raise OutputError(f"{out}: cannot be written: {e.strerror}") from e
    say(str(out))
    return 0
