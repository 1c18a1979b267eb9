"""The figures that a monitoring system reads are those of the summary, over real HTTP; a scrape holds up nobody."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import pytest
from helpers import (
    ListSource,
    LiveSource,
    intervals,
    labelled_events,
    pipeline_of,
    run,
    small_session,
    to_the_end,
)
from prometheus_client.parser import text_string_to_metric_families
from resumed import request

from stream_ottt.cli import main
from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.metrics.config import MetricsConfig
from stream_ottt.metrics.health import Health
from stream_ottt.metrics.server import MetricsServer
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.view import RunView
from stream_ottt.run.run import Run
from stream_ottt.run.summary import summarize
from stream_ottt.sinks.metrics import MetricsSink
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.merged.files import MergedFiles
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.place import Place

pytestmark = pytest.mark.usefixtures("one_thread")

WITHIN_S = 60.0


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until(port: int, status: int, path: str = "/healthz") -> dict[str, Any]:
    """Ask again and again until the answer has this status; what it says."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        found, body = get(port, path)
        if found == status:
            return json.loads(body)
    raise AssertionError(f"{path} is {found} {body}, and not {status}")


@contextmanager
def served(view: RunView, **limits: int) -> Iterator[int]:
    """The port at which a run's figures are served while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(act: Any) -> None:
        asyncio.run_coroutine_threadsafe(act, loop).result(WITHIN_S)

    try:
        server = MetricsServer(view, Health(view, MetricsConfig(**limits)), host="127.0.0.1", port=0)
        call(server.start())
        try:
            yield server.port
        finally:
            call(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def running(pipeline: Pipeline) -> Iterator[None]:
    """Run in a thread of its own while the block runs."""
    thread = threading.Thread(target=lambda: asyncio.run(to_the_end(pipeline)))
    thread.start()
    try:
        yield
    finally:
        pipeline.stop()
        cast("Ticking", pipeline.source).on.set()
        thread.join(WITHIN_S)
        assert not thread.is_alive()


def figures(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values …) → value."""
    families = text_string_to_metric_families(text)
    return {(s.name.removeprefix("stream_ottt_"), *s.labels.values()): s.value for f in families for s in f.samples}


def test_each_of_several_sources_has_figures() -> None:
    lanes = [Lane(name, ListSource(labelled_events(i, 3 + i)), Place()) for i, name in enumerate(("left", "right"))]
    pipeline = pipeline_of(MergedFiles(lanes, None), [], small_session(None), max_steps=25)
    run(pipeline)
    with served(pipeline.view) as port:
        found = figures(get(port, "/metrics")[1])
    for name, one in pipeline.snapshot().sources.items():
        events = one["events"]
        for outcome in ("read", "binned", "late", "malformed"):
            assert found["source_events_total", outcome, name] == events[outcome]
        assert found["source_events_total", "dropped", name] == events["read"] - events["binned"] > 0
        assert found["source_waiting_events", name] == 0


def test_the_figures_are_those_of_the_summary() -> None:
    timeline = LabelTimeline(intervals(30))
    pipeline = pipeline_of(ListSource(labelled_events(0, 30)), [], small_session(timeline), timeline, max_steps=250)
    assert run(pipeline).reason == "max-steps"
    with served(pipeline.view) as port:
        found = figures(get(port, "/metrics")[1])
    said = summarize(pipeline.view.facts, pipeline.snapshot(), seed=0, code=0, reason="max-steps")
    events = said["events"]
    assert found["events_read_total",] == events["read"] > 0
    assert events["dropped"]["stopped"] > 0
    for outcome in ("binned", "late", "malformed"):
        assert found["events_total", outcome] == events[outcome]
    for reason, n in events["dropped"].items():
        assert found["events_dropped_total", reason] == n
    assert found["timesteps_total",] == said["timesteps"] == 250
    assert found["stream_seconds_total",] == pytest.approx(said["stream_s"])
    for kind, n in said["updates"].items():
        assert found["updates_total", kind] == n
    assert found["updates_total", "live"] > 100
    assert found["rollbacks_total",] == said["rollbacks"]
    assert found["presentations_total",] == said["presentations"] > 10
    for score in ("presentations", "steps", "majority", "no_change", "faded"):
        assert found["accuracy", score] == pytest.approx(said["accuracy"][score])
    assert [state for state in ("on", "paused", "off", "no labels") if found["learning", state]] == [said["learning"]]
    assert 0.2 < found["resident_memory_bytes",] / said["peak_rss_mb"] / 1e6 < 1.1


def test_the_histograms_hold_every_duration_and_its_quantiles() -> None:
    pipeline = pipeline_of(ListSource(labelled_events(0, 20)), [], small_session(None))
    run(pipeline)
    with served(pipeline.view) as port:
        found = figures(get(port, "/metrics")[1])
    for name, quantiles in (("step", pipeline.snapshot().session.step_ms), ("latency", pipeline.snapshot().latency)):  # type: ignore[union-attr]
        buckets = [(float(key[1]), n) for key, n in found.items() if key[0] == f"{name}_seconds_bucket"]
        assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), 200)
        assert found[f"{name}_seconds_count",] == 200
        assert found[f"{name}_seconds_sum",] == pytest.approx(quantiles.total_s)
        edges = [0.0, *(edge for edge, _ in buckets)]
        middle = next(i for i, (_, n) in enumerate(buckets) if n >= 100)
        assert edges[middle] <= quantiles.p50_ms / 1e3 <= edges[middle + 1]


class Ticking(LiveSource):
    """Gives packets for as long as ``on`` is set, with times that go on."""

    def __init__(self) -> None:
        super().__init__(labelled_events(0, 1), cut=100)
        self.on = threading.Event()

    async def __aiter__(self):
        shift = 0
        while True:
            await asyncio.to_thread(self.on.wait)  # a camera that gives nothing
            events = self.events.copy()
            events["t"] += shift
            shift += 10_000
            yield EventPacket(events, 8, 8)
            await asyncio.sleep(0.01)


def test_it_is_ready_once_predictions_can_be_made_and_says_why_it_is_not() -> None:
    source = Ticking()
    pipeline = pipeline_of(source, [], small_session(None), policy="drop-oldest")
    with served(pipeline.view) as port, running(pipeline):
        assert until(port, 503, "/readyz")["why"] == "no packet has come yet"
        assert ("timesteps_total",) not in figures(get(port, "/metrics")[1])
        source.on.set()
        assert until(port, 200, "/readyz")["ready"] is True


def test_a_source_that_stalls_goes_red_and_green_again() -> None:
    source = Ticking()
    pipeline = pipeline_of(source, [], small_session(None), policy="drop-oldest")
    source.on.set()
    with served(pipeline.view, source=300_000, learner=250_000) as port, running(pipeline):
        assert until(port, 200)["parts"]["source"]["status"] == "ok"
        source.on.clear()
        parts = until(port, 503)["parts"]
        assert parts["source"]["status"] == "stalled" and parts["source"]["for_s"] >= 0.3
        assert parts["source"]["why"] == "no event for more than 0.3 s"
        assert parts["learner"]["status"] == "ok"
        source.on.set()
        assert until(port, 200)["parts"]["source"]["status"] == "ok"


def test_a_learner_that_stalls_goes_red_and_green_again_and_the_source_is_not_blamed() -> None:
    session = small_session(None)
    process, release = session.process, threading.Event()

    def stuck(timestep):  # type: ignore[no-untyped-def]
        if timestep.index == 30:
            assert release.wait(WITHIN_S)
        return process(timestep)

    session.process = stuck  # type: ignore[method-assign]
    source = Ticking()
    source.on.set()
    pipeline = pipeline_of(source, [], session, policy="drop-oldest")
    with served(pipeline.view, learner=200_000, source=200_000) as port, running(pipeline):
        parts = until(port, 503)["parts"]
        assert parts["learner"]["why"] == "at one piece of work for more than 0.2 s"
        assert parts["source"]["status"] == "ok"
        assert figures(get(port, "/metrics")[1])["healthy", "learner"] == 0
        release.set()
        assert until(port, 200)["parts"]["learner"]["status"] == "ok"


def test_checkpoints_that_fail_go_red_and_green_again(tmp_path: Path) -> None:
    endless = "synthetic:?presentations=3000&duration=100ms&pause=50ms&classes=3"
    asked = request(tmp_path / "run", {"stream": {"checkpoint_every": "20ms", "speed": "1x"}}, source=endless)
    asked.sinks.append("metrics:0?checkpoint=500ms")
    made = Run(asked)
    folder, away = tmp_path / "run" / "checkpoints", tmp_path / "away"
    thread = threading.Thread(target=lambda: asyncio.run(made.go()))
    thread.start()
    try:
        sink = next(s for s in made.sinks if isinstance(s, MetricsSink))
        while sink._server is None or not sink._server.port:
            assert thread.is_alive()
        port = sink._server.port
        until(port, 200, "/readyz")
        while not any(folder.glob("*.json")):
            assert thread.is_alive()
        assert until(port, 200)["status"] == "ok"
        folder.rename(away)
        body = until(port, 503)
        assert body["parts"]["checkpoint"]["why"] == "none for more than 0.5 s"
        while not (found := figures(get(port, "/metrics")[1]))["checkpoints_total", "failed"]:
            assert thread.is_alive()
        assert found["checkpoint_age_seconds",] > 0.5
        assert {key[1] for key in found if key[0] == "spike_rate"} == {"conv1"}
        away.rename(folder)
        assert until(port, 200)["parts"]["checkpoint"]["status"] == "ok"
    finally:
        made.pipeline.stop()
        thread.join(WITHIN_S)


def test_a_client_that_sends_nothing_holds_up_neither_the_run_nor_its_end() -> None:
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [], small_session(None))
    with served(pipeline.view) as port, socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert run(pipeline).reason == "end"
        assert figures(get(port, "/metrics")[1])["timesteps_total",] == 600


def test_a_page_of_another_site_cannot_read_it_by_a_name_of_its_own() -> None:
    pipeline = pipeline_of(ListSource(labelled_events(0, 1)), [], small_session(None))
    with served(pipeline.view) as port:
        assert get(port, "/metrics", Host="evil.example")[0] == 403
        assert get(port, "/metrics")[0] == 200
        assert get(port, "/nothing")[0] == 404


@pytest.mark.parametrize("address", ["nonsense:x", "127.0.0.1:99999", "1.2.3.4.5:1"])
def test_an_address_that_is_none_is_refused_before_the_run(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stream-ottt", "run", "--source", "synthetic:", "--quiet", "--metrics", address])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "--metrics: " in capsys.readouterr().err


def test_a_file_that_waits_for_a_slow_learner_has_not_stalled() -> None:
    session = small_session(None)
    process, release = session.process, threading.Event()

    def slow(timestep):  # type: ignore[no-untyped-def]
        if timestep.index == 30:
            assert release.wait(WITHIN_S)
        return process(timestep)

    session.process = slow  # type: ignore[method-assign]
    pipeline = pipeline_of(ListSource(labelled_events(0, 60)), [], session)
    thread = threading.Thread(target=lambda: run(pipeline))
    with served(pipeline.view, source=50_000) as port:
        thread.start()
        try:
            while figures(get(port, "/metrics")[1])["busy_seconds",] < 0.3:
                assert thread.is_alive()
            assert get(port, "/healthz")[0] == 200
        finally:
            release.set()
            thread.join(WITHIN_S)


def test_without_the_package_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"pip install 'stream-ottt\[metrics\]'"):
        open_sink("metrics:9464")


def test_an_address_that_is_taken_is_refused_before_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"--metrics: cannot serve at 127\.0\.0\.1:{port}: Address already in use"
        ):
            open_sink(f"metrics:{port}").check(overwrite=False)
