"""Predictions over Zenoh: ``zenoh://predictions/left?connect=tcp/HOST:PORT`` (docs/feed.md)."""

from __future__ import annotations

from stream_ottt.live.zenoh_peer import ZenohOptions, ZenohSender, check_address
from stream_ottt.settings import Flag
from stream_ottt.sinks.feed_sink import FeedSink, FeedSinkConfig


class ZenohSinkConfig(FeedSinkConfig, ZenohOptions):
    """Options of :class:`ZenohSink`, beside those of every Zenoh peer.

    Attributes:
        target: ``zenoh://KEY``, the key to send under.
        wait: wait for a reader before the run begins.
    """

    wait: Flag = False


class ZenohSink(FeedSink):
    """Predictions over Zenoh."""

    name = "zenoh"
    schemes = ("zenoh",)
    Config = ZenohSinkConfig
    config: ZenohSinkConfig

    def __init__(self, config: ZenohSinkConfig) -> None:
        super().__init__(config)
        check_address(config.target, config, writes=True)

    @property
    def readers(self) -> int:
        return int(self.config.wait)

    def open_sender(self) -> ZenohSender:
        return ZenohSender(self.config.target, self.config)
