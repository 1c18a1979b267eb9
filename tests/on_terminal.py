"""A program on a terminal of its own: what its screen shows, and keys for it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyte

OWN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
WITHIN_S = 90.0


class OnTerminal:
    """A Python program that has a pseudo-terminal as stdin, stdout, stderr and controlling terminal.

    Args:
        words: its command line, without the interpreter.
        columns, rows: of the terminal.

    Attributes:
        before: the terminal's settings before the program.
        text: all that came.
    """

    def __init__(self, words: list[str], columns: int = 80, rows: int = 24) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = self.settings()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.text = b""
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
            environment.pop(name, None)
        self.child = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *words],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=environment,
        )

    def settings(self) -> list[Any]:
        """The terminal's settings now."""
        import termios

        return termios.tcgetattr(self._slave)

    @property
    def screen(self) -> str:
        """What can be read on it now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def shows_cursor(self) -> bool:
        """Whether the cursor can be seen."""
        return not self._screen.cursor.hidden

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def until(self, what: str | Callable[[], bool]) -> str:
        """Wait until the screen shows a text, or something is so; gives the screen."""
        end = time.monotonic() + WITHIN_S
        while not (what in self.screen if isinstance(what, str) else what()):
            assert time.monotonic() < end, f"{what} did not come:\n{self.screen}"
            assert self._read(1.0) or self.child.poll() is None, f"ended before {what}:\n{self.text.decode()}"
        return self.screen

    def end(self) -> int:
        """Read until it has ended; gives its exit code."""
        end = time.monotonic() + WITHIN_S
        while self.child.poll() is None:
            assert time.monotonic() < end, f"does not end:\n{self.screen}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.child.returncode

    def close(self) -> None:
        """End it, whatever it does."""
        self.child.kill()
        self.child.wait()
        os.close(self._slave)
        os.close(self._master)

    def _read(self, within: float) -> bool:
        if not select.select([self._master], [], [], within)[0]:
            return False
        data = os.read(self._master, 65536)
        self.text += data
        self._stream.feed(data)
        return bool(data)


@contextmanager
def on_terminal(*words: object, columns: int = 80, rows: int = 24) -> Iterator[OnTerminal]:
    """Start a program on a terminal of its own."""
    program = OnTerminal([str(word) for word in words], columns, rows)
    try:
        yield program
    finally:
        program.close()
