"""``stream-ottt publish``: any source onto a socket."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from typing import Literal

from stream_ottt.errors import InputError, UsageError
from stream_ottt.filters.chain import Spec, parse_filter
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.live import topics
from stream_ottt.live.publisher import Counts, FeedOutput, Output, play
from stream_ottt.live.sockets import is_loopback
from stream_ottt.live.zenoh_peer import ZenohOptions, ZenohSender
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.verdict import unusable
from stream_ottt.registry import split_uri
from stream_ottt.run.stopping import Stopping
from stream_ottt.settings import parse_duration_us
from stream_ottt.sinks.aedat4_tcp import TcpOutput
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.tcp import split_address

STOP_S = 0.3
"""Longest wait for readers, once a signal has come."""


@dataclass(slots=True)
class PublishRequest:
    """What a user asks for.

    Attributes:
        source: URI or path.
        to: ``zmq+pub://…``, ``zmq+push://…``, ``zenoh://…`` or ``tcp://…``, with a socket's options as a query.
        speed: stream seconds per wall second; None for as fast as it goes.
        labels: CSV sidecar; None for the source's own labels, if it has any.
        label_delay: when a label is sent after its interval's start, such as ``500ms``, or ``end``.
        filters: what leaves out or moves events, in this order.
        name: of the source in topics; None derives it from the source.
        wait: readers to wait for.
        wait_for: longest such wait, s.
        insecure: allow binding beyond this machine without keys.
    """

    source: str
    to: str
    speed: float | None = None
    labels: str | None = None
    label_delay: str = "end"
    filters: tuple[Spec, ...] = ()
    name: str | None = None
    wait: int = 1
    wait_for: float = 60.0
    insecure: bool = False


class PublishOptions(SocketOptions):
    """A publisher binds unless told otherwise."""

    bind: bool = True


def publish(request: PublishRequest) -> int:
    """Play to the end.

    Returns:
        The exit code: 0, also after SIGTERM and SIGHUP; 3 for damaged input, of which everything good was sent; 130
        after Ctrl-C.

    Raises:
        StreamOtttError: a source, labels or an address that cannot be used; no reader.
    """
    with Stopping() as stopping:
        return asyncio.run(_publish(request, stopping))


async def _publish(request: PublishRequest, stopping: Stopping) -> int:
    for spec in request.filters:
        parse_filter(spec)
    source = open_source(request.source)
    labels = _labels(request)
    try:
        name = topics.check_name(request.name or topics.source_name(request.source))
    except ValueError as e:
        raise UsageError(f"--name: {e}") from None
    output = await _open(request, name)
    counts = Counts()
    error: InputError | None = None
    print(f"publishing {name} on {output.endpoint}", flush=True)
    playing = asyncio.ensure_future(_wait_and_play(request, source, output, counts, labels))
    loop = asyncio.get_running_loop()
    now = playing  # what there is to be stopped

    def stop() -> None:
        loop.call_soon_threadsafe(lambda: now.cancel())

    stopping.act = stop
    try:
        await playing
    except InputError as e:
        error = e
    except asyncio.CancelledError:
        if stopping.signal is None:
            raise
    finally:
        now = asyncio.ensure_future(output.end(None if stopping.signal is None else STOP_S))
        await asyncio.wait([now])
    if not now.cancelled():
        now.result()
    rate = counts.events / counts.seconds if counts.seconds else 0.0
    print(
        f"{counts.events:,} events in {counts.messages:,} messages and {counts.labels} labels "
        f"in {counts.seconds:.1f} s ({rate / 1e6:.2f} M events/s)"
    )
    for reason, n in counts.dropped.items():
        print(f"{reason}: {n:,} events left out")
    if (counts.malformed or counts.wrong_times) and error is None:
        left_out = counts.malformed, counts.wrong_times
        why = unusable(source, counts.read, *left_out, counts.size, counts.misfits)
        error = InputError(
            f"{request.source}: {counts.malformed} events outside the sensor or the range of times and "
            f"{counts.wrong_times} with wrong times were not sent" + (f"; {why}" if why else "")
        )
    if not counts.read and error is None and stopping.signal is None and not type(source).live:
        error = InputError("the recording holds no events; nothing was sent", path=request.source)
    if error is not None:
        print(f"stream-ottt: {error}", file=sys.stderr)
    if stopping.signal is not None:
        return stopping.exit_code
    return error.exit_code if error is not None else 0


async def _wait_and_play(
    request: PublishRequest, source: Source, output: Output, counts: Counts, labels: LabelTimeline | None
) -> None:
    if request.wait:
        print(f"waiting for {request.wait} reader{'s' * (request.wait > 1)}", flush=True)
        await output.wait_for_readers(request.wait, request.wait_for)
    delay = _delay(request)
    await play(source, output, counts, speed=request.speed, labels=labels, delay=delay, filters=request.filters)


def _delay(request: PublishRequest) -> int | Literal["end"]:
    try:
        return "end" if request.label_delay == "end" else parse_duration_us(request.label_delay)
    except ValueError as e:
        raise UsageError(f"--label-delay: {e}; or say end") from None


def _labels(request: PublishRequest) -> LabelTimeline | None:
    """Those of a file."""
    delay = _delay(request)
    if request.labels is None:
        return None
    found = read_label_csv(request.labels)
    named = [replace(interval, name=found.names.get(interval.label)) for interval in found.intervals]
    return LabelTimeline(named, delay=delay, name=request.labels)


async def _open(request: PublishRequest, name: str) -> Output:
    scheme, rest, query = split_uri(request.to)
    address = f"{scheme}:{rest}"
    if scheme == "tcp":
        host, port = split_address(address)
        if not request.insecure and not is_loopback(host):
            raise UsageError(f"{address}: this would be open to everybody; say --insecure, or bind to 127.0.0.1")
        output = TcpOutput(host, port)
        await output.open()
        return output
    options = {**query, **({"insecure": True} if request.insecure else {})}
    if scheme == "zenoh":
        return FeedOutput(ZenohSender(address, ZenohOptions.load(options, where="to")), name)
    if scheme not in ("zmq+pub", "zmq+push"):
        raise UsageError(
            f"--to {request.to}: write it as zmq+pub://HOST:PORT, zmq+push://HOST:PORT, zenoh://KEY or tcp://HOST:PORT"
        )
    return FeedOutput(Sender(address, PublishOptions.load(options, where="to")), name)
