"""A class that appears while a session runs is learned from its first seconds, and the others are kept."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers import WINDOW, intervals, labelled_events, small_session, timesteps

from stream_ottt.errors import UsageError
from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.classes import MOST_CLASSES
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network
from stream_ottt.sources.synthetic import SyntheticConfig, SyntheticSource

LASTS = 400_000
OLD, NEW = [0, 3, 5], 6
PIXELS = 16


@cache
def scene() -> dict[int, list[list[Timestep]]]:
    """Label → its presentations, of 400 ms each, as timesteps of 20 ms."""
    source = SyntheticSource(SyntheticConfig(seed=1, presentations=72, duration=LASTS, pause=0, classes=8, noise=0.1))
    cuts = sorted({t for i in source.labels for t in (i.t_start, i.t_end)})
    binner = Binner(BinningConfig(window=20_000, width=PIXELS, height=PIXELS), 128, 128, Ledger(), boundaries=cuts)
    steps = [t for packet in source.packets() for t in binner.feed(packet.events)] + list(binner.flush())
    found: dict[int, list[list[Timestep]]] = {label: [] for label in range(8)}
    for interval in source.labels:
        found[interval.label].append([t for t in steps if interval.holds(t.middle)])
    return found


def stream(labels: list[int]) -> list[tuple[LabelInterval, list[Timestep]]]:
    """Presentations of these labels one after the other."""
    shown, index, left = [], 0, {label: iter(own) for label, own in scene().items()}
    for k, label in enumerate(labels):
        own = next(left[label])
        by = k * LASTS - own[0].t_start
        moved = [replace(t, t_start=t.t_start + by, t_end=t.t_end + by, index=index + i) for i, t in enumerate(own)]
        index += len(own)
        shown.append((LabelInterval(k * LASTS, (k + 1) * LASTS, label), moved))
    return shown


def watcher(classes: list[int], **options: object) -> Session:
    network = build_network(
        NetworkConfig(layers=(8, "AP2", 16)), input_shape=(2, PIXELS, PIXELS), classes=len(classes), seed=0
    )
    learner = build_learner(network, config=LearnerConfig(lr=0.1, average=100), classes=classes, threads=None)
    rehearsal = RehearsalConfig(mode="alongside", ratio=4, stretch=5)
    return Session(learner, timeline=LabelTimeline(), rehearsal=rehearsal, late_labels=True, **options)


def show(session: Session, interval: LabelInterval, steps: list[Timestep], name: str | None = None) -> None:
    """Half of a presentation, then its label, then the rest; what is due is learned at once."""
    for i, timestep in enumerate(steps):
        if i == len(steps) // 2:
            session.labels.add(LabelInterval(interval.t_start, interval.t_end, -1 if name else interval.label, name))
        session.process(timestep)
        while session.learn_due():
            pass


def test_it_is_learned_from_its_first_seconds_and_the_others_are_kept() -> None:
    session = watcher(OLD, new_classes=True, class_names={0: "right"})
    labels = OLD * 5 + [NEW, *OLD] * 4
    for k, (interval, steps) in enumerate(stream(labels)):
        show(session, interval, steps, "expand" if interval.label == NEW else None)
        assert len(session.learner.classes) == 3 + (NEW in labels[: k + 1])
    session.finish()
    assert session.learner.classes == [*OLD, NEW]
    assert session.classes.names == {0: "right", NEW: "expand"} and session.classes.added == [NEW]
    hits, new = np.frombuffer(session.evaluator.hits, np.uint8), np.array(labels) == NEW
    assert not hits[15]  # nobody knew it
    assert hits[new][1:].sum() >= 2
    assert hits[6:15].mean() >= 0.7 and hits[16:][~new[16:]].mean() >= 0.75


# --- with a stream of two classes ----------------------------------------------------------------------------------

LABELS = intervals(12)
STEPS = timesteps(labelled_events(0, 12), LabelTimeline(LABELS))


def late(**options: object) -> Session:
    return small_session(LabelTimeline(), late_labels=True, **options)


def test_an_unknown_class_is_refused_unless_it_is_wanted() -> None:
    session = late(class_names={1: "left", 2: "right"})
    for t in STEPS[:20]:
        session.process(t)
    for label, name in ((7, None), (-1, "mug")):
        with pytest.raises(UsageError, match=name or "label 7"):
            session.labels.add(LabelInterval(0, 10 * WINDOW, label, name))
    assert session.labels.add(LabelInterval(0, 10 * WINDOW, -1, "right")) == 10
    assert session.labels.add(LabelInterval(10 * WINDOW, 20 * WINDOW, -1, "1")) == 10
    assert session.evaluator.presentations.margins()[0] == {2: 1, 1: 1}
    assert session.learner.classes == [1, 2] and session.snapshot().labels_refused == 2


def test_a_label_that_is_refused_adds_no_class() -> None:
    session = late(new_classes=True)
    for t in STEPS[:20]:
        session.process(t)
    session.labels.add(LabelInterval(0, 10 * WINDOW, 1))
    for interval in (
        LabelInterval(5 * WINDOW, 15 * WINDOW, 7),
        LabelInterval(10 * WINDOW, 15 * WINDOW, -1, "\x1b[2J"),
        LabelInterval(10 * WINDOW, 15 * WINDOW, -1, "x" * 65),
        LabelInterval(10 * WINDOW, 15 * WINDOW, 2**40),
    ):
        with pytest.raises(UsageError):
            session.labels.add(interval)
    assert session.learner.classes == [1, 2]


def test_what_waits_for_a_label_may_get_one_of_a_class_that_is_named_now() -> None:
    session = late(keep_bytes=1 << 20)
    for t in STEPS[:30]:
        session.process(t)
    session.labels.add(LabelInterval(0, 8 * WINDOW, 1))
    before = session.snapshot().waiting_bytes
    assert session.classes.add("mug") == 3
    assert session.snapshot().waiting_bytes == before + 22 * 8  # a probability each
    assert session.labels.now(3, 10 * WINDOW) == 10
    for t in STEPS[30:34]:
        session.process(t)
    assert session.labels.add(LabelInterval(8 * WINDOW, 12 * WINDOW, 2)) == 4
    assert session.evaluator.presentations.margins()[0] == {1: 1, 3: 1, 2: 1}
    while session.learn_due():
        pass
    assert session.counters.updates.deferred == 22
    session.finish()
    assert session.snapshot().waiting_bytes == 0


def test_a_class_that_was_named_is_drawn_at_once() -> None:
    session = late(rehearsal=RehearsalConfig(ratio=2, stretch=4))
    for name in "34567":
        session.classes.add(name)
    for k, label in enumerate((1, 3, 4, 5)):
        for t in STEPS[10 * k : 10 * k + 10]:
            session.process(t)
        session.labels.now(label, 10 * WINDOW)
        while session.memory.counts().get(label, 0) == 0:
            session.learn_due()
        for _ in range(3):
            session.learn_due()
        assert label in {run.label for run in session._due.alongside._runs if run is not None}, label


def test_weights_go_back_also_after_a_class_was_added() -> None:
    session = small_session(LabelTimeline(LABELS))
    for t in STEPS[:30]:
        session.process(t)
    session.classes.add("mug")
    kept = session.learner.network.parameters["readout.weight"][2].clone()
    for value in session.learner.network.parameters.values():
        value.fill_(float("nan"))
    session.learner.network.weights_changed()
    result = session.process(STEPS[30])
    assert session.counters.rollbacks == 1 and np.isfinite(result.prediction.logits).all()
    now = session.learner.network.parameters["readout.weight"][2]  # one update later
    assert float((now - kept).abs().max()) < 0.02


def test_no_more_classes_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_CLASSES == 1000
    monkeypatch.setattr("stream_ottt.learning.classes.MOST_CLASSES", 4)
    session = late()
    assert [session.classes.add(name) for name in ("mug", "17")] == [3, 17]
    for name, wrong in (("cube", "4 classes"), ("mug", "already"), ("17", "already"), (" ", "characters")):
        with pytest.raises(UsageError, match=wrong):
            session.classes.add(name)
    assert session.classes.names == {3: "mug"}
