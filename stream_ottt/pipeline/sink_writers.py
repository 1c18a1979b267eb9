"""The writers of all sinks of a run: opened together, and closed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from stream_ottt.errors import OutputError
from stream_ottt.log import Say
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.sink_writer import SinkWriter
from stream_ottt.pipeline.view import RunView, SinkState


class SinkWriters(Sequence[SinkWriter]):
    """One writer a sink, under a name of its own.

    Args:
        sinks: the sinks.
        lossy: see :class:`SinkWriter`.
        grace: seconds that sinks have at the end to come back.
        say: told in one line when one fails or stalls, and when it works again.
    """

    def __init__(self, sinks: Sequence[Sink], *, lossy: bool, grace: float, say: Say) -> None:
        names = [sink.name for sink in sinks]
        self._writers = [
            SinkWriter(
                sink,
                sink.name if names.count(sink.name) == 1 else f"{sink.name}:{sink.config.target}",
                lossy=lossy,
                say=say,
            )
            for sink in sinks
        ]
        self._grace = grace
        self._say = say

    def __getitem__(self, index: Any) -> Any:
        return self._writers[index]

    def __len__(self) -> int:
        return len(self._writers)

    def states(self) -> dict[str, SinkState]:
        """What has become of each."""
        return {w.name: SinkState(w.failure, w.missed, w.working) for w in self._writers}

    async def open(self, view: RunView) -> None:
        """Open all, addresses before files, so that what is refused leaves no trace in a file.

        Raises:
            StreamOtttError: one that the run cannot do without; those that were opened are closed again.
        """
        wanted = sorted(self._writers, key=lambda w: not w.sink.schemes)
        self._writers = []
        for writer in wanted:
            try:
                await writer.open(view)
            except Exception as e:
                if not (writer.sink.optional and isinstance(e, OutputError)):
                    await self.close(None)
                    raise
                text = f"sink {writer.name}: {e}; carrying on without it"
                self._say(text, "sink", level=logging.WARNING, sink=writer.name, working=False)
            else:
                self._writers.append(writer)

    async def drain(self) -> None:
        """Let all take what they were given."""
        await asyncio.gather(*(writer.drain(self._grace) for writer in self._writers))

    async def close(self, summary: dict[str, Any] | None) -> None:
        """Close all. Their failures, also here, are in the next snapshot."""
        await asyncio.gather(*(writer.close(summary, self._grace) for writer in self._writers))
