"""The commands that a run takes while it runs (docs/feed.md), and what each is about."""

from __future__ import annotations

from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss, split_uri

COMMANDS = {
    "label": "a class, by its name or number",
    "add_class": "the new class's name or number",
    "correct": "a class, by its name or number",
    "retract": None,
    "pause": None,
    "resume": None,
    "reset": None,
    "save": None,
    "checkpoint": None,
    "hold": "on or off",
    "step": None,
    "speed": "max, or a factor such as 2",
    "status": None,
}
"""Name → what its value says; None where it takes none."""


def check_address(uri: str) -> None:
    """Refuse an address at which no run can take commands.

    Raises:
        UsageError: it does not begin as it must.
    """
    if split_uri(uri)[0] != "zmq+rep":
        raise UsageError(f"{uri}: commands go to zmq+rep://HOST:PORT, such as zmq+rep://127.0.0.1:5557")


def check_command(name: str, value: str | None) -> None:
    """Refuse a command that no run takes, before a run is asked.

    Raises:
        UsageError: there is no such command (naming the nearest), or it has a value too many or too few.
    """
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}{near_miss(name, COMMANDS)}")
    needs = COMMANDS[name]
    if needs is None and value is not None:
        raise UsageError(f"{name} takes no value (found {value!r})")
    if needs is not None and value is None and name != "hold":
        raise UsageError(f"{name} needs {needs}")
