"""What went wrong in a run, in one line each: what an exit code tells, and what is only said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stream_ottt.errors import InputError, OutputError
from stream_ottt.labels.alignment import mistaken_unit, unmet
from stream_ottt.pipeline.sink_writer import SinkWriter
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.verdict import CURE_OF_TIMES, unusable
from stream_ottt.pipeline.view import RunFacts, RunSnapshot

Problem = tuple[int, str]
"""Exit code and what to say."""

TOO_MANY = "too many labels waited; send them more slowly"
"""Why a label was refused before the learner saw it."""


def nothing_came(source: Source, facts: RunFacts) -> str:
    """Why a run has nothing to tell: the stream held no event, or nobody sent any."""
    if type(source).live:
        return f"{facts.source}: no event came; see that something is sent there"
    return f"{facts.source}: the stream holds no events; nothing to do"


def problems_of_input(source: Source, facts: RunFacts, snapshot: RunSnapshot) -> list[Problem]:
    """Events and messages that could not be used; all others were."""
    found = []
    ledger, name, sensor = snapshot.ledger, facts.source, facts.sensor or (0, 0)
    parts = []
    clocks = [snapshot.clock, *(one["clock"] for one in snapshot.sources.values())]
    wrong = sum(clock.get("left_out", 0) for clock in clocks)
    outside = ledger.malformed - wrong
    if outside > 0:
        width, height = sensor
        parts.append(f"{outside} events outside the {width}×{height} sensor or outside the range of times")
    if wrong:
        parts.append(f"{wrong} events whose times run in no order")
    if ledger.late:
        parts.append(f"{ledger.late} events whose time runs backwards beyond the open timestep")
    if parts:
        text = f"{name}: {' and '.join(parts)} were left out and counted; all others were used"
        if wrong:
            copy = "" if type(source).live else "; `stream-ottt convert` writes a copy without them"
            text += f"; {CURE_OF_TIMES}{copy}"
        why = unusable(source, ledger.read, outside, wrong, sensor, snapshot.misfits)
        found.append((InputError.exit_code, text if why is None else f"{name}: {why}"))
    if malformed := snapshot.transport.get("malformed_messages"):
        text = (
            f"{name}: {malformed} messages could not be read and were left out "
            f"(the first: {snapshot.transport['malformed'][0]}); all others were used"
        )
        found.append((InputError.exit_code, text))
    return found


def refused_messages(transport: Mapping[str, Any]) -> int:
    """Messages, or datagrams, of senders that were not followed."""
    return int(transport.get("refused_messages", 0)) + int(transport.get("refused_datagrams", 0))


def problems_of_sinks(writers: Sequence[SinkWriter], snapshot: RunSnapshot) -> list[Problem]:
    """Sinks that did not get or keep everything; what failed was said when it did."""
    optional = {w.name for w in writers if w.sink.optional}
    found = []
    for name, state in snapshot.sinks.items():
        if state.failure is not None and name not in optional and (state.missed or not state.working):
            found.append((OutputError.exit_code, f"sink {name}: {state.missed} results are missing"))
    return found


def remarks(facts: RunFacts, snapshot: RunSnapshot, *, labels: str | None, takes_labels: bool) -> Iterator[str]:
    """What a user should know of a run that ended well all the same.

    Args:
        facts: what is known of the run.
        snapshot: its end.
        labels: the file that gave them, where one did.
        takes_labels: whether any could come with the stream.
    """
    session, source = snapshot.session, facts.source
    if snapshot.clock.get("epochs", 1) > 1:
        yield (
            f"{source}: the sensor's clock jumped {snapshot.clock['epochs'] - 1} times; times after a jump back go "
            "on after those before it; see the summary's clock"
        )
    if lost := snapshot.transport.get("lost_messages"):
        yield f"{source}: {lost} messages never came; see the summary's gaps"
    if refused := refused_messages(snapshot.transport):
        yield f"{source}: {refused} messages of a second sender under its name were left out; give each its own"
    if overflow := snapshot.ledger.dropped.get("overflow"):
        yield f"{source}: {overflow:,} of {snapshot.ledger.read:,} events were dropped, since the learner was too slow"
    by_filters = {k: n for k, n in snapshot.ledger.dropped.items() if k.startswith("filter:") and n}
    if by_filters and not snapshot.ledger.binned:
        names = ", ".join(f"{n:,} by {k.removeprefix('filter:')}" for k, n in by_filters.items())
        yield f"{source}: the filters left nothing of its events ({names}); see their options in docs/filters.md"
    if session is not None and session.label_span and session.stream_span:
        spans = session.label_span, session.stream_span
        if not session.intervals_met and not session.labels_retracted:
            yield unmet(*spans, name=labels or source)
        elif unit := mistaken_unit(*spans):
            how = "go on long after" if session.label_span[1] > session.stream_span[1] else "end early in"
            yield f"{labels or source}: labels {how} the stream, and look like {unit}; write their times in µs"
    if session is not None and (refused := session.labels_refused + snapshot.labels_refused):
        first = session.label_refusal or TOO_MANY
        yield f"{source}: {refused} label{'s were' if refused > 1 else ' was'} refused; the first: {first}"
    if session is not None and session.learning == "no labels":
        how = (
            "no label has come with the stream"
            if takes_labels
            else "no label was given; give some with --labels FILE.csv (class,startTime_usec,endTime_usec)"
        )
        yield f"nothing was learned: {how}"
