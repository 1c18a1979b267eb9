"""Events per second through the live feed between two processes on this machine, PUSH/PULL and PUB/SUB.

    python benchmarks/zmq_feed.py [--events 20000000] [--rounds 5]

The sender packs and sends messages of 10,000 events; the receiver is the source that ``stream-ottt run`` uses, up to
and including event arrays. Each round is one transfer, timed by the receiver from its first packet to the last. The
table gives the median and the best, and the processor time that sender and receiver took per message, all threads
together: where other programs use the machine, that is what tells. Beside it, in the same run: the same bytes through
the bare sockets, without packing, headers, checks or conversion.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection

import numpy as np
import zmq

from stream_ottt.events.packet import EVENT_DTYPE, make_events
from stream_ottt.live import feed, topics
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.sources.opening import open_source

MESSAGE_EVENTS = 10_000


def events_of_a_message() -> np.ndarray:
    """10,000 events of a 346×260 sensor."""
    rng = np.random.default_rng(0)
    n = MESSAGE_EVENTS
    return make_events(
        rng.integers(0, 346, n), rng.integers(0, 260, n), np.sort(rng.integers(0, 10**6, n)), rng.integers(0, 2, n) > 0
    )


def send(kind: str, messages: int, pipe: Connection) -> None:
    """The sending process."""

    async def main() -> None:
        sender = Sender(f"zmq+{kind}://127.0.0.1:0", SocketOptions(bind=True))
        pipe.send(sender.endpoint)
        feed.warm_up()
        events = events_of_a_message()
        await sender.wait_for_readers(1, topics.topic("events", "x"), 30)
        began = time.process_time()
        for seq in range(messages):
            await sender.send(feed.pack_events("x", seq, events, 346, 260))
        pipe.send(time.process_time() - began)
        nothing = np.empty(0, EVENT_DTYPE)
        await sender.send_last(feed.pack_events("x", messages, nothing, 346, 260, eos=True), 10)
        await sender.close()

    asyncio.run(main())


def send_bare(messages: int, pipe: Connection) -> None:
    """The sending process of the bare sockets."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        pipe.send(f"tcp://127.0.0.1:{port}")
        payload = bytes(MESSAGE_EVENTS * feed.WIRE_DTYPE.itemsize)
        began = time.process_time()
        for _ in range(messages):
            socket.send(payload)
        pipe.send(time.process_time() - began)


async def receive(endpoint: str, kind: str) -> tuple[int, float, float]:
    """Events received, and the seconds from the first packet to the last, of the clock and of the processor."""
    source = open_source(endpoint.replace("tcp", {"push": "zmq+pull", "pub": "zmq+sub"}[kind]))
    n, began, used = 0, 0.0, 0.0
    async for packet in source:
        if not n:
            began, used = time.perf_counter(), time.process_time()
        n += len(packet)
    return n, time.perf_counter() - began, time.process_time() - used


def receive_bare(endpoint: str, messages: int) -> tuple[int, float, float]:
    """As :func:`receive`, of the bare sockets."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.connect(endpoint)
        socket.recv(copy=False)
        began, used = time.perf_counter(), time.process_time()
        for _ in range(messages - 1):
            socket.recv(copy=False)
        return messages * MESSAGE_EVENTS, time.perf_counter() - began, time.process_time() - used


def transfer(kind: str, messages: int) -> tuple[float, float, float, float]:
    """One round: M events/s, share of events lost, processor µs per message of sender and receiver."""
    ours, theirs = multiprocessing.Pipe()
    target, arguments = (send_bare, (messages, theirs)) if kind == "bare" else (send, (kind, messages, theirs))
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    try:
        endpoint = ours.recv()
        if kind == "bare":
            n, seconds, used = receive_bare(endpoint, messages)
        else:
            n, seconds, used = asyncio.run(receive(endpoint, kind))
        sent = ours.recv()
        process.join(30)
    finally:
        process.kill()
    each = 1e6 / messages
    return (n - MESSAGE_EVENTS) / seconds / 1e6, 1 - n / (messages * MESSAGE_EVENTS), sent * each, used * each


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    messages = options.events // MESSAGE_EVENTS
    results: dict[str, list[tuple[float, float, float, float]]] = {"push": [], "pub": [], "bare": []}
    for _ in range(options.rounds):
        for kind, rounds in results.items():
            rounds.append(transfer(kind, messages))
    names = {"push": "PUSH/PULL", "pub": "PUB/SUB", "bare": "bare PUSH/PULL, bytes only"}
    print("| sockets | median M events/s | best | events lost | µs of processor per message |")
    print("|---|---|---|---|---|")
    for kind, rounds in results.items():
        rates, lost, sender, receiver = zip(*rounds, strict=True)
        print(
            f"| {names[kind]} | {statistics.median(rates):.0f} | {max(rates):.0f} | {statistics.mean(lost):.1%} "
            f"| {statistics.median(sender):.0f} + {statistics.median(receiver):.0f} |"
        )


if __name__ == "__main__":
    main()
