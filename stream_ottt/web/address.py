"""Where a page or an endpoint is served: ``HOST:PORT`` as people write it, and the socket that listens there."""

from __future__ import annotations

import re
import socket

from stream_ottt.errors import UsageError

HOST = "127.0.0.1"
ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?")


def parse_address(text: str, port: int, *, option: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``HOST``, ``:PORT`` or ``PORT``; loopback and ``port`` where one is left out.

    Raises:
        UsageError: it is no address; ``option`` names it.
    """
    match = ADDRESS.fullmatch(f":{text}" if text.isdecimal() else text)
    said = port if match is None or match["port"] is None else int(match["port"])
    if match is None or said > 65535:
        raise UsageError(f"{option}: {text!r} is no HOST:PORT, such as {HOST}:{port} or [::1]:{port}")
    return match["host"].strip("[]") or HOST, said


def bind(host: str, port: int, *, option: str) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        UsageError: the address is taken, or no address of this machine; ``option`` names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=16)
    except OSError as e:
        reason = (e.strerror or str(e)).partition(" (")[0]
        raise UsageError(f"{option}: cannot serve at {host}:{port}: {reason}; name another HOST:PORT") from None
