"""Several live sources as one stream: merged by time with a bounded wait; one may go and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, EventPacket, Ledger
from stream_ottt.labels.timeline import LabelInterval, LabelsConfig
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.sources.merged.accounts import Accounts
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.lane_labels import LiveLabels
from stream_ottt.sources.merged.order import Order, merged
from stream_ottt.sources.merged.place import Plane, plane_of
from stream_ottt.sources.merged.presence import Presence
from stream_ottt.sources.merged.run_time import Mapping, RunTime
from stream_ottt.state import State, take

RETRY_S = 0.5
"""Pause before a source that has ended or failed is asked again."""
START_S = 2.0
"""Longest wait, after the first event, for a source that has not been heard: the plane is then that of the others."""
LOOK_S = 0.25
"""How often it is looked whether a source has fallen silent."""
MAX_HELD = 1 << 20
"""Events that wait for the other sources; whoever has more waits with reading."""


class MergedLive(Accounts, Source):
    """Sources that cannot wait.

    A source that ends or fails is asked again as long as another one goes on. The stream ends when all have ended.

    Args:
        lanes: the sources in their order.
        plane: width and height; None for the smallest that holds those that are heard in the beginning.
        wait: seconds that an event waits for the other sources.
        say: told in one line of a source that goes or comes back.
        labels: ``delay`` and ``shift`` of the labels in the files of the sources.
    """

    name = "merged-live"
    Config = SourceConfig
    live = True

    def __init__(
        self,
        lanes: Sequence[Lane],
        plane: Plane | None,
        wait: float,
        say: Callable[[str], None],
        labels: LabelsConfig | None = None,
    ) -> None:
        super().__init__(SourceConfig())
        self.lanes = list(lanes)
        self.plane = plane
        self.gives_labels = any(  # type: ignore[misc]
            lane.source.gives_labels or lane.labels is not None for lane in lanes
        )
        self._wait = wait
        self._run_time = RunTime()
        self._mappings = [Mapping(self._run_time, own=lane.place.clock == "own") for lane in lanes]
        self._presence = [Presence(lane.name, say) for lane in lanes]
        of_files = labels or LabelsConfig()
        self._labels = [LiveLabels(lane, of_files.delay, of_files.shift) for lane in lanes]
        self._order = Order(len(self.lanes), wait)
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._fault: BaseException | None = None
        for i, lane in enumerate(self.lanes):
            lane.source.on_label = partial(self._take_label, i)

    @property
    def coming_classes(self) -> list[int]:
        return sorted({i.label for lane in self.lanes if lane.labels is not None for i in lane.labels.intervals})

    def parts(self) -> dict[str, Any]:
        found = super().parts()
        for lane, mapping, presence, labels in zip(
            self.lanes, self._mappings, self._presence, self._labels, strict=True
        ):
            clock = {"shift_us": mapping.shift, "shift_moves": mapping.moves}
            found[lane.name] |= {**clock, **presence.facts(), "labels_lost": labels.lost}
        return found

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        for presence in self._presence:
            presence.ended = False
        tasks = [asyncio.create_task(self._listen(i)) for i in range(len(self.lanes))]
        try:
            while True:
                self._changed.clear()
                now = time.monotonic()
                if self._fault is not None:
                    raise self._fault
                self._look_for_the_silent(now)
                if self._begun(now) and (packet := self._ready(now)) is not None:
                    yield packet
                    self._give_labels(self._order.passed)
                    continue
                if all(one.ended for one in self._presence) and not self._order.held:
                    for labels, mapping in zip(self._labels, self._mappings, strict=True):
                        self._say_labels(labels.rest(mapping.shift))
                    break
                await self._rest(now)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for lane, n in zip(self.lanes, self._order.give_up(), strict=True):
                lane.ledger.drop("stopped", n + lane.clock.forget())
        for presence in self._presence:
            if presence.error is not None:
                raise presence.error

    # --- going on --------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        return {lane.name: Ledger.total([lane.ledger]).state_dict() for lane in self.lanes}

    def load_state_dict(self, state: State, pass_number: int, events: int) -> None:
        # They have gone on meanwhile: what they held then is lost.
        for lane in self.lanes:
            lane.ledger.load_state_dict(take(state, lane.name))
            lane.ledger.drop("interrupted", lane.ledger.in_hand)

    # --- what comes of each source ---------------------------------------------------------------------------------

    async def _listen(self, i: int) -> None:
        """Take what one source gives, again and again."""
        lane, presence = self.lanes[i], self._presence[i]
        try:
            while True:
                error: InputError | None = None
                try:
                    async with aclosing(aiter(lane.source)) as packets:  # type: ignore[type-var]
                        async for packet in packets:
                            while self._order.held >= MAX_HELD:
                                self._room.clear()
                                await self._room.wait()
                            now = time.monotonic()
                            presence.heard(now)
                            lane.plane = self.plane
                            self._feed(i, lane.take(packet), now)
                except InputError as e:
                    error = e
                self._feed(i, lane.last(ended=False), time.monotonic())
                others = [one for one in self._presence if one is not presence]
                presence.gone(time.monotonic(), error, alone=all(one.ended for one in others))
                self._changed.set()
                await asyncio.sleep(RETRY_S)
        except Exception as e:
            self._fault = e
            self._changed.set()

    def _feed(self, i: int, events: EventArray, now: float) -> None:
        if not len(events):
            return
        mapping = self._mappings[i]
        late = self._order.feed(i, mapping.place(events, now), now)
        self.lanes[i].ledger.late += late
        mapping.came(len(events), late, now)
        self._changed.set()

    def _take_label(self, i: int, interval: LabelInterval) -> None:
        self._say_labels(self._labels[i].come(interval, self._mappings[i].shift))

    def _give_labels(self, passed: int) -> None:
        """Labels that can go on, now that the stream has come to ``passed`` (µs)."""
        for labels, mapping in zip(self._labels, self._mappings, strict=True):
            if mapping.shift is not None:
                self._say_labels(labels.reach(passed - mapping.shift, mapping.shift))

    def _say_labels(self, labels: Sequence[LabelInterval]) -> None:
        if self.on_label is not None:
            for interval in labels:
                self.on_label(interval)

    # --- what goes on ----------------------------------------------------------------------------------------------

    def _begun(self, now: float) -> bool:
        """Whether the plane is known, or is now."""
        if self.plane is not None:
            return True
        first = min((one.since for one in self._presence if one.since is not None), default=None)
        if first is None:
            return False
        missing = [one for one in self._presence if one.since is None and not one.ended]
        if missing and now - first < START_S:
            return False
        for one in missing:
            one.missing()
        self.plane = plane_of([(lane.place, lane.size) for lane in self.lanes if lane.size])
        return True

    def _ready(self, now: float) -> EventPacket | None:
        for stream, presence in zip(self._order.streams, self._presence, strict=True):
            stream.awaited = presence.there
        parts = self._order.ready(now)
        if not any(map(len, parts)):
            return None
        for lane, part in zip(self.lanes, parts, strict=True):
            lane.ledger.binned += len(part)
        self._room.set()
        events, of = merged(parts)
        assert self.plane is not None
        return EventPacket(events, *self.plane, well_formed=True, of=of)

    def _look_for_the_silent(self, now: float) -> None:
        for presence in self._presence:
            others = [one for one in self._presence if one is not presence]
            presence.look(now, others)

    async def _rest(self, now: float) -> None:
        """Until something has come or is due."""
        due = self._order.due() if self.plane is not None else None
        within = LOOK_S if due is None else min(LOOK_S, max(0.0, due - now))
        try:
            async with asyncio.timeout(within):
                await self._changed.wait()
        except TimeoutError:
            pass
