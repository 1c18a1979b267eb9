"""Keys of the terminal one by one, without Enter and unseen, and the terminal as it was afterwards."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stream_ottt.leaving import forget, on_leaving

try:
    import termios
    import tty
except ImportError:  # Windows
    termios = tty = None  # type: ignore[assignment]

SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)")
"""What an arrow or another key beyond the characters sends."""

SHOW_CURSOR = b"\x1b[?25h"


def has_keys() -> bool:
    """Whether a person sits at stdin and sees stdout, and this program may read what is typed."""
    if termios is None or not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return _in_foreground(sys.stdin.fileno())


def _in_foreground(fd: int) -> bool:
    # Whoever reads or sets the terminal from the background is stopped.
    with suppress(OSError):
        return os.tcgetpgrp(fd) == os.getpgrp()
    return False


class TerminalKeys:
    """Gives each key that is pressed to ``press``, in the event loop, while started.

    Args:
        press: takes one character.
    """

    def __init__(self, press: Callable[[str], None]) -> None:
        self._press = press
        self._fd = -1
        self._before: list[Any] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading = False

    def start(self) -> None:
        """Begin; where the terminal does not let that happen, there are no keys."""
        self._fd = sys.stdin.fileno()
        with suppress(termios.error, OSError):
            self._before = termios.tcgetattr(self._fd)
            self._loop = asyncio.get_running_loop()
            on_leaving(self._restore)
            self.go_on()

    def go_on(self) -> None:
        """Begin, also again after the program has come back from the background; to be called now and then."""
        if self._before is None or self._loop is None or not _in_foreground(self._fd):
            return
        if termios.tcgetattr(self._fd)[3] & termios.ICANON:
            tty.setcbreak(self._fd, termios.TCSANOW)
        if not self._reading:
            self._loop.add_reader(self._fd, self._read)
            self._reading = True

    def stop(self) -> None:
        """Give the terminal back."""
        self._pause()
        forget(self._restore)
        self._restore()

    def _pause(self) -> None:
        if self._reading and self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._reading = False

    def _read(self) -> None:
        if not _in_foreground(self._fd):
            self._pause()
            return
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._pause()
            self._before = None
            return
        for character in SEQUENCE.sub("", self._decoder.decode(data)):
            self._press(character)

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is None or not _in_foreground(self._fd):
            return
        with suppress(termios.error, OSError):
            termios.tcsetattr(self._fd, termios.TCSANOW, before)
            if select.select([], [self._fd], [], 0)[1]:  # not where the terminal was told to stand still
                os.write(self._fd, SHOW_CURSOR)
