"""A session that is restored anywhere goes on as if it had never stopped, to the bit; what is left out is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import WINDOW, intervals, labelled_events, small_learner, timesteps
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import ModelError, UsageError
from stream_ottt.labels.evaluation import EvaluationConfig, Evaluator
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

PRESENTATIONS = 6
LABELS = intervals(PRESENTATIONS)
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(LABELS))

SETTINGS: list[dict[str, Any]] = [
    {"delay": 0},
    {"delay": 3500, "mode": "idle"},
    {"delay": "end", "rule": {"rule": "ottt_a"}},
    {"live": True},
    {"live": True, "delay": "end", "rule": {"error_delay": 2}},
    {"delay": 0, "mode": "alongside"},
    {"delay": "end", "mode": "alongside", "rule": {"average": 40}},
    {"live": True, "mode": "alongside", "rule": {"average": 30, "error_delay": 1}},
    {"delay": 2500, "rule": {"error_delay": 1, "delay_mode": "snapshot"}, "keep": 3000},
]

act = st.one_of(
    st.tuples(st.just("steps"), st.integers(1, 12)),
    st.tuples(st.just("due"), st.integers(1, 12)),
    st.tuples(st.just("idle"), st.integers(1, 4)),
    st.tuples(st.just("label"), st.integers(0, PRESENTATIONS - 1)),
    st.tuples(st.just("now"), st.integers(1, 8)),
    st.tuples(st.just("class"), st.integers(3, 4)),
    st.tuples(st.just("correct"), st.integers(0, PRESENTATIONS - 1)),
    st.tuples(st.just("retract"), st.integers(0, PRESENTATIONS - 1)),
    st.tuples(st.sampled_from(["pause", "resume", "reset", "end_pass"]), st.just(0)),
)


def make(options: dict[str, Any]) -> Session:
    live = options.get("live", False)
    return Session(
        small_learner(lr=0.05, **options.get("rule", {})),
        timeline=LabelTimeline(() if live else LABELS, delay=options.get("delay", 0)),
        evaluator=Evaluator(EvaluationConfig(window=7)),
        rehearsal=RehearsalConfig(
            mode=options.get("mode", "ratio"), ratio=options.get("ratio", 2), stretch=4, max_bytes=4000, shift=1
        ),
        late_labels=live,
        keep_bytes=options.get("keep", 1 << 20),
    )


class Run:
    """A session on its way through the stream."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.at = self.index = 0
        self.logits: list[np.ndarray] = []

    def do(self, name: str, n: int) -> None:
        session = self.session
        if name == "steps":
            for t in STEPS[self.at : self.at + n]:
                self.logits.append(session.process(replace(t, index=self.index)).prediction.logits)
                self.at, self.index = self.at + 1, self.index + 1
        elif name in ("due", "idle"):
            for _ in range(n):
                session.learn_due() if name == "due" else session.idle()
        elif name in ("label", "now"):
            with suppress(UsageError):
                session.labels.add(LABELS[n]) if name == "label" else session.labels.now(1, n * WINDOW)
        elif name == "correct":
            with suppress(UsageError):
                session.labels.correct(1 + n % 2, None if n > 3 else LABELS[n].t_start)
        elif name == "retract":
            with suppress(UsageError):
                session.labels.retract(None if n > 3 else LABELS[n].t_start)
        elif name == "class":
            with suppress(UsageError):
                session.classes.add(str(n))
                session.labels.now(n, 3 * WINDOW)
        else:
            getattr(session, name)()
            self.at *= name != "end_pass"


def saved(session: Session) -> dict[str, Any]:
    """The state as a file would hold it: arrays and tensors as they are, all else through JSON."""
    state = session.state_dict()
    arrays = {k: v.copy() for k, v in state.items() if isinstance(v, np.ndarray)}
    tensors = {k: v.clone() for k, v in state.items() if isinstance(v, torch.Tensor)}
    rest = {k: v for k, v in state.items() if k not in arrays and k not in tensors}
    return arrays | tensors | json.loads(json.dumps(rest))


def restored(session: Session, options: dict[str, Any]) -> Session:
    other = make(options)
    other.learner.load_state_dict(session.learner.state_dict())
    other.load_state_dict(saved(session))
    return other


def figures(session: Session) -> dict[str, Any]:
    """All that a session says of itself, but for how long things took."""
    seen = session.snapshot()
    return {k: getattr(seen, k) for k in seen.__slots__ if not k.endswith("_ms")}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SETTINGS), st.lists(act, min_size=2, max_size=14), st.data())
def test_a_restored_session_goes_on_to_the_bit(options: dict[str, Any], acts: list[Any], data: st.DataObject) -> None:
    whole, cut = Run(make(options)), Run(make(options))
    at = data.draw(st.integers(0, len(acts)))
    for i, (name, n) in enumerate(acts):
        if i == at:
            cut.session = restored(cut.session, options)
            assert figures(cut.session) == figures(whole.session)
        whole.do(name, n)
        cut.do(name, n)
    for run in (whole, cut):
        run.do("steps", 5)
        run.do("due", 20)
    np.testing.assert_array_equal(np.concatenate(whole.logits), np.concatenate(cut.logits))
    assert figures(whole.session) == figures(cut.session)
    assert whole.session.classes.names == cut.session.classes.names
    ours, theirs = (run.session.learner.network.parameters for run in (whole, cut))
    assert all(torch.equal(ours[k], v) for k, v in theirs.items())


def busy() -> tuple[Session, dict[str, Any]]:
    """A session in which everything is under way at once."""
    options = {"live": True, "delay": 4000, "mode": "alongside"}
    run = Run(make(options))
    session = run.session
    session.labels.add(LABELS[0])
    run.do("steps", 10)
    run.do("due", 100)
    run.do("steps", 5)
    session.labels.add(LabelInterval(10 * WINDOW, 15 * WINDOW, 1))
    while session._due._run is None:  # remembered timesteps may be due first
        session.learn_due()
    run.do("steps", 5)
    session.labels.add(LabelInterval(17 * WINDOW, 19 * WINDOW, 2))
    session.labels.add(LabelInterval(20 * WINDOW, 40 * WINDOW, 2))
    run.do("steps", 2)
    return session, options


def test_a_state_without_one_of_its_fields_is_refused_by_name() -> None:
    session, options = busy()
    state = saved(session)
    for whole in (
        "presentations/shown/",
        "due/deferred/0/",
        "due/run/learner/",
        "due/alongside/0/",
        "memory/stretch/",
        "waiting/",
    ):
        assert any(key.startswith(whole) for key in state), whole
    make(options).load_state_dict(state)
    for key in state:
        if "/learner/state/" in key or "/learner/saved/" in key:
            continue  # the network's, named by the learner
        with pytest.raises(ModelError) as error:
            make(options).load_state_dict({k: v for k, v in state.items() if k != key})
        assert key.rpartition("/")[2] in str(error.value)


def test_what_is_restored_counts_the_memory_that_it_takes() -> None:
    session, options = busy()
    before, after = session.snapshot(), restored(session, options).snapshot()
    assert before.waiting_bytes == after.waiting_bytes > 0
    assert before.waiting == after.waiting > before.due > 0


def test_stretches_keep_their_numbers_and_never_change() -> None:
    session, _ = busy()
    before = session.state_dict()
    stretches = {k: v.copy() for k, v in before.items() if k.startswith("memory/stretch/")}
    assert stretches
    for _ in range(60):
        session.learn_due()
    after = session.state_dict()
    for key in stretches.keys() & after.keys():
        np.testing.assert_array_equal(after[key], stretches[key])
    assert max(int(k.rpartition("/")[2]) for k in after if k.startswith("memory/stretch/")) < after["memory/next_id"]


def test_a_run_that_took_no_labels_may_take_some_when_it_goes_on() -> None:
    before = Session(small_learner(lr=0.05))
    for step in STEPS[:10]:
        before.process(step)
    after = Session(small_learner(seed=1, lr=0.05), timeline=LabelTimeline(), late_labels=True)
    after.learner.load_state_dict(before.learner.state_dict())
    after.load_state_dict(before.state_dict())
    assert after.learning == "no labels"
    for step in STEPS[10:20]:
        after.process(step)
    assert after.labels.now(2, 5 * WINDOW) == 5
    assert after.learning == "on" and after.learns
    while after.learn_due():
        pass
    assert after.snapshot().updates["deferred"] == 5
