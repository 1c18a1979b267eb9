"""The learning methods: one file each. To add one: write the file, add its line here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stream_ottt.errors import UsageError
from stream_ottt.registry import Registry

if TYPE_CHECKING:
    from stream_ottt.replay.methods.base import Method

METHODS = Registry(
    "method",
    {
        "ottt_o": "stream_ottt.replay.methods.ottt:OtttO",
        "ottt_a": "stream_ottt.replay.methods.ottt:OtttA",
        "bptt": "stream_ottt.replay.methods.bptt:Bptt",
        "sltt": "stream_ottt.replay.methods.sltt:Sltt",
        "frozen": "stream_ottt.replay.methods.frozen:Frozen",
        "ndot": "stream_ottt.replay.methods.ndot:Ndot",
        "stllr": "stream_ottt.replay.methods.stllr:Stllr",
        "obgd": "stream_ottt.replay.methods.obgd:ObGD",
        "cbp": "stream_ottt.replay.methods.cbp:ContinualBackprop",
        "er": "stream_ottt.replay.methods.er:ER",
        "derpp": "stream_ottt.replay.methods.derpp:DERpp",
        "gdumb": "stream_ottt.replay.methods.gdumb:GDumb",
        "ncm": "stream_ottt.replay.methods.ncm:NCM",
        "slda": "stream_ottt.replay.methods.slda:SLDA",
    },
)


def find_method(name: str) -> type[Method]:
    """The method of a short name, or the class in a file: ``rule.py:MyRule``.

    Raises:
        UsageError: no such name, file or class, or a class that is no method.
    """
    file, _, attribute = name.rpartition(":")
    if not file.endswith(".py"):
        method: type[Method] = METHODS.get(name)
        return method
    from runpy import run_path

    from stream_ottt.replay.methods.base import Method

    if not Path(file).is_file():
        raise UsageError(f"method.name: {file}: no such file; write FILE.py:Class")
    found = run_path(file).get(attribute)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UsageError(f"method.name: {file} has no subclass of Method named {attribute!r}")
    return found
