"""The contract of a source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar, cast

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventPacket, split_well_formed
from stream_ottt.pipeline.source import FileSource, Source, SourceConfig

Make = Callable[[], Source | AbstractAsyncContextManager[Source]]
"""Gives a new source at each call; or, where something must send to it meanwhile, a context in which it is open."""

T = TypeVar("T")
LIMIT_S = 60.0


def says_what_it_is(make: Make) -> None:
    """Its class has a name, a frozen model of options, and either schemes or a file format to recognise."""
    cls = type(_alone(make))
    assert isinstance(cls.name, str) and cls.name, "name: a short name, by which it is registered"
    assert issubclass(cls.Config, SourceConfig), "Config: a subclass of SourceConfig, with its options"
    assert cls.Config.model_config.get("frozen"), "Config: stays frozen"
    assert isinstance(cls.schemes, tuple) and all(s == s.lower() for s in cls.schemes), "schemes: a tuple, lower case"
    assert cls.reads_files == issubclass(cls, FileSource), "reads_files: True for a FileSource, and for no other"
    assert bool(cls.schemes) != cls.reads_files, "a source of files has no schemes, and every other has some"
    assert not (cls.live and cls.reads_files), "live: a file can wait"


def an_unknown_option_names_the_near_miss(make: Make) -> None:
    """A mistyped option is a UsageError that names the right one."""
    source = _alone(make)
    cls = type(source)
    option = list(cls.Config.model_fields)[-1]
    given = source.config.model_dump(exclude_unset=True, by_alias=True, mode="json")
    try:
        cls.from_options(**given, **{f"{option}x": 1})
    except UsageError as e:
        assert "unknown key" in str(e), f"expected an unknown key, found: {e}"
        return
    raise AssertionError(f"the option {option + 'x'!r} was taken without a word")


def packets_are_as_promised(make: Make) -> None:
    """Packets are not empty, of the events' dtype, bounded, of one sensor; ``well_formed`` is true where it is said."""
    packets = _read(make)
    assert packets, "it gave no packet"
    sizes = {(p.width, p.height) for p in packets}
    assert len(sizes) == 1, f"the sensor's size changes: {sizes}"
    for packet in packets:
        assert isinstance(packet, EventPacket)
        assert packet.events.dtype == EVENT_DTYPE and packet.events.ndim == 1, "events: EVENT_DTYPE, [n]"
        assert 0 < len(packet) <= 2 * PACKET_EVENTS, f"a packet of {len(packet)} events; at most {2 * PACKET_EVENTS}"
        _, malformed = split_well_formed(EventPacket(packet.events, packet.width, packet.height))
        assert not (packet.well_formed and malformed), "well_formed, with events outside the sensor or before zero"


def what_it_tells_is_json(make: Make) -> None:
    """``describe`` and ``statistics`` are JSON-ready once it has been read."""

    async def go() -> None:
        async with _opened(make) as source:
            await _drain(source)
            json.dumps(source.statistics())
            json.dumps(source.describe())

    _run(go())


def its_labels_are_in_order(make: Make) -> None:
    """Labels of its own are disjoint intervals in the order of time, each with a name where it names any."""

    async def go() -> None:
        async with _opened(make) as source:
            await _drain(source)
            labels = source.labels or []
            assert all(a.t_end <= b.t_start for a, b in pairwise(labels)), "labels overlap, or are not in order"
            assert all(a.t_start < a.t_end for a in labels), "a label ends before it starts"
            names = source.class_names
            assert not names or set(names) >= {a.label for a in labels}, "class_names: one for each label, or none"

    _run(go())


def it_may_be_left_early(make: Make) -> None:
    """Who stops reading in the middle is not kept waiting."""

    async def go() -> None:
        async with _opened(make) as source, aclosing(_stream(source)) as stream:
            async for _ in stream:
                break

    _run(go())


def another_pass_is_the_same(make: Make) -> None:
    """Iterated again, a source that is not live gives the same events again, or says that it cannot."""

    async def go() -> None:
        async with _opened(make) as source:
            first = await _drain(source)
            if type(source).live:
                return
            try:
                second = [p async for p in _stream(source)]
            except InputError:
                return
            before, after = (sum(map(len, packets)) for packets in (first, second))
            assert before == after, f"{before} events, then {after}"

    _run(go())


SOURCE_CHECKS: dict[str, Callable[[Make], None]] = {
    check.__name__: check
    for check in (
        says_what_it_is,
        an_unknown_option_names_the_near_miss,
        packets_are_as_promised,
        what_it_tells_is_json,
        its_labels_are_in_order,
        it_may_be_left_early,
        another_pass_is_the_same,
    )
}
"""Name → check."""


def check_source(make: Make) -> None:
    """Run all checks of a source.

    Args:
        make: gives a new source at each call, or a context in which one is open.

    Raises:
        AssertionError: a promise that it does not keep, after the name of the check.
    """
    for name, check in SOURCE_CHECKS.items():
        try:
            check(make)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from e


# --- reading ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _opened(make: Make) -> AsyncIterator[Source]:
    made = make()
    if isinstance(made, Source):
        yield made
        return
    async with made as source:
        yield source


def _alone(make: Make) -> Source:
    """A source to look at; one that is sent to is read to its end, so that the sender ends, too."""

    async def go() -> Source:
        made = make()
        if isinstance(made, Source):
            return made
        async with made as source:
            await _drain(source)
            return source

    return _run(go())


def _read(make: Make) -> list[EventPacket]:
    async def go() -> list[EventPacket]:
        async with _opened(make) as source:
            return await _drain(source)

    return _run(go())


async def _drain(source: Source) -> list[EventPacket]:
    """All packets; an InputError at the end, such as a lost connection, is an end."""
    packets: list[EventPacket] = []
    async with aclosing(_stream(source)) as stream:
        try:
            async for packet in stream:
                packets.append(packet)
        except InputError:
            pass
    return packets


def _stream(source: Source) -> AsyncGenerator[EventPacket, None]:
    return cast("AsyncGenerator[EventPacket, None]", aiter(source))


def _run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(LIMIT_S):
            return await work

    return asyncio.run(limited())
