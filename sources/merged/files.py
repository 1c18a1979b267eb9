"""Several recordings as one stream: merged by time, the same to the last bit each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, cast

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket, Ledger
from stream_ottt.labels.timeline import LabelInterval, LabelsConfig
from stream_ottt.pipeline.source import BlockingSource, SourceConfig
from stream_ottt.sources.merged.accounts import Accounts
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.lane_labels import FileLabels
from stream_ottt.sources.merged.order import Order, merged
from stream_ottt.sources.merged.place import Plane, plane_of
from stream_ottt.state import State, take


class MergedFiles(Accounts, BlockingSource):
    """Sources that can wait. The one that is behind is read on, so that memory is bounded by a packet of each.

    A damaged one ends where the damage is; the others go on, and the damage is raised at the end.

    Args:
        lanes: the sources in their order.
        plane: width and height; None for the smallest that holds them all.
        labels: of the run; where it has a file, what the sources bring plays no part.
    """

    name = "merged-files"
    Config = SourceConfig

    def __init__(self, lanes: Sequence[Lane], plane: Plane | None, labels: LabelsConfig | None = None) -> None:
        super().__init__(SourceConfig())
        self.lanes = list(lanes)
        self.plane = plane
        self._label_settings = labels or LabelsConfig()
        self._labels: FileLabels | None = None
        self._pass = -1
        self._given = 0  # events of this pass
        self._restored: tuple[int, int, State] | None = None

    @property
    def labels(self) -> Sequence[LabelInterval] | None:
        """Those of all sources, as those of one; see :func:`stream_ottt.labels.merging.merge_labels`."""
        return None if self._labels is None else self._labels.intervals

    @property
    def class_names(self) -> dict[int, str]:
        return super().class_names if self._labels is None else self._labels.names

    def parts(self) -> dict[str, Any]:
        found = super().parts()
        if self._labels is not None and self._labels.intervals is not None:
            for lane, (taken, against) in zip(self.lanes, self._labels.counts, strict=True):
                found[lane.name]["labels"] = {"taken": taken, "refused": 0, "contradicted": against}
        return found

    def share_read(self, t: int = 0) -> float | None:
        shares = [share for lane in self.lanes if (share := lane.source.share_read(t)) is not None]
        return min(shares) if len(shares) == len(self.lanes) else None

    def packets(self) -> Iterator[EventPacket]:
        self._pass, self._given = self._pass + 1, 0
        self._restore()
        order = Order(len(self.lanes), None)
        damage: list[InputError] = []
        with ExitStack() as stack:
            readings = []
            for lane in self.lanes:
                lane.begin()
                lane.plane = self.plane
                reading = cast("BlockingSource", lane.source).excerpt()
                readings.append(stack.enter_context(closing(reading)))  # type: ignore[type-var]
            stack.callback(self._give_up, order)
            for i in range(len(self.lanes)):
                self._read(i, readings[i], order, damage)
            if self._label_settings.file is None:
                self._labels = FileLabels(self.lanes, self._label_settings.shift)
            if all(lane.size is None for lane in self.lanes):
                raise damage[0] if damage else InputError(f"{self.lanes[0].name}: no source holds an event")
            plane = self.plane or plane_of([(lane.place, lane.size) for lane in self.lanes if lane.size])
            for lane in self.lanes:
                lane.plane = plane
            while True:
                yield from self._ready(order, plane)
                behind = [i for i, stream in enumerate(order.streams) if stream.awaited]
                if not behind:
                    break
                i = min(behind, key=lambda i: order.streams[i].newest)
                self._read(i, readings[i], order, damage)
            yield from self._ready(order, plane)
        if damage:
            raise damage[0]

    def _read(self, i: int, packets: Iterator[EventPacket], order: Order, damage: list[InputError]) -> None:
        """Read on in one source."""
        lane = self.lanes[i]
        try:
            packet = next(packets, None)
        except InputError as e:
            damage.append(e)
            packet = None
        if packet is not None:
            order.feed(i, lane.take(packet), 0.0)
            return
        order.feed(i, lane.last(ended=True), 0.0)
        order.streams[i].awaited = False

    def _ready(self, order: Order, plane: Plane) -> Iterator[EventPacket]:
        parts = order.ready(0.0)
        count = sum(map(len, parts))
        if not count:
            return
        for lane, part in zip(self.lanes, parts, strict=True):
            lane.ledger.binned += len(part)
        self._given += count
        self._restore()
        events, of = merged(parts)
        yield EventPacket(events, *plane, well_formed=True, of=of)

    def _give_up(self, order: Order) -> None:
        for lane, n in zip(self.lanes, order.give_up(), strict=True):
            lane.ledger.drop("stopped", n + lane.clock.forget())

    # --- going on --------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        return {lane.name: lane.ledger.state_dict() for lane in self.lanes}

    def load_state_dict(self, state: State, pass_number: int, events: int) -> None:
        # What is read again up to there is counted again: the counts of then replace it.
        self._restored = (pass_number, events, state)

    def _restore(self) -> None:
        if self._restored is None or (self._pass, self._given) < self._restored[:2]:
            return
        for lane in self.lanes:
            ledger = Ledger()
            ledger.load_state_dict(cast("dict[str, Any]", take(self._restored[2], lane.name)))
            lane.ledger = ledger
        self._restored = None
