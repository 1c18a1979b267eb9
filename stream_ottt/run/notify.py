"""What systemd is told: that the run is ready, that it gets on, and how far (sd_notify(3), without a library)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from stream_ottt.pipeline.view import RunSnapshot


class Notifier:
    """Writes to the socket that systemd names; does nothing where it names none.

    The watchdog's beat comes from the learner: there is one while it rests or gets on, and none once it has been at
    one piece of work for half of ``WatchdogSec=``.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        pid = os.environ.get("WATCHDOG_PID", "")
        mine = not pid or pid == str(os.getpid())
        every = os.environ.get("WATCHDOG_USEC", "")
        self._watchdog_s = (int(every) / 1e6 if mine and every.isdecimal() else 0) or None

    @property
    def every_s(self) -> float | None:
        """Longest time between two calls of :meth:`look`; None where nobody listens."""
        if not self._address:
            return None
        return 5.0 if self._watchdog_s is None else min(5.0, self._watchdog_s / 4)

    def ready(self) -> None:
        """Ports are bound and files are open: the stream may come."""
        self._send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=waiting for the first packet")

    def look(self, snapshot: RunSnapshot) -> None:
        """Say how far it is; and the watchdog's beat, while the learner gets on."""
        session = snapshot.session
        state = [] if session is None else [f"STATUS={session.timesteps} timesteps, learning {session.learning}"]
        if self._watchdog_s is not None and snapshot.busy_s < self._watchdog_s / 2:
            state.append("WATCHDOG=1")
        if state:
            self._send("\n".join(state))

    def stopping(self) -> None:
        """The run is ending."""
        self._send("STOPPING=1\nSTATUS=ending")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.setblocking(False)
            one.sendto(state.encode(), address)
