"""What a merged stream knows of its sources: their counts, their losses, their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream_ottt.events.packet import Ledger
from stream_ottt.labels.merging import Named, common_names
from stream_ottt.pipeline.source import SizeFrom
from stream_ottt.sources.merged.lane import Lane


class Accounts:
    """Of a source that is several.

    Attributes:
        lanes: the sources in their order.
    """

    lanes: Sequence[Lane]

    @property
    def size_from(self) -> SizeFrom:
        """A guess where one source's size is one."""
        known: list[SizeFrom] = [lane.source.size_from for lane in self.lanes]
        return "guess" if "guess" in known else known[0]

    @size_from.setter
    def size_from(self, value: SizeFrom) -> None:
        pass  # each source says its own

    @property
    def class_names(self) -> dict[int, str]:
        """What the sources say of their classes, where that goes together."""
        named: list[Named] = [
            (lane.name, [], lane.source.class_names if lane.labels is None else lane.labels.names)
            for lane in self.lanes
        ]
        return common_names(named) or {}

    def accounts(self) -> list[Ledger]:
        """Of each source the events that were read and not given on: held, late, malformed or dropped here."""
        return [lane.account() for lane in self.lanes]

    def parts(self) -> dict[str, Any]:
        """The facts of each source by its name."""
        return {lane.name: lane.facts() for lane in self.lanes}

    def statistics(self) -> dict[str, Any]:
        """Messages that were lost or could not be read, of all sources; see :meth:`parts` for each."""
        every = [lane.source.statistics() for lane in self.lanes]
        found: dict[str, Any] = {}
        for key in ("lost_messages", "malformed_messages", "refused_messages", "refused_datagrams"):
            if any(key in one for one in every):
                found[key] = sum(one.get(key, 0) for one in every)
        if complaints := [text for one in every for text in one.get("malformed", ())]:
            found["malformed"] = complaints
        return found
