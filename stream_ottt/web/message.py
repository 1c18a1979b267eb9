"""What passes between the page's server and a browser.

To the browser: binary WebSocket messages, each a sequence of *parts*. A part is

    u32 length of the head, u32 length of the arrays (both little-endian, both multiples of 4)
    head: JSON in UTF-8, padded with blanks: {"kind": …, …, "arrays": [[name, dtype, shape], …]}
    arrays: the raw little-endian elements of each, padded with zeros to a multiple of 4

From the browser: one JSON object in a text message, :class:`Ready`, :class:`Wish` or :class:`Command`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_BYTES = 4096
"""Largest message that is taken from a browser."""

DTYPES = {np.dtype(name): name for name in ("uint8", "int32", "float32")}
"""Element types that a part may hold, and their names in it."""

Arrays = Mapping[str, npt.NDArray[Any]]

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def encode_part(kind: str, fields: Mapping[str, Any], arrays: Arrays | None = None) -> bytes:
    """One part.

    Args:
        kind: what it holds.
        fields: plain JSON values; a number that is not finite becomes null.
        arrays: name → array of a dtype in ``DTYPES``.
    """
    blocks: list[bytes] = []
    listed: list[list[Any]] = []
    for name, array in (arrays or {}).items():
        if (dtype := DTYPES.get(array.dtype)) is None:
            raise TypeError(f"a part cannot hold {array.dtype.name}")
        data = array.tobytes()
        blocks.append(data + bytes(-len(data) % 4))
        listed.append([name, dtype, array.shape])
    whole = {"kind": kind, **fields, "arrays": listed}
    try:
        text = _JSON.encode(whole)
    except (ValueError, TypeError):
        text = _JSON.encode(_finite(whole))
    head = text.encode()
    head += b" " * (-len(head) % 4)
    body = b"".join(blocks)
    return struct.pack("<II", len(head), len(body)) + head + body


def decode_parts(message: bytes) -> list[dict[str, Any]]:
    """The parts of a message: the fields of each, with its arrays under ``"arrays"`` by name."""
    parts: list[dict[str, Any]] = []
    at = 0
    while at < len(message):
        head_bytes, body_bytes = struct.unpack_from("<II", message, at)
        at += 8
        part = json.loads(message[at : at + head_bytes])
        at += head_bytes
        arrays: dict[str, npt.NDArray[Any]] = {}
        place = at
        for name, dtype, shape in part["arrays"]:
            count = math.prod(shape)
            arrays[name] = np.frombuffer(message, dtype, count, place).reshape(shape)
            place += arrays[name].nbytes + -arrays[name].nbytes % 4
        part["arrays"] = arrays
        parts.append(part)
        at += body_bytes
    return parts


def _finite(value: Any) -> Any:
    """``value`` with null where JSON has no number."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class _Incoming(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Ready(_Incoming):
    """The browser has drawn messages, and can take as many others.

    Attributes:
        drawn: how many.
    """

    kind: Literal["ready"]
    drawn: int = Field(1, ge=1, le=1024)


class Wish(_Incoming):
    """What the browser wants to see beside the plain figures.

    Attributes:
        inside: whether it shows the network's inside.
        memory: whether it shows the rehearsal memory.
        layer: whose spikes and neuron; None for the first one.
        neuron: index of the picked neuron in that layer; None for one that fires.
    """

    kind: Literal["wish"]
    inside: bool = False
    memory: bool = False
    layer: Annotated[str, Field(max_length=64)] | None = None
    neuron: int | None = Field(None, ge=0, lt=2**31)


CommandName = Literal[
    "pause",
    "resume",
    "label",
    "correct",
    "retract",
    "new_class",
    "reset",
    "save",
    "checkpoint",
    "speed",
    "hold",
    "step",
]
"""What a browser may ask a run to do."""


class Command(_Incoming):
    """Something to be done to the run.

    Attributes:
        id: comes back with the answer.
        name: which command.
        label: the class, for ``label`` and ``correct``.
        span_us: how far back the label reaches, µs; None for as far as the settings say.
        text: the new class's name.
        value: the speed in stream seconds per second; 0 for as fast as possible.
    """

    kind: Literal["command"]
    id: int = Field(ge=0, lt=2**31)
    name: CommandName
    label: int | None = None
    span_us: int | None = Field(None, ge=1, le=3_600_000_000)
    text: str | None = Field(None, min_length=1, max_length=64)
    value: float | None = Field(None, ge=0, le=1000)


Incoming = Ready | Wish | Command
_INCOMING: TypeAdapter[Incoming] = TypeAdapter(Annotated[Incoming, Field(discriminator="kind")])


def decode_incoming(text: str | bytes) -> Incoming:
    """A browser's message.

    Raises:
        ValueError: it is none.
    """
    try:
        return _INCOMING.validate_json(text)
    except ValidationError as e:
        problem = e.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
