"""What can be built only once the stream has begun: labels, network, learner, session and binners."""

from __future__ import annotations

from stream_ottt.errors import UsageError
from stream_ottt.events.binning import Binner
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.session import Session
from stream_ottt.network.topologies import NetworkConfig, build_network
from stream_ottt.pipeline.pipeline import BeginPass
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.source_reader import Labels
from stream_ottt.run.config import RunConfig
from stream_ottt.run.model_file import Checkpoint

UNLABELLED_CLASSES = 10
"""Read-out size of a network on a stream without labels, whose predictions mean nothing yet."""


class Assembly:
    """Builds the parts of a run that need the sensor's size or the source's own labels.

    Args:
        config: the run's settings.
        source: where events come from.
        progress: the run's counters; what is now known of the network is noted there.
        checkpoint: the model to start from, or None.
        learn: False only predicts and scores.
        takes_labels: whether labels may come while the run runs.

    Attributes:
        timeline: the stream's labels, or None while there are none.
        learner: the learner, once it was built.

    Raises:
        StreamOtttError: a label file that cannot be used.
    """

    def __init__(
        self,
        config: RunConfig,
        source: Source,
        progress: Progress,
        *,
        checkpoint: Checkpoint | None,
        learn: bool,
        takes_labels: bool,
    ) -> None:
        self.config = config
        self.source = source
        self.progress = progress
        self.checkpoint = checkpoint
        self.learn = learn
        self.takes_labels = takes_labels
        self.timeline: LabelTimeline | None = None
        self.label_names: dict[int, str] = {}
        self.learner: OnlineLearner | None = None
        labels = config.labels
        if labels.file is not None:
            found = read_label_csv(labels.file, self._expected_classes(), self._known_names)
            self.label_names = found.names
            self.timeline = LabelTimeline(found.intervals, delay=labels.delay, name=labels.file)

    def prepare(self, width: int, height: int, labels: Labels | None) -> tuple[Session, BeginPass]:
        """Build network, learner and session, and what makes each pass's binner; in the learner's thread.

        Args:
            width: sensor width, pixels.
            height: sensor height, pixels.
            labels: the source's own, or None.

        Raises:
            StreamOtttError: settings, a model or labels that do not fit each other.
        """
        c = self.config
        labels_of_source = self.timeline is None and labels is not None
        if labels_of_source:
            self.timeline = self._own_timeline(labels)
        if self.timeline is None and self.takes_labels:
            self.timeline = LabelTimeline(name="labels")  # known when they come
        classes = self._expected_classes()
        if classes is None:
            classes = self.timeline.classes() if self.timeline else list(range(UNLABELLED_CLASSES))
        self._check_labels(classes)
        network = build_network(
            c.network,
            input_shape=c.binning.frame_shape(width, height),
            classes=len(classes),
            seed=c.stream.seed,
        )
        self.learner = build_learner(network, config=c.learner, classes=classes, engine=c.engine, threads=None)
        if self.checkpoint is not None:
            self.checkpoint.restore(self.learner)
        progress = self.progress
        progress.class_names = self._known_names or self.label_names
        progress.labels = tuple(classes)
        progress.network = describe_network(c.network)
        progress.parameters = network.size
        progress.learning = self._learning()
        session = Session(
            self.learner,
            timeline=self.timeline,
            evaluator=progress.evaluation,
            rehearsal=c.rehearsal,
            keep_bytes=c.labels.keep_bytes,
            learn=self.learn,
            late_labels=self.takes_labels,
            seed=c.stream.seed,
        )

        def begin_pass(first_index: int, labels: Labels | None) -> tuple[Binner, LabelTimeline | None]:
            if labels_of_source:
                self.timeline = self._own_timeline(labels)
            boundaries = self.timeline.boundaries() if self.timeline is not None and c.labels.reset else []
            ledger = progress.ledger
            binner = Binner(c.binning, width, height, ledger, boundaries=boundaries, first_index=first_index)
            return binner, self.timeline if labels_of_source else None

        return session, begin_pass

    @property
    def _known_names(self) -> dict[int, str]:
        return self.source.class_names or (self.checkpoint.class_names if self.checkpoint else {})

    def _expected_classes(self) -> list[int] | None:
        """The labels that may occur, where something says so."""
        if self.config.labels.classes is not None:
            return list(self.config.labels.classes)
        return None if self.checkpoint is None else self.checkpoint.classes

    def _own_timeline(self, labels: Labels | None) -> LabelTimeline:
        return LabelTimeline(labels or (), delay=self.config.labels.delay, name=self.progress.source)

    def _check_labels(self, classes: list[int]) -> None:
        unknown = sorted(set(self.timeline.classes() if self.timeline else ()) - set(classes))
        if unknown:
            raise UsageError(
                f"{self.timeline.name if self.timeline else 'labels'}: class {unknown[0]} is not among "
                f"{classes}; name all with labels.classes, or use another model"
            )

    def _learning(self) -> str:
        if not self.learn:
            return "off (--no-learn)"
        if self.takes_labels and not len(self.timeline or ()) and not self.progress.live_labels:
            return "nothing was learned: no label has come with the stream"
        if self.timeline is None:
            return (
                "nothing was learned: no label was given; give some with --labels FILE.csv "
                "(class,startTime_usec,endTime_usec)"
            )
        return "on"


def describe_network(config: NetworkConfig) -> str:
    """A topology in a few words, such as ``16-32-AP2-64``."""
    return "-".join(map(str, config.layers)) if config.topology == "layers" else str(config.topology)
