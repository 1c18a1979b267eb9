"""The contract of a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.run.summary import NOTHING, summarize

Make = Callable[[], Sink]
"""Gives a new sink at each call, with a target of its own."""

CLASSES = 3
STEPS = 5


def says_what_it_is(make: Make) -> None:
    """Its class has a name, a frozen model of options, and schemes in lower case if any."""
    cls = type(make())
    assert isinstance(cls.name, str) and cls.name, "name: a short name, by which it is registered"
    assert issubclass(cls.Config, SinkConfig), "Config: a subclass of SinkConfig, with its options"
    assert cls.Config.model_config.get("frozen"), "Config: stays frozen"
    assert isinstance(cls.schemes, tuple) and all(s == s.lower() for s in cls.schemes), "schemes: a tuple, lower case"


def an_unknown_option_names_the_near_miss(make: Make) -> None:
    """A mistyped option is a UsageError that names the right one."""
    sink = make()
    given = sink.config.model_dump(exclude_unset=True, by_alias=True, mode="json")
    try:
        type(sink).from_options(**given, targetx="1")
    except UsageError as e:
        assert "unknown key" in str(e), f"expected an unknown key, found: {e}"
        return
    raise AssertionError("the option 'targetx' was taken without a word")


def it_takes_results_in_order(make: Make) -> None:
    """It opens, takes results of labelled and unlabelled timesteps, and closes with the summary."""
    _drive(make(), results())


def it_ends_well_without_a_result(make: Make) -> None:
    """A run that had no timestep closes it all the same."""
    _drive(make(), [])


def it_closes_when_the_run_never_began(make: Make) -> None:
    """Closed with None instead of a summary."""
    _drive(make(), [], summary=False)


def it_changes_no_result(make: Make) -> None:
    """Results are shared with the other sinks: frames and logits stay as they were."""
    given = results()
    before = [(r.timestep.frame.copy(), r.prediction.logits.copy()) for r in given]
    _drive(make(), given)
    for result, (frame, logits) in zip(given, before, strict=True):
        assert np.array_equal(result.timestep.frame, frame), "it changed a frame"
        assert np.array_equal(result.prediction.logits, logits), "it changed logits"


SINK_CHECKS: dict[str, Callable[[Make], None]] = {
    check.__name__: check
    for check in (
        says_what_it_is,
        an_unknown_option_names_the_near_miss,
        it_takes_results_in_order,
        it_ends_well_without_a_result,
        it_closes_when_the_run_never_began,
        it_changes_no_result,
    )
}
"""Name → check."""


def check_sink(make: Make) -> None:
    """Run all checks of a sink.

    Args:
        make: gives a new sink at each call, with a target of its own.

    Raises:
        AssertionError: a promise that it does not keep, after the name of the check.
    """
    for name, check in SINK_CHECKS.items():
        try:
            check(make)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from e


# --- a run -----------------------------------------------------------------------------------------------------------


def results() -> list[StepResult]:
    """A few timesteps of 8×8 pixels, every second one with a label."""
    rng = np.random.default_rng(0)
    out = []
    for step in range(STEPS):
        frame = rng.integers(0, 3, (2, 8, 8)).astype(np.float32)
        start, end = step * 20_000, (step + 1) * 20_000
        logits = rng.normal(size=CLASSES).astype(np.float32)
        index = int(logits.argmax())
        said: dict[str, Any] = {"step": step, "t_start": start, "t_end": end, "logits": logits, "index": index}
        prediction = Prediction(**said, label=index, confidence=0.5, latency_s=0.001)
        timestep = Timestep(frame=frame, t_start=start, t_end=end, index=step, events=int(frame.sum()))
        labelled = step % 2 == 0
        out.append(StepResult(timestep, prediction, truth=index if labelled else None, scored=labelled))
    return out


def view() -> RunView:
    """A run whose sensor, network and classes are known."""
    facts = RunFacts(
        source="synthetic:",
        sensor=(8, 8),
        network="4",
        parameters=100,
        classes=tuple(range(CLASSES)),
        class_names={0: "circle"},
    )
    snapshot = RunSnapshot(NOTHING, Ledger())
    return RunView(facts, lambda: snapshot)


def _drive(sink: Sink, given: list[StepResult], *, summary: bool = True) -> None:
    async def go() -> None:
        run = view()
        await sink.open(run)
        try:
            for result in given:
                await sink.consume(result)
        finally:
            end = summarize(run.facts, run.snapshot(), seed=0, code=0, reason="end") if summary else None
            await sink.close(end)

    asyncio.run(go())
