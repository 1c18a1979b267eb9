"""The way of the data: source → binner → learner → sinks, as threads joined by bounded queues.

Files wait for the learner. A live source never waits: its overflow policy drops packets and counts their events. The
event loop reads live sources and answers sockets; whatever may block is done elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Any, Literal, Protocol, TypeVar, cast

from stream_ottt import log
from stream_ottt.errors import InputError, OutputError
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import Ledger
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.session import Session
from stream_ottt.log import Say
from stream_ottt.pipeline.binning_thread import BinningThread, Pass
from stream_ottt.pipeline.file_reader import FileReader
from stream_ottt.pipeline.learner_thread import Cut, LearnerThread, Published
from stream_ottt.pipeline.live_reader import LiveReader
from stream_ottt.pipeline.pace import PACE_US
from stream_ottt.pipeline.queues import OverflowPolicy
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.sink_writer import SinkWriter
from stream_ottt.pipeline.source import BlockingSource, Source
from stream_ottt.pipeline.source_reader import Labels, SourceReader
from stream_ottt.pipeline.verdict import size_note
from stream_ottt.pipeline.view import NO_DURATIONS, RunFacts, RunSnapshot, RunView, SinkState
from stream_ottt.state import State, part, under

T = TypeVar("T")

WAITING = 32
"""Most timesteps that wait for the learner."""
LIVE_WAITING = 4
"""The same for a live stream, where each that waits makes all behind it later."""

Reason = Literal["end", "max-steps", "interrupted", "damaged", "failed"]


class Builder(Protocol):
    """Builds what needs the stream to have begun."""

    def begin_pass(self, labels: Labels | None, first: int) -> Pass:
        """What depends on a pass, from the source's own labels and the first event's time; in the binner's thread.

        Raises:
            StreamOtttError: labels that cannot be used.
        """

    def build(self, width: int, height: int, begins: Pass) -> tuple[Session, RunFacts]:
        """Network, learner and session for the first pass; in the learner's thread.

        ``width`` and ``height`` are the sensor's, as the filters leave it; of the facts, ``sensor`` is replaced.

        Raises:
            StreamOtttError: settings, a model or labels that do not fit each other.
        """


@dataclass(slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        reason: ``end`` of the stream, ``max-steps``, ``interrupted``, ``damaged`` input, or ``failed``.
        error: what damaged the input, or failed.
        began: whether a timestep could be predicted.
    """

    reason: Reason = "end"
    error: BaseException | None = None
    began: bool = False


@dataclass
class Pipeline:
    """One run of a source through a session into sinks.

    Attributes:
        source: where events come from.
        sinks: where results go.
        facts: what is known of the run.
        builder: builds the session.
        binning: how events become timesteps.
        passes: how often the source is iterated.
        speed: stream seconds per wall second, or None for as fast as possible.
        policy: of the queue behind the source.
        queue_events: events that may wait in that queue.
        queue_span: event time that may wait there, µs; None for any.
        max_steps: timesteps after which to stop.
        threads: of torch.
        patience: seconds without a packet after which a window whose end has passed is closed; None waits for events.
        grace: seconds that source and sinks have at the end to come back.
        mark_every: timesteps from one mark to the next, at which the learner's thread gives its keeper the whole state;
            None for none but those that :meth:`mark` sends.
        prepare: makes ready, in the learner's thread, what can be before the stream begins; None leaves it to the first
            packet.
        say: told in one line of what goes wrong beside the learning, or was guessed; from any thread.
    """

    source: Source
    sinks: Sequence[Sink]
    facts: RunFacts
    builder: Builder
    binning: BinningConfig = field(default_factory=BinningConfig)
    passes: int = 1
    speed: float | None = None
    policy: OverflowPolicy = "block"
    queue_events: int = 1 << 20
    queue_span: int | None = None
    max_steps: int | None = None
    threads: int = 1
    patience: float | None = None
    grace: float = 2.0
    mark_every: int | None = None
    prepare: Callable[[], None] | None = None
    say: Say = log.say

    def __post_init__(self) -> None:
        self._stopped = Event()
        self._reason: Reason = "end"
        self._refused = 0
        lossless = self.policy == "block"
        self.view = RunView(self.facts, self.snapshot)
        names = [sink.name for sink in self.sinks]
        self.writers = [
            SinkWriter(
                sink,
                sink.name if names.count(sink.name) == 1 else f"{sink.name}:{sink.config.target}",
                lossy=not lossless,
                say=self.say,
            )
            for sink in self.sinks
        ]
        self.learning = LearnerThread(
            self._build,
            batch=WAITING if lossless else LIVE_WAITING,
            threads=self.threads,
            stopped=self._stopped,
            eager=lossless and self.speed is None,
            max_steps=self.max_steps,
            enough=lambda: self.stop("max-steps"),
            prepare=self.prepare,
        )
        self.learning.onlookers = [sink.look for sink in self.sinks if sink.looks]
        self.reader = self._make_reader()
        self.binner = BinningThread(
            self.reader,
            self.binning,
            self.builder.begin_pass,
            self.learning.queue,
            stopped=self._stopped,
            timed=self.speed is not None or not lossless,
            mark_every=self.mark_every,
            takers=[sink.take_events for sink in self.sinks if sink.takes_events],
        )
        if self.reader.playback is not None:
            self.reader.playback.made = self.binner.made
            self.reader.playback.span = min(PACE_US, self.binning.window)

    def _make_reader(self) -> SourceReader:
        common: dict[str, Any] = {"passes": self.passes, "speed": self.speed, "stopped": self._stopped}
        ready = self.learning.ready
        if self.source.synchronous and self.policy == "block":
            return FileReader(cast("BlockingSource", self.source), ready=ready, **common)
        return LiveReader(
            self.source,
            policy=self.policy,
            queue_events=self.queue_events,
            queue_span=self.queue_span,
            patience=self.patience,
            **common,
        )

    def _build(self, begins: Pass) -> Session:
        assert self.binner.filters is not None
        session, facts = self.builder.build(self.binner.filters.width, self.binner.filters.height, begins)
        facts = self.view.facts = replace(facts, sensor=self.reader.sensor)
        known = {name: getattr(facts, name) for name in ("source", "network", "parameters", "classes", "sensor")}
        self.say(f"predicting {facts.source} with {facts.network}", "start", quiet=True, **known)
        session.classes.on_change = lambda: self._tell_classes(session)
        if self.reader.sensor is not None and (note := size_note(self.source, self.reader.sensor)):
            self.say(f"{facts.source}: {note}")
        return session

    def _tell_classes(self, session: Session) -> None:
        """A class was added; in the learner's thread, before the next prediction."""
        self.view.facts = replace(
            self.view.facts,
            classes=tuple(session.classes.labels),
            class_names=dict(session.classes.names),
            parameters=session.learner.network.size,
        )

    def load_state_dict(self, state: State, *, gap: bool) -> None:
        """Go on from the state of a :class:`Cut`, before :meth:`run`; the learner is restored by who builds it.

        Args:
            state: the state.
            gap: True for a source that has gone on meanwhile. What was in hand then is given up.

        Raises:
            ModelError: a field is missing.
        """
        self.learning.load_state_dict(part(state, "learning"), gap=gap)
        self.binner.load_state_dict(part(state, "stream"), gap=gap)
        if gap:
            ledgers = (self.learning.ledger, self.binner.ledger, self.reader.ledger)
            self.binner.ledger.drop("interrupted", Ledger.total(ledgers).in_hand)

    # --- what may be asked of it while it runs, from any thread -------------------------------------------------------

    def stop(self, reason: Reason = "interrupted") -> None:
        """End the run after the current piece of work."""
        if not self._stopped.is_set():
            self._reason = reason
        self._stopped.set()
        self.reader.stop()
        self.learning.queue.wake()

    @property
    def last(self) -> Cut | None:
        """The whole state after :meth:`run`, in which nothing is in hand; None where nobody keeps any."""
        cut = self.learning.last
        return cut and replace(cut, state={**cut.state, **under("stream", self.binner.state_dict())})

    def mark(self) -> None:
        """Send a mark along with the stream, at which the learner's thread gives its keeper the whole state."""
        self.binner.mark()

    def do(self, act: Callable[[Session], T]) -> Future[T]:
        """``act`` in the learner's thread, between two pieces of work; see :meth:`LearnerThread.do`."""
        return self.learning.do(act)

    def fresh(self) -> Future[Published]:
        """Publish a snapshot of now."""
        return self.learning.fresh()

    def add_label(self, interval: LabelInterval) -> None:
        """Take a label that came with the stream, after the packets that came before it; in the event loop."""
        if not self.reader.add_label(interval):
            self._refused += 1

    def snapshot(self, published: Published | None = None) -> RunSnapshot:
        """The run as it is known now; ``published`` in place of what the learner's thread published last."""
        published = published or self.learning.published
        busy_since, keeper = self.learning.busy_since, self.learning.keeper
        # Downstream first, so that no event is counted there that is not yet counted as read.
        ledger = Ledger.total((self.learning.ledger, self.binner.ledger, self.reader.ledger))
        held = self.source.account()
        ledger = Ledger.total((ledger, held))
        return RunSnapshot(
            session=None if published is None else published.session,
            ledger=ledger,
            waiting={
                "merge": held.in_hand,
                "queue": self.reader.held(),
                "window": self.binner.held(),
                "timesteps": self.learning.held(),
            },
            latency=NO_DURATIONS if published is None else published.latency,
            latency_counts=() if published is None else published.latency_counts,
            labels_refused=self._refused,
            sinks={w.name: SinkState(w.failure, w.missed, w.working) for w in self.writers},
            transport=self.source.statistics(),
            sources=self.source.parts(),
            clock=self.binner.clock.facts(),
            filters={} if self.binner.filters is None else self.binner.filters.describe(),
            size_from=self.source.size_from,
            busy_s=0.0 if busy_since is None else time.monotonic() - busy_since,
            held=self.reader.playback is not None and self.reader.playback.held,
            checkpoint=None if keeper is None else keeper.state(),
        )

    # --- the run ---------------------------------------------------------------------------------------------------

    async def open_sinks(self) -> None:
        """Open all sinks, addresses before files, so that what is refused leaves no trace in a file.

        Raises:
            StreamOtttError: one that the run cannot do without; those that were opened are closed again.
        """
        opened: list[SinkWriter] = []
        for writer in sorted(self.writers, key=lambda w: not w.sink.schemes):
            try:
                await writer.open(self.view)
            except Exception as e:
                if not (writer.sink.optional and isinstance(e, OutputError)):
                    await self.close_sinks(None, opened)
                    raise
                text = f"sink {writer.name}: {e}; carrying on without it"
                self.say(text, "sink", level=logging.WARNING, sink=writer.name, working=False)
            else:
                opened.append(writer)
        self.writers = opened

    async def run(self) -> Outcome:
        """Run to the end of the stream, or until stopped; sinks are open, and have taken what there was in the end."""
        learning = _start("learner", lambda: self.learning.run(self.writers))
        if self.prepare is not None:
            await asyncio.to_thread(self.learning.prepared.wait)
        binning = _start("binner", self.binner.run)
        learning.add_done_callback(lambda _: self.reader.stop())
        try:
            if not self._stopped.is_set():
                await self.reader.run()
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            await learning
            await self._end(binning)
        return self._outcome()

    async def drain_sinks(self) -> None:
        """Let the sinks take what they were given."""
        await asyncio.gather(*(writer.drain(self.grace) for writer in self.writers))

    async def close_sinks(self, summary: dict[str, Any] | None, writers: Sequence[SinkWriter] | None = None) -> None:
        """Close the sinks. Their failures, also here, are in the next snapshot."""
        writers = self.writers if writers is None else writers
        await asyncio.gather(*(writer.close(summary, self.grace) for writer in writers))

    async def _end(self, binning: asyncio.Future[None]) -> None:
        """The learner has ended: so does the binner, unless its source does not come back."""
        self.reader.stop()
        done, _ = await asyncio.wait([binning], timeout=self.grace)
        if not done:
            self.binner.abandon()

    def _outcome(self) -> Outcome:
        began = self.learning.session is not None
        for error in (self.learning.error, self.binner.error):
            if error is not None:
                return Outcome("failed", error, began)
        error = self.reader.error
        if error is not None and self._reason == "end":
            return Outcome("damaged" if isinstance(error, InputError) else "failed", error, began)
        return Outcome(self._reason, None, began)


def _start(name: str, act: Callable[[], None]) -> asyncio.Future[None]:
    """Run ``act`` in a thread that does not keep the process alive; the future is done when it has ended."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    def body() -> None:
        try:
            act()
        finally:
            loop.call_soon_threadsafe(settle)

    Thread(target=body, name=name, daemon=True).start()
    return done
