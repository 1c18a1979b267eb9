"""The wire format of the live feed (docs/feed.md): topics, JSON headers, packed events. No sockets here.

A message is a list of frames: the topic ``KIND/SOURCE``, a JSON header, and for events a payload of 13-byte records.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EVENT_DTYPE, EventArray
from stream_ottt.labels.timeline import LONGEST_NAME, LabelInterval
from stream_ottt.live.topics import FeedError, Kind, topic

VERSION = 1
"""Value of ``v``; it changes when a key changes its meaning."""

WIRE_DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])
"""One event of the payload: µs, pixels, True for ON. 13 bytes, packed."""

MAX_HEADER_BYTES = 4096
MAX_SIDE = 1 << 15
MAX_FRAMES = 3
MAX_SENDER = 64
"""Characters of what tells one sender from another."""

_DTYPE_ON_THE_WIRE = [["t", "<u8"], ["x", "<u2"], ["y", "<u2"], ["p", "?"]]
_DTYPE_AS_JSON = json.dumps(_DTYPE_ON_THE_WIRE, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class EventHeader:
    """Header of an events message.

    Attributes:
        seq: number of the message among those of its source, from 0.
        n: events in the payload.
        t0, t1: times of the first and the last event, µs; for n = 0 the source's latest time.
        width, height: of the sensor, pixels.
        eos: True on the last message of the stream.
        sender: who sent it, where several could under one name; empty where it does not say.
    """

    seq: int
    n: int
    t0: int
    t1: int
    width: int
    height: int
    eos: bool = False
    sender: str = ""


# --- events ------------------------------------------------------------------------------------------------------


def new_sender() -> str:
    """What tells a sender from all others, and from itself after a restart."""
    return secrets.token_hex(8)


def pack_events(
    source: str,
    seq: int,
    events: EventArray,
    width: int,
    height: int,
    *,
    t: int = 0,
    eos: bool = False,
    sender: str = "",
) -> list[bytes | memoryview]:
    """An events message.

    Args:
        source: name of the source.
        seq: number of the message.
        events: [n] of EVENT_DTYPE, well-formed.
        width, height: of the sensor, pixels.
        t: the source's latest time, µs, for a message without events.
        eos: True for the last message of the stream.
        sender: who sends it, of :func:`new_sender`; empty does not say.
    """
    n = len(events)
    t0, t1 = (int(events["t"][0]), int(events["t"][-1])) if n else (t, t)
    # Numbers and a constant: written out, it takes a tenth of the time of a JSON encoder.
    of = f',"sender":"{sender}"' if sender else ""
    header = (
        f'{{"v":{VERSION},"seq":{seq},"n":{n},"t0":{t0},"t1":{t1},"width":{width},"height":{height},'
        f'"dtype":{_DTYPE_AS_JSON},"encoding":"raw","eos":{"true" if eos else "false"}{of}}}'
    )
    return [topic("events", source), header.encode(), to_wire(events).view(np.uint8).data]


def unpack_events(header: bytes | memoryview, payload: bytes | memoryview) -> tuple[EventHeader, EventArray]:
    """The second and third frame of an events message.

    Returns:
        The header, and the events [n] of EVENT_DTYPE in memory of their own. What does not fit it turns negative,
        which the core counts as malformed: coordinates ≥ 2¹⁵, times ≥ 2⁶³.

    Raises:
        FeedError: anything that is not as docs/feed.md says.
    """
    values = _table(header)
    n, t0, t1 = (_integer(values, key, 0, 2**63 - 1) for key in ("n", "t0", "t1"))
    parsed = EventHeader(
        seq=_integer(values, "seq", 0, 2**63 - 1),
        n=n,
        t0=t0,
        t1=t1,
        width=_integer(values, "width", 1, MAX_SIDE),
        height=_integer(values, "height", 1, MAX_SIDE),
        eos=values.get("eos", False) is True,
        sender=_sender(values.get("sender", "")),
    )
    if values.get("dtype") != _DTYPE_ON_THE_WIRE or values.get("encoding") != "raw":
        raise FeedError(
            f"events as {str(values.get('dtype'))[:80]} in encoding {str(values.get('encoding'))[:20]!r}; "
            f"expected {json.dumps(_DTYPE_ON_THE_WIRE)} in 'raw'"
        )
    if len(payload) != n * WIRE_DTYPE.itemsize:
        raise FeedError(f"a payload of {len(payload)} bytes, where n = {n} events take {n * WIRE_DTYPE.itemsize}")
    return parsed, from_wire(np.frombuffer(payload, WIRE_DTYPE))


def to_wire(events: EventArray) -> npt.NDArray[np.void]:
    """Events [n] of EVENT_DTYPE as WIRE_DTYPE, in memory of their own."""
    return _reordered(np.ascontiguousarray(events), WIRE_DTYPE)


def from_wire(records: npt.NDArray[np.void]) -> EventArray:
    """Records [n] of WIRE_DTYPE as EVENT_DTYPE, in memory of their own; any polarity byte but 0 is ON."""
    return _reordered(records, EVENT_DTYPE)


def _reordered(given: npt.NDArray[np.void], dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    from stream_ottt.live.feed_kernels import IN_MEMORY, ON_THE_WIRE, reorder

    source, target = (ON_THE_WIRE, IN_MEMORY) if dtype == EVENT_DTYPE else (IN_MEMORY, ON_THE_WIRE)
    out = np.empty(len(given), dtype)
    given = given.view(source)
    given.flags.writeable = False  # whatever it was: numba compiles for each case anew
    reorder(given, out.view(target))
    return out


def warm_up() -> None:
    """Have the conversions compiled: the first use takes a second, in which a live stream would be lost."""
    from_wire(np.frombuffer(to_wire(np.zeros(1, EVENT_DTYPE)).tobytes(), WIRE_DTYPE))


# --- labels ------------------------------------------------------------------------------------------------------


def pack_label(source: str, interval: LabelInterval, *, sender: str = "") -> list[bytes]:
    """A label message; ``sender`` is who sends the events that it is of, where that is the same."""
    of = interval.name if interval.label < 0 else interval.label
    label = {"v": VERSION, "t0": interval.t_start, "t1": interval.t_end, "class": of}
    label |= {"name": interval.name} if interval.label >= 0 and interval.name is not None else {}
    label |= {"sender": sender} if sender else {}
    return [topic("labels", source), _json(label)]


def unpack_label(header: bytes | memoryview) -> LabelInterval:
    """The second frame of a label message.

    Raises:
        FeedError: anything that is not as docs/feed.md says.
    """
    values = _table(header)
    t0, t1 = (_integer(values, key, 0, 2**63 - 1) for key in ("t0", "t1"))
    if t1 <= t0:
        raise FeedError(f"a label from {t0} to {t1} µs, which ends before it starts")
    of, name = values.get("class"), values.get("name")
    if isinstance(of, str):
        return LabelInterval(t0, t1, -1, of)
    if name is not None and not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= LONGEST_NAME):
        raise FeedError(f"a class's name is text of 1 to {LONGEST_NAME} characters that can be printed")
    return LabelInterval(t0, t1, _integer(values, "class", 0, 2**63 - 1), name)


def label_sender(header: bytes | memoryview) -> str:
    """Whose events a label is of, from the second frame of its message; empty where it does not say.

    Raises:
        FeedError: it is no short text.
    """
    return _sender(_table(header).get("sender", ""))


# --- predictions -------------------------------------------------------------------------------------------------


def pack_prediction(source: str, values: dict[str, Any]) -> list[bytes]:
    """A predictions message of JSON-ready ``values``."""
    return [topic("predictions", source), _json({"v": VERSION, **values})]


def unpack_json(header: bytes | memoryview) -> dict[str, Any]:
    """Any JSON header of this version.

    Raises:
        FeedError: too long, no JSON object, or of another version.
    """
    return _table(header)


def count_frames(kind: Kind) -> int:
    """How many frames a message of this kind has."""
    return 3 if kind == "events" else 2


# --- one payload -------------------------------------------------------------------------------------------------


def join_frames(frames: Sequence[bytes | memoryview]) -> bytes:
    """A message as one payload: before each frame its length, 4 bytes, little-endian."""
    return b"".join(part for frame in frames for part in (len(frame).to_bytes(4, "little"), frame))


def split_frames(payload: bytes) -> list[memoryview]:
    """The frames of :func:`join_frames`, in the payload's own memory.

    Raises:
        FeedError: more frames than a message has, or a length beyond the payload's end.
    """
    frames: list[memoryview] = []
    view, at = memoryview(payload), 0
    while at < len(view):
        start = at + 4
        at = start + int.from_bytes(view[at:start], "little")
        if at > len(view) or len(frames) == MAX_FRAMES:
            raise FeedError(f"a payload of {len(view)} bytes that is no list of at most {MAX_FRAMES} frames")
        frames.append(view[start:at])
    if not frames:
        raise FeedError("a payload without frames")
    return frames


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _table(header: bytes | memoryview) -> dict[str, Any]:
    if len(header) > MAX_HEADER_BYTES:
        raise FeedError(f"a header of {len(header)} bytes; at most {MAX_HEADER_BYTES} are read")
    try:
        values = json.loads(bytes(header))
    except (ValueError, RecursionError):
        raise FeedError(f"a header that is no JSON: {bytes(header[:40])!r}") from None
    if not isinstance(values, dict):
        raise FeedError(f"a header that is no JSON object: {bytes(header[:40])!r}")
    if values.get("v") != VERSION:
        raise FeedError(f"wire format v = {str(values.get('v'))[:20]!r}; only {VERSION} is known")
    return values


def _sender(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_SENDER or not value.isprintable():
        raise FeedError(f"sender = {ascii(value)[:40]} in the header; expected at most {MAX_SENDER} characters")
    return value


def _integer(values: dict[str, Any], key: str, low: int, high: int) -> int:
    value = values.get(key)
    if type(value) is not int or not low <= value <= high:
        raise FeedError(f"{key} = {str(value)[:40]!r} in the header; expected an integer from {low} to {high}")
    return value
