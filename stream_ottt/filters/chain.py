"""From the specifications of filters to a chain of them, which counts what each leaves out.

Forms of a specification, in the manner of sources::

    background                           a filter with its default options
    background:?time=5ms&neighbours=2    options as a query
    rotate:90                            the option that matters most, in front
    {uri = "background", time = "5ms"}   a table
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import ModelError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, Shares, shares
from stream_ottt.filters import FILTERS
from stream_ottt.filters.base import Filter, FilterConfig
from stream_ottt.registry import options_of

Spec = str | Mapping[str, Any]
"""One filter, as a URI or as a table with the key ``uri`` and options."""


MARKED = np.dtype([*((name, EVENT_DTYPE[name]) for name in EVENT_DTYPE.names or ()), ("of", "u1")])
"""EVENT_DTYPE with the number of each event's source. 14 bytes."""

Sources = npt.NDArray[np.uint8]
Drop = Callable[[str, int, Shares], None]


def _marked(events: EventArray, of: Sources) -> EventArray:
    marked: EventArray = np.empty(len(events), MARKED)
    for name in EVENT_DTYPE.names or ():
        marked[name] = events[name]
    marked["of"] = of
    return marked


def _unmarked(marked: EventArray) -> EventArray:
    events: EventArray = np.empty(len(marked), EVENT_DTYPE)
    for name in EVENT_DTYPE.names or ():
        events[name] = marked[name]
    return events


class FilterChain:
    """Filters in their order. An empty chain passes everything.

    Args:
        filters: in the order in which events meet them.
        width: sensor width in pixels of the events that come in.
        height: sensor height in pixels of the events that come in.

    Attributes:
        width, height: sensor size in pixels of the events that go out.
        dropped: events left out since the chain was opened, by ``filter:NAME``, as in the ledger. The chain is its
            only writer.
    """

    def __init__(self, filters: Sequence[Filter], width: int, height: int) -> None:
        self.filters = tuple(filters)
        self.width = self.filters[-1].width if filters else width
        self.height = self.filters[-1].height if filters else height
        self.dropped: dict[str, int] = {}

    def __call__(self, events: EventArray) -> EventArray:
        """The events [m ≤ n] that all filters keep.

        Args:
            events: [n] of EVENT_DTYPE, well-formed and in time order. They are not changed.
        """
        return self.sift(events)[0]

    def sift(
        self, events: EventArray, of: Sources | None = None, drop: Drop | None = None
    ) -> tuple[EventArray, Sources | None]:
        """The events [m ≤ n] that all filters keep, and their sources.

        Args:
            events: as for a call.
            of: uint8 [n], the source of each event, where they are of several; it goes through the filters with them.
            drop: told of what each filter leaves out: the reason, how many, and their shares.

        Raises:
            UsageError: a filter makes new events of those of several sources, so that it is not known whose they are.
        """
        if not self.filters:
            return events, of
        events = np.ascontiguousarray(events) if of is None else _marked(events, of)
        for one in self.filters:
            kept = one(events)
            if kept.dtype != events.dtype:
                raise UsageError(
                    f"filter {one.name!r} makes new events, so that their source is not known; "
                    "let it keep some of those that it gets, or use it with one source"
                )
            if (n := len(events) - len(kept)) > 0:
                reason = f"filter:{one.name}"
                self.dropped[reason] = self.dropped.get(reason, 0) + n
                if drop is not None:
                    drop(reason, n, Counter() if of is None else shares(events["of"]) - shares(kept["of"]))
            events = kept
        return (events, None) if of is None else (_unmarked(events), np.ascontiguousarray(events["of"]))

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The state of each filter, by its place and name (``"0:background"``). Counts are not part of it."""
        return {key: one.state_dict() for key, one in self._numbered().items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on from a state that :meth:`state_dict` gave.

        Raises:
            ModelError: the state is of other filters, or of another sensor.
        """
        filters = self._numbered()
        if list(state) != list(filters):
            raise ModelError(f"the state is of the filters {list(state)}, not of {list(filters)}; use the same filters")
        for key, one in filters.items():
            one.load_state_dict(state[key])

    def describe(self) -> dict[str, dict[str, Any]]:
        """What each filter has found out, such as the hot pixels, by its place and name. JSON-ready."""
        return {key: facts for key, one in self._numbered().items() if (facts := one.describe())}

    def _numbered(self) -> dict[str, Filter]:
        return {f"{i}:{one.name}": one for i, one in enumerate(self.filters)}


def parse_filter(spec: Spec) -> tuple[type[Filter], FilterConfig]:
    """The class and the options that a specification means; no sensor is needed.

    Raises:
        UsageError: unknown filter, or an option that it does not have; it names the near miss.
    """
    extra: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        if "uri" not in spec:
            raise UsageError('a filter\'s table needs the key \'uri\', such as {uri = "background", time = "5ms"}')
        extra = {k: v for k, v in spec.items() if k != "uri"}
        spec = str(spec["uri"])
    head, _, query = spec.partition("?")
    name, _, argument = head.strip().partition(":")
    filter_class = cast("type[Filter]", FILTERS.get(name))
    options = {**options_of(query), **extra}
    if argument:
        if not filter_class.argument:
            keys = "&".join(f"{key}=…" for key in filter_class.Config.model_fields)
            instead = f"write {name}:?{keys}, of which some may be left out" if keys else f"write {name} alone"
            raise UsageError(f"filter {name!r} takes no {argument!r} behind its colon; {instead}")
        options[filter_class.argument] = argument
    return filter_class, filter_class.Config.load(options, where=f"filter:{name}")


def open_filters(specs: Iterable[Spec], width: int, height: int, *, several: bool = False) -> FilterChain:
    """The chain of filters for a sensor. Filters with compiled loops compile them here, not at the first event.

    Args:
        specs: one for each filter, in the order in which events meet them.
        width: sensor width in pixels.
        height: sensor height in pixels.
        several: whether the events are of several sources.

    Raises:
        UsageError: a wrong specification, or one that does not fit the sensor.
        InputError: a file that a filter names cannot be read.
    """
    filters: list[Filter] = []
    chain = FilterChain(filters, width, height)
    for filter_class, config in [parse_filter(spec) for spec in specs]:
        filters.append(filter_class(config, chain.width, chain.height))
        chain = FilterChain(filters, width, height)
    none = np.empty(0, MARKED if several else EVENT_DTYPE)
    for writable in (True, False):  # events that came over a socket are read-only: a type of its own for numba
        none.flags.writeable = writable
        chain(none)
    return chain
