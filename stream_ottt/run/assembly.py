"""What can be built only once the stream has begun: labels, network, learner and session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Protocol

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Timestep
from stream_ottt.filters.chain import open_filters
from stream_ottt.labels.alignment import misfit, shift_of
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.session import Session
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network
from stream_ottt.pipeline.handed import Pass
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.source_reader import Labels
from stream_ottt.pipeline.view import RunFacts
from stream_ottt.run.config import RunConfig

UNLABELLED_CLASSES = 10
"""Read-out size of a network on a stream without labels, whose predictions mean nothing yet."""

WARM_UP = 10
"""Most timesteps of a longer error delay that warming up goes through."""


class StartingPoint(Protocol):
    """What a learner begins with that has learned before."""

    @property
    def classes(self) -> list[int]:
        """The label at each position of the logits."""

    @property
    def class_names(self) -> dict[int, str]:
        """Label → name."""

    @property
    def steps_before(self) -> int:
        """Optimizer steps made before the run began."""

    def restore(self, learner: OnlineLearner) -> None:
        """Put what was learned into ``learner``. Raises ModelError where it does not fit."""


class Assembly:
    """Builds the parts of a run that need the sensor's size or the source's own labels.

    Args:
        config: the run's settings.
        facts: what is known of the run before.
        source: where events come from.
        checkpoint: the model or the run to go on from, or None.
        learn: False only predicts and scores.
        takes_labels: whether labels may come while the run runs.
        say: told in one line what a user should know at the start.

    Attributes:
        learner: the learner, once it was built.

    Raises:
        StreamOtttError: a label file that cannot be used.
    """

    def __init__(
        self,
        config: RunConfig,
        facts: RunFacts,
        source: Source,
        *,
        checkpoint: StartingPoint | None,
        learn: bool,
        takes_labels: bool,
        say: Callable[[str], None],
    ) -> None:
        self.say = say
        self.config = config
        self.facts = facts
        self.source = source
        self.checkpoint = checkpoint
        self.learn = learn
        self.takes_labels = takes_labels
        self.learner: OnlineLearner | None = None
        self._timeline: LabelTimeline | None = None  # of all passes; None: the source's own, or none
        self._of_file: LabelTimeline | None = None  # before the stream has begun
        self._label_names: dict[int, str] = {}
        self._to_warm_up = False
        labels = config.labels
        if labels.file is not None:
            found = read_label_csv(labels.file, self._expected_classes(), self._known_names())
            self._label_names = found.names
            self._of_file = LabelTimeline(found.intervals, delay=labels.delay, name=labels.file)

    def prepare(self) -> None:
        """Before the stream begins: have the kernels loaded and the processor warm, so that no timestep waits for them.

        For a run at a pace, in the learner's thread. Where the size of the frames is not known yet, :meth:`build` does
        it, after the first packet.
        """
        binning, source = self.config.binning, self.source.config
        width, height = getattr(source, "width", None), getattr(source, "height", None)
        if width and height:
            chain = open_filters(binning.filters, width, height)
            self._warm_up(binning.frame_shape(chain.width, chain.height))
        elif binning.width != "sensor" and binning.height != "sensor":
            self._warm_up(binning.frame_shape(1, 1))
        else:
            self._to_warm_up = True

    def begin_pass(self, labels: Labels | None, first: int) -> Pass:
        """The labels of a pass: those of a file, else the source's own, else those that will come with the stream.

        Args:
            labels: the source's own.
            first: time of the first event, µs.
        """
        if self._timeline is None and self._of_file is not None:
            self._timeline = self._placed(self._of_file, first)
        timeline = self._timeline
        if timeline is None and labels is not None:
            timeline = LabelTimeline(labels, delay=self.config.labels.delay, name=self.facts.source)
        elif timeline is None and self.takes_labels:
            timeline = self._timeline = LabelTimeline(name="labels")  # known when they come
        boundaries = timeline.boundaries() if timeline is not None and self.config.labels.reset else ()
        return Pass(timeline, tuple(boundaries))

    def build(self, width: int, height: int, begins: Pass) -> tuple[Session, RunFacts]:
        """Network, learner and session for filtered events of ``width`` × ``height`` pixels; in the learner's thread.

        Raises:
            StreamOtttError: settings, a model or labels that do not fit each other.
        """
        c = self.config
        timeline = begins.timeline
        classes = self._expected_classes()
        if classes is None:
            classes = timeline.classes() if timeline else self.source.coming_classes or list(range(UNLABELLED_CLASSES))
        _check_labels(timeline, classes)
        shape = c.binning.frame_shape(width, height)
        if self._to_warm_up:
            self._warm_up(shape)
        network = build_network(
            c.network,
            input_shape=shape,
            classes=len(classes),
            seed=c.stream.seed,
        )
        rule = self._with_schedule(timeline)
        learner = build_learner(network, config=rule, classes=classes, engine=c.engine, threads=None)
        if self.checkpoint is not None:
            self.checkpoint.restore(learner)
        names = self._known_names() or self._label_names
        session = Session(
            learner,
            timeline=timeline,
            evaluator=Evaluator(c.evaluation),
            rehearsal=c.rehearsal,
            keep_bytes=c.labels.keep_bytes,
            learn=self.learn,
            late_labels=self.takes_labels,
            class_names=names,
            new_classes=c.labels.new_classes,
            unknown=c.labels.unknown,
            seed=c.stream.seed,
        )
        self.learner = learner
        facts = replace(
            self.facts,
            network=describe_network(c.network),
            parameters=network.size,
            classes=tuple(classes),
            class_names=names,
        )
        return session, facts

    def _warm_up(self, shape: tuple[int, int, int]) -> None:
        """Learn a few timesteps [planes, height, width] with a learner that is thrown away."""
        c = self.config
        classes = self._expected_classes() or list(range(UNLABELLED_CLASSES))
        network = build_network(c.network, input_shape=shape, classes=len(classes), seed=c.stream.seed)
        # In one thread: another one would outlive the learner.
        engine = c.engine.model_copy(update={"overlap": False, "compiled": False})
        rule = c.learner.with_known_end()
        learner = build_learner(network, config=rule, classes=classes, engine=engine, threads=None)
        frame = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
        for i in range(min(c.learner.error_delay, WARM_UP) + 1):
            learner.step(Timestep(frame, i, i + 1, i, int(frame.sum())), learn=self.learn)
            if self.learn:
                learner.feedback(i, classes[0])

    def _with_schedule(self, timeline: LabelTimeline | None) -> LearnerConfig:
        """The settings of the learner; a cosine without an end gets the end of what the labels let it learn."""
        c = self.config
        if c.learner.schedule != "cosine" or c.learner.schedule_steps or not self.learn:
            return c.learner.with_known_end()
        if not timeline or c.binning.count is not None:
            self.say("learner.schedule: the length of what is learned is not known, so that the rate stays constant")
            return c.learner.with_known_end()
        together = c.learner.time_steps if c.learner.rule == "ottt_a" else 1
        own = sum(ceil(ceil((i.t_end - i.t_start) / c.binning.window) / together) for i in timeline)
        again = c.rehearsal.ratio if c.rehearsal.mode in ("alongside", "ratio") else 0
        before = self.checkpoint.steps_before if self.checkpoint else 0
        steps = before + round(own * c.stream.passes * (1 + again))
        return c.learner.model_copy(update={"schedule_steps": steps})

    def _placed(self, timeline: LabelTimeline, first: int) -> LabelTimeline:
        """The labels of a file, shifted as ``labels.shift`` says; where none can meet the stream, that is said."""
        if timeline.span is None:
            return timeline
        placed = timeline.shifted(shift_of(self.config.labels.shift, timeline.span, first, name=timeline.name))
        if line := misfit(placed.span, (first, None), name=timeline.name):
            self.say(line)
        return placed

    def _known_names(self) -> dict[int, str]:
        """Those of the source, and of classes that were added when it was learned before."""
        return {**(self.checkpoint.class_names if self.checkpoint else {}), **self.source.class_names}

    def _expected_classes(self) -> list[int] | None:
        """The labels that may occur, where the settings or what was learned before say so."""
        if self.config.labels.classes is not None:
            return list(self.config.labels.classes)
        return None if self.checkpoint is None else self.checkpoint.classes


def _check_labels(timeline: LabelTimeline | None, classes: list[int]) -> None:
    unknown = sorted(set(timeline.classes() if timeline else ()) - set(classes))
    if unknown:
        raise UsageError(
            f"{timeline.name if timeline else 'labels'}: class {unknown[0]} is not among "
            f"{classes}; name all with labels.classes, or use another model"
        )


def describe_network(config: NetworkConfig) -> str:
    """A topology in a few words, such as ``16-32-AP2-64``."""
    return "-".join(map(str, config.layers)) if config.topology == "layers" else str(config.topology)
