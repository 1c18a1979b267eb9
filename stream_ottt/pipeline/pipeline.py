"""The way of the data: source → binner → learner → sinks, as threads joined by bounded queues.

Files wait for the learner. A live source never waits: its overflow policy drops packets and counts their events. The
event loop reads live sources and answers sockets; whatever may block is done elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, TypeVar, cast

from stream_ottt import log
from stream_ottt.errors import InputError
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import Ledger
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.session import Session
from stream_ottt.learning.snapshot import Durations
from stream_ottt.log import Say
from stream_ottt.pipeline.binning_thread import BinningThread
from stream_ottt.pipeline.builder import Builder
from stream_ottt.pipeline.cut import Cut
from stream_ottt.pipeline.file_reader import FileReader
from stream_ottt.pipeline.handed import Pass
from stream_ottt.pipeline.learner_thread import LearnerThread
from stream_ottt.pipeline.live_reader import LiveReader
from stream_ottt.pipeline.outcome import Outcome, Reason
from stream_ottt.pipeline.pace import PACE_US
from stream_ottt.pipeline.publishing import Published
from stream_ottt.pipeline.queues import OverflowPolicy
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.sink_writers import SinkWriters
from stream_ottt.pipeline.source import BlockingSource, Source
from stream_ottt.pipeline.source_accounts import facts_of_sources, in_hand_by_source
from stream_ottt.pipeline.source_reader import SourceReader
from stream_ottt.pipeline.threads import start_thread
from stream_ottt.pipeline.verdict import size_note
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.state import State, part, under

T = TypeVar("T")

WAITING = 32
"""Most timesteps that wait for the learner."""
LIVE_WAITING = 4
"""The same for a live stream, where each that waits makes all behind it later."""


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
            None for none but those that are asked for by :meth:`BinningThread.mark`.
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
        self._errors: list[BaseException] = []  # that ended a thread, in their order
        self._refused = 0
        lossless = self.policy == "block"
        self.view = RunView(self.facts, self.snapshot)
        self.writers = SinkWriters(self.sinks, lossy=not lossless, grace=self.grace, say=self.say)
        self.learning = LearnerThread(
            self._build,
            batch=WAITING if lossless else LIVE_WAITING,
            threads=self.threads,
            stopped=self._stopped,
            eager=lossless and self.speed is None,
            max_steps=self.max_steps,
            enough=lambda: self.stop("max-steps"),
            fail=self._fail,
            prepare=self.prepare or (lambda: None),
        )
        self.learning.onlookers = [sink.look for sink in self.sinks if sink.looks]
        self.reader = self._make_reader()
        self.binner = BinningThread(
            self.reader,
            self.binning,
            self.builder.begin_pass,
            self.learning.queue,
            stopped=self._stopped,
            fail=self._fail,
            timed=self.speed is not None or not lossless,
            mark_every=self.mark_every,
            takers=[sink.take_events for sink in self.sinks if sink.takes_events],
        )
        self.view.pass_number, self.view.share_read = self.binner.pass_number, self.source.share_read
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
        filtered = self.binner.filters.width, self.binner.filters.height
        session, facts = self.builder.build(*filtered, begins)
        facts = self.view.facts = replace(facts, sensor=self.reader.sensor, filtered=filtered)
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
            stages = self._stages()
            self.binner.ledger.drop("interrupted", Ledger.total(stages).in_hand, in_hand_by_source(stages))

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

    def do(self, act: Callable[[Session], T]) -> Future[T]:
        """``act`` in the learner's thread, between two pieces of work; see :meth:`LearnerThread.do`."""
        return self.learning.do(act)

    def add_label(self, interval: LabelInterval) -> None:
        """Take a label that came with the stream, after the packets that came before it; in the event loop."""
        if not self.reader.add_label(interval):
            self._refused += 1

    def snapshot(self, published: Published | None = None) -> RunSnapshot:
        """The run as it is known now; ``published`` in place of what the learner's thread published last."""
        published = published or self.learning.publisher.latest
        busy_since, keeper = self.learning.busy_since, self.learning.keeper
        ledger = Ledger.total(self._stages())
        sources, held = facts_of_sources(self.source, self._stages(), published)
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
            latency=Durations() if published is None else published.latency,
            labels_refused=self._refused,
            sinks=self.writers.states(),
            transport=self.source.statistics(),
            sources=sources,
            clock=self.binner.clock.facts(),
            misfits=replace(self.binner.misfits),
            filters={} if self.binner.filters is None else self.binner.filters.describe(),
            size_from=self.source.size_from,
            busy_s=0.0 if busy_since is None else time.monotonic() - busy_since,
            held=self.reader.playback is not None and self.reader.playback.held,
            speed=None if self.reader.playback is None else self.reader.playback.speed,
            checkpoint=None if keeper is None else keeper.state(),
        )

    def _stages(self) -> tuple[Ledger, ...]:
        """All accounts, downstream first, so that no event is counted there that is not yet counted as read."""
        return self.learning.ledger, self.binner.ledger, self.reader.ledger

    # --- the run ---------------------------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Run to the end of the stream, or until stopped; sinks are open, and have taken what there was in the end.

        One that is cancelled is stopped first, and ends in order.
        """
        running = asyncio.ensure_future(self._run())
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([running])
            raise

    async def _run(self) -> Outcome:
        learning = start_thread("learner", lambda: self.learning.run(self.writers))
        if self.prepare is not None:
            await asyncio.to_thread(self.learning.prepared.wait)
        binning = start_thread("binner", self.binner.run)
        learning.add_done_callback(lambda _: self.reader.stop())
        if not self._stopped.is_set():
            await self.reader.run()
        await learning
        await self._end(binning)
        return self._outcome()

    async def _end(self, binning: asyncio.Future[None]) -> None:
        """The learner has ended: so does the binner, unless its source does not come back."""
        self.reader.stop()
        done, _ = await asyncio.wait([binning], timeout=self.grace)
        if not done:
            self.binner.abandon()

    def _fail(self, error: BaseException) -> None:
        """A thread cannot go on; called in it."""
        self._errors.append(error)
        self._stopped.set()

    def _outcome(self) -> Outcome:
        began = self.learning.session is not None
        if self._errors:
            return Outcome("failed", self._errors[0], began)
        error = self.reader.error
        if error is not None and self._reason == "end":
            return Outcome("damaged" if isinstance(error, InputError) else "failed", error, began)
        return Outcome(self._reason, None, began)
