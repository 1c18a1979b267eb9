"""ZeroMQ sockets of the live feed: options, addresses, keys, and waiting for one in asyncio.

Every socket has a context of its own, since a context can check the keys of one server only.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.auth
from pydantic import Field
from zmq.auth.thread import ThreadAuthenticator

from stream_ottt.errors import InputError, OutputError, StreamOtttError, UsageError
from stream_ottt.live.sockets import is_loopback
from stream_ottt.settings import Duration, Flag, Settings

ADDRESS = re.compile(r"zmq\+(?P<kind>[a-z]+)://(?P<host>\[[0-9a-fA-F:.%]+\]|[^/:\[\]?#]+):(?P<port>\*|\d{1,5})/?")
TYPES = {"sub": zmq.SUB, "pull": zmq.PULL, "pub": zmq.XPUB, "push": zmq.PUSH, "rep": zmq.REP, "req": zmq.REQ}
DOMAIN = "stream-ottt"
"""What the server asks its authenticator about."""
BUFFER_BYTES = 1 << 18
"""Of the system, on each side: two messages of 10,000 events. More is slower on loopback: it outgrows the caches."""
SERVER, CLIENT = "server", "client"
"""Names of the two key pairs in a folder of keys: of the end that binds, and of an end that connects."""


class SocketOptions(Settings):
    """Options of every socket of the feed.

    Attributes:
        bind: wait for the others at this address, instead of going to them.
        hwm: messages that may wait on each connection, on each side, before PUB drops or PUSH waits.
        heartbeat: how often to ask a silent peer whether it is there; after twice that it counts as gone. 0 never asks.
        reconnect: wait before the first attempt to reconnect; it doubles with each one.
        reconnect_max: longest such wait.
        keys: folder of CURVE keys (``stream-ottt keys new``); None leaves the connection open and readable.
        insecure: allow binding beyond this machine without keys.
    """

    bind: Flag = False
    hwm: int = Field(256, ge=1, le=1_000_000)
    heartbeat: Duration = 2_000_000
    reconnect: Duration = Field(100_000, ge=1000)
    reconnect_max: Duration = Field(5_000_000, ge=1000)
    keys: Path | None = None
    insecure: Flag = False


class FeedSocket:
    """One socket, with its context and what checks its clients' keys.

    Args:
        address: ``zmq+KIND://HOST:PORT``; port 0 or ``*`` takes a free one when binding.
        options: how.
        max_bytes: a peer that sends a larger frame is disconnected by ZeroMQ before it is read.

    Attributes:
        socket: ZeroMQ's own.
        on_change: called in the event loop when something may have come and nobody waits, once :meth:`listen` was.

    Raises:
        UsageError: an address that is none, or one that would be open to others without keys or consent.
        InputError, OutputError: it cannot be bound or connected (for what is read, or written).
    """

    def __init__(self, address: str, options: SocketOptions, *, max_bytes: int = 64 << 20) -> None:
        self.address = address
        self.kind, host, port = parse_address(address)
        self._host = host
        self.sends = self.kind in ("pub", "push")
        check_exposure(address, host, options)
        if not options.bind and (host == "*" or port in ("*", "0")):
            raise UsageError(f"{address}: nobody can be reached at {host}:{port}; name host and port, or use ?bind")
        self._options, self._max_bytes = options, max_bytes
        self._guard: ThreadAuthenticator | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self.on_change: Callable[[], None] | None = None
        self._waiting = False
        self._open(f"tcp://{host}:{'*' if port == '0' else port}")

    def _open(self, endpoint: str) -> None:
        options, address = self._options, self.address
        self._place = endpoint
        self._context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(TYPES[self.kind])
        try:
            self._configure(options, self._max_bytes)
            if options.bind:
                self.socket.bind(endpoint)
                self._place = self.endpoint
            else:
                self.socket.connect(endpoint)
        except (zmq.ZMQError, OSError) as e:
            self.close()
            verb = "bound" if options.bind else "connected"
            error = OutputError if self.sends else InputError
            raise error(f"{address}: cannot be {verb}: {e.strerror}; choose another host or port") from e
        except StreamOtttError:
            self.close()
            raise

    @property
    def endpoint(self) -> str:
        """The address that was bound, ``tcp://HOST:PORT``, with the port that was chosen."""
        return self.socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()  # type: ignore[union-attr]

    def close(self, *, linger_ms: int = 0) -> None:
        """Close; waits at most ``linger_ms`` for what is not sent yet."""
        self.release()
        self.socket.close(linger=linger_ms)
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
        self._context.term()

    def open_anew(self) -> None:
        """Close, which ends all connections and frees what they hold, and open at the same place.

        Raises:
            InputError, OutputError: it cannot be bound any more.
        """
        listened = self._loop is not None
        self.close()
        self._open(self._place)
        if listened:
            self.listen()

    def release(self) -> None:
        """Take the socket out of the event loop, in the loop's own thread; it can be closed in any other then."""
        if self._loop is not None:
            self._loop.remove_reader(int(self.socket.getsockopt(zmq.FD)))
            self._loop = None

    def listen(self) -> None:
        """Notice from now on what comes, in the running event loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(int(self.socket.getsockopt(zmq.FD)), self._note)

    def _note(self) -> None:
        self._changed.set()
        if self.on_change is not None and not self._waiting:
            self.on_change()

    async def wait(self, flag: int, within: float | None = None) -> bool:
        """Until the socket can receive (``zmq.POLLIN``) or send (``zmq.POLLOUT``); False after ``within`` s.

        The descriptor only tells that something changed: so what is possible is asked anew before each wait.
        """
        self.listen()
        self._changed.clear()
        self._waiting = True
        try:
            async with asyncio.timeout(within):
                while not int(self.socket.getsockopt(zmq.EVENTS)) & flag:
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError:
            # Where the event loop was held up for so long, there may be something all the same.
            return bool(int(self.socket.getsockopt(zmq.EVENTS)) & flag)
        finally:
            self._waiting = False
        return True

    def _configure(self, options: SocketOptions, max_bytes: int) -> None:
        socket = self.socket
        settings = {
            zmq.LINGER: 0,
            # Only that of messages: subscriptions go the other way, and those that find no room are lost.
            (zmq.SNDHWM if self.sends else zmq.RCVHWM): options.hwm,
            zmq.HEARTBEAT_IVL: options.heartbeat // 1000,
            zmq.HEARTBEAT_TIMEOUT: 2 * options.heartbeat // 1000,
            zmq.RECONNECT_IVL: options.reconnect // 1000,
            zmq.RECONNECT_IVL_MAX: max(options.reconnect, options.reconnect_max) // 1000,
            zmq.MAXMSGSIZE: max_bytes,
            zmq.SNDBUF: BUFFER_BYTES,
            zmq.RCVBUF: BUFFER_BYTES,
            zmq.IPV6: int(self._host.startswith("[")),
        }
        if self.kind == "pub":
            # Its own heartbeats end the process with a failed assertion of ZeroMQ's (its issue 4364) when a reader
            # subscribes faster than is read, and leaves. It answers those of its readers all the same.
            idle = max(1, options.heartbeat // 1_000_000)
            settings |= {zmq.HEARTBEAT_IVL: 0, zmq.HEARTBEAT_TIMEOUT: 0}
            settings |= {zmq.TCP_KEEPALIVE: int(options.heartbeat > 0), zmq.TCP_KEEPALIVE_IDLE: idle}
            settings |= {zmq.TCP_KEEPALIVE_INTVL: idle, zmq.TCP_KEEPALIVE_CNT: 2}
            settings[zmq.RCVHWM] = 1  # or ZeroMQ reads as long as they come, and nobody can be cut off meanwhile
        for option, value in settings.items():
            socket.setsockopt(option, value)
        if options.keys is not None:
            self._lock(options.keys, server=options.bind)

    def _lock(self, keys: Path, *, server: bool) -> None:
        """Encrypt; the end that binds lets in those whose public key lies in the folder."""
        own_public, own_secret = _certificate(keys / f"{SERVER if server else CLIENT}.key_secret", secret=True)
        self.socket.curve_publickey, self.socket.curve_secretkey = own_public, own_secret
        if not server:
            self.socket.curve_serverkey = _certificate(keys / f"{SERVER}.key", secret=False)[0]
            return
        # Without a running authenticator ZeroMQ would let in everybody who knows the server's public key.
        self._guard = ThreadAuthenticator(self._context)
        self._guard.start()
        self._guard.configure_curve(domain=DOMAIN, location=str(keys))
        self.socket.curve_server = True
        self.socket.zap_domain = DOMAIN.encode()
        self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def parse_address(address: str) -> tuple[str, str, str]:
    """Kind of socket, host and port of ``zmq+KIND://HOST:PORT``.

    Raises:
        UsageError: it is none.
    """
    match = ADDRESS.fullmatch(address)
    if not match or match["kind"] not in TYPES or (match["port"] != "*" and int(match["port"]) > 65535):
        raise UsageError(f"{address}: no address of the feed; write it as in zmq+sub://localhost:5555")
    return match["kind"], match["host"], match["port"]


def check_exposure(address: str, host: str, options: SocketOptions) -> None:
    """Refuse to wait for others from beyond this machine without keys.

    Raises:
        UsageError: naming the two ways out.
    """
    if options.bind and options.keys is None and not options.insecure and not is_loopback(host):
        raise UsageError(
            f"{address}: this would be open to everybody who reaches this machine; make keys with "
            "'stream-ottt keys new' and give ?keys=FOLDER, or say ?insecure (--insecure), or bind to 127.0.0.1"
        )


def allow_exposure(uri: str) -> str:
    """``uri`` with the consent ``insecure`` among its options, if it is one of a socket."""
    if not uri.startswith(("zmq+", "udp:", "zenoh:")):
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}insecure=true"


def _certificate(path: Path, *, secret: bool) -> tuple[bytes, Any]:
    try:
        public, private = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise UsageError(f"{path}: cannot read the key: {reason}; 'stream-ottt keys new FOLDER' makes them") from e
    if secret and private is None:
        raise UsageError(f"{path}: no secret key in it; 'stream-ottt keys new FOLDER' makes one")
    return public, private
