"""Predictions over ZeroMQ: ``zmq+pub://127.0.0.1:5556`` and ``zmq+push://…`` (docs/feed.md)."""

from __future__ import annotations

from pydantic import Field

from stream_ottt.errors import UsageError
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions, check_exposure, parse_address
from stream_ottt.sinks.feed_sink import FeedSink, FeedSinkConfig


class ZmqSinkConfig(FeedSinkConfig, SocketOptions):
    """Options of :class:`ZmqSink`, beside those of every socket of the feed.

    Attributes:
        target: ``zmq+pub://HOST:PORT`` or ``zmq+push://HOST:PORT``.
        bind: wait for readers at this address, which is what a sink does unless told otherwise.
        wait: readers to wait for before the run begins.
    """

    bind: bool = True
    wait: int = Field(0, ge=0)


class ZmqSink(FeedSink):
    """Predictions over ZeroMQ."""

    name = "zmq"
    schemes = ("zmq+pub", "zmq+push")
    Config = ZmqSinkConfig
    config: ZmqSinkConfig

    def __init__(self, config: ZmqSinkConfig) -> None:
        super().__init__(config)
        kind, host, _ = parse_address(config.target)
        if kind not in ("pub", "push"):
            raise UsageError(f"{config.target}: predictions are sent with zmq+pub:// or zmq+push://")
        check_exposure(config.target, host, config)

    @property
    def readers(self) -> int:
        return self.config.wait

    def open_sender(self) -> Sender:
        return Sender(self.config.target, self.config)
