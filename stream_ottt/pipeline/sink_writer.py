"""One sink's end of the pipeline: a queue of its own, and what becomes of it when it fails."""

from __future__ import annotations

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.sink import Sink


class Outlet:
    """One sink with a queue of its own, so that it can neither stop the learning nor another sink.

    Args:
        sink: the sink, already open.
        progress: where its failure is noted.
        lossy: True gives up results rather than let a slow sink hold up a live stream.
    """

    def __init__(self, sink: Sink, progress: Progress, *, lossy: bool) -> None:
        self.sink = sink
        self.progress = progress
        self.queue: BoundedQueue[StepResult] = BoundedQueue(256, "drop-oldest" if lossy else "block")
        self.failed = False

    async def put(self, result: StepResult) -> None:
        """Hand over a result; waits for a slow sink only where nothing may be lost."""
        if not self.failed:
            missed = len(await self.queue.put(result))
            if missed:
                missed_before = self.progress.sink_missed.get(self.sink.name, 0)
                self.progress.sink_missed[self.sink.name] = missed_before + missed

    def end(self) -> None:
        """No more results will come."""
        self.queue.end()

    async def run(self) -> None:
        """Feed the sink until the end; after its first failure results are let go."""
        while (result := await self.queue.get()) is not None:
            if self.failed:
                continue
            try:
                await self.sink.consume(result)
            except Exception as e:  # whatever a sink raises is its own affair
                self.failed = True
                self.progress.sink_failures[self.sink.name] = str(e) or type(e).__name__
