"""The figures of a run in the form that Prometheus reads; names and units are in docs/deploy.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_ottt.events.packet import FATES
from stream_ottt.learning.durations import DurationHistogram
from stream_ottt.learning.snapshot import Durations, Learning, SessionSnapshot
from stream_ottt.memory import resident_bytes
from stream_ottt.metrics.health import Health
from stream_ottt.metrics.spikes import SpikeRates
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView

PREFIX = "stream_ottt_"
EDGES_S = DurationHistogram.edges_s()


class Figures(Collector):
    """All figures of a run, made anew at each scrape from its latest snapshot.

    Args:
        run: the run.
        health: what looks at it.
        spikes: what the layers do.
    """

    def __init__(self, run: RunView, health: Health, spikes: SpikeRates) -> None:
        self._run = run
        self._health = health
        self._spikes = spikes

    def describe(self) -> list[Metric]:
        """Nothing: names are only known once there is a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        snapshot = self._health.look()
        yield _info(self._run.facts)
        yield from _events(snapshot)
        if snapshot.sources:
            yield from _sources(snapshot)
        if snapshot.session is not None:
            yield from _session(snapshot.session)
            yield from _durations(snapshot.session, snapshot)
        yield _gauge("spike_rate", "Share of a layer's neurons that fired at a timestep.", "layer", self._spikes.latest)
        yield from self._state(snapshot)
        yield from _sinks(snapshot)

    def _state(self, snapshot: RunSnapshot) -> Iterator[Metric]:
        well = {name: float(part.stalled is None) for name, part in self._health.parts.items()}
        yield _gauge("healthy", "1 while the part has not stalled.", "part", well)
        yield _one("ready", "1 once predictions can be made.", float(self._health.is_ready()[0]))
        yield _one("label_age_seconds", "Since a label came or was met.", self._health.label_age_s)
        yield _one("busy_seconds", "How long the learner is at its present piece of work.", snapshot.busy_s)
        yield _one("resident_memory_bytes", "Resident memory of the process.", resident_bytes())
        if snapshot.checkpoint is not None:
            age = self._health.checkpoint_age_s(snapshot)
            yield _one("checkpoint_age_seconds", "Since the latest checkpoint, or the start.", age)
            counts = {"written": snapshot.checkpoint.written, "failed": snapshot.checkpoint.failed}
            yield _counter("checkpoints", "Checkpoints of this process.", "outcome", counts)


def _info(facts: RunFacts) -> Metric:
    labels = {"source": facts.source, "network": facts.network}
    found = GaugeMetricFamily(f"{PREFIX}run_info", "What is run.", labels=list(labels))
    found.add_metric(list(labels.values()), 1.0)
    return found


def _events(snapshot: RunSnapshot) -> Iterator[Metric]:
    ledger = snapshot.ledger
    yield _one_counter("events_read", "Events that the source decoded.", ledger.read)
    used = {"binned": ledger.binned, "late": ledger.late, "malformed": ledger.malformed}
    yield _counter("events", "What became of events.", "outcome", used)
    yield _counter("events_dropped", "Events given up on purpose.", "reason", ledger.dropped)
    yield _gauge("waiting_events", "Events in hand, by where.", "queue", snapshot.waiting)
    yield _one("clock_epochs", "How often the sensor's clock was set anew, plus 1.", snapshot.clock.get("epochs"))
    lost = {k: v for k, v in snapshot.transport.items() if isinstance(v, int) and not isinstance(v, bool)}
    yield _gauge("transport", "What a live source counts of its own.", "count", lost)


def _sources(snapshot: RunSnapshot) -> Iterator[Metric]:
    text = "What became of the events of each of several sources; those dropped for any reason are one outcome."
    found = CounterMetricFamily(f"{PREFIX}source_events", text, labels=["source", "outcome"])
    for name, one in snapshot.sources.items():
        events = one["events"]
        counts = {fate: events[fate] for fate in FATES} | {"dropped": sum(events["dropped"].values())}
        for outcome, n in counts.items():
            found.add_metric([name, outcome], n)
    yield found
    waiting = {name: one["events"]["in_hand"] for name, one in snapshot.sources.items()}
    yield _gauge("source_waiting_events", "Events in hand, by source.", "source", waiting)


def _session(s: SessionSnapshot) -> Iterator[Metric]:
    yield _one_counter("timesteps", "Timesteps predicted.", s.timesteps)
    yield _one_counter("timesteps_not_kept", "Timesteps that waited too long for their label.", s.timesteps_not_kept)
    yield _one_counter("stream_seconds", "Event time covered.", s.stream_us / 1e6)
    yield _counter("updates", "Optimizer steps.", "kind", s.updates)
    yield _one_counter("rollbacks", "How often the weights went back to the last good ones.", s.rollbacks)
    yield _one_counter("presentations", "Presentations that were scored.", s.presentations)
    yield _gauge("accuracy", "Prequential accuracy, and its baselines.", "score", s.accuracy)
    yield _counter("labels", "Labels that came.", "outcome", {"taken": s.labels_taken, "refused": s.labels_refused})
    waiting = {"label": s.waiting - s.due, "learning": s.due}
    yield _gauge("waiting_timesteps", "Timesteps that wait for their label, or to be learned.", "for", waiting)
    yield _gauge(
        "learning", "1 for what learning is now.", "state", {x: float(x == s.learning) for x in get_args(Learning)}
    )


def _durations(s: SessionSnapshot, snapshot: RunSnapshot) -> Iterator[Metric]:
    yield _histogram("step_seconds", "A live timestep, forward pass and update.", s.step_ms)
    text = "From the arrival of what completed a timestep to its prediction."
    yield _histogram("latency_seconds", text, snapshot.latency)


def _sinks(snapshot: RunSnapshot) -> Iterator[Metric]:
    missed = {name: sink.missed for name, sink in snapshot.sinks.items()}
    yield _counter("sink_missed", "Results that a sink did not get.", "sink", missed)
    working = {name: float(sink.working) for name, sink in snapshot.sinks.items()}
    yield _gauge("sink_working", "0 from a sink's failure until it takes something again.", "sink", working)


# --- forms -----------------------------------------------------------------------------------------------------------


def _one(name: str, text: str, value: float | None) -> Metric:
    found = GaugeMetricFamily(PREFIX + name, text)
    if value is not None:
        found.add_metric([], value)
    return found


def _one_counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float | None]) -> Metric:
    found = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        if value is not None:
            found.add_metric([key], value)
    return found


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    found = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        found.add_metric([key], value)
    return found


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    edges = [f"{edge:.6g}" for edge in EDGES_S[:-1]] + ["+Inf"]
    buckets = list(zip(edges, accumulate(durations.counts or [0] * len(edges)), strict=True))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=durations.total_s)
