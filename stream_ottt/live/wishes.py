"""What the readers of a PUB socket have asked for, and no end of it: a peer that never stops asking is cut off.

ZeroMQ keeps every subscription in memory, and queues each message about one until it is read. It knows no bound, but it
tells by which connection a message came.
"""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import suppress

import zmq

MOST = 1000
"""Messages about subscriptions that one connection may send. A reader needs a handful; one that is cut off may come
back and ask anew."""
LONGEST, LONGEST_WITH_KEYS = 256, 1024
"""Bytes of the longest message that a reader may send: a topic, or its part of a handshake with keys."""


class Wishes:
    """Counts the readers of each beginning of a topic.

    Args:
        publisher: an XPUB socket that passes on every subscription and unsubscription.
    """

    def __init__(self, publisher: zmq.Socket[bytes]) -> None:
        self._socket = publisher
        self._by_topic: Counter[bytes] = Counter()
        self._by_connection: Counter[int] = Counter()

    def __len__(self) -> int:
        """Beginnings of topics that are asked for."""
        return len(self._by_topic)

    def readers(self, topic: bytes) -> int:
        """How many wishes there are for ``topic`` now."""
        self.take()
        return sum(n for beginning, n in self._by_topic.items() if topic.startswith(beginning))

    def take(self) -> None:
        """Read all that came; to be called whenever the socket can be read."""
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            wish = frame.bytes
            if wish[:1] == b"\x01":
                self._by_topic[wish[1:]] += 1
            elif self._by_topic[wish[1:]] <= 1:
                del self._by_topic[wish[1:]]
            else:
                self._by_topic[wish[1:]] -= 1
            self._count(frame)

    def _count(self, frame: zmq.Frame) -> None:
        try:
            connection = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:  # it has gone, and ZeroMQ takes back its wishes
            return
        self._by_connection[connection] += 1
        if self._by_connection[connection] > MOST:
            del self._by_connection[connection]
            self._cut_off(connection, str(frame.get("Peer-Address")))

    def _cut_off(self, connection: int, peer: str) -> None:
        """Close a connection, if the descriptor is still that of one from this peer to this socket."""
        own = self._socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()  # type: ignore[union-attr]
        with suppress(OSError), socket.fromfd(connection, socket.AF_INET, socket.SOCK_STREAM) as twin:
            there, here = twin.getpeername(), twin.getsockname()
            if isinstance(there, tuple) and there[0] == peer and own.endswith(f":{here[1]}"):
                twin.shutdown(socket.SHUT_RDWR)
