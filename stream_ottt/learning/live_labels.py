"""Labels and classes that come while the stream runs, and labels that are taken back."""

from __future__ import annotations

from collections.abc import Callable

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.classes import Classes
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.presentations import Presentations


class LiveLabels:
    """Takes what a person or a feed says of the stream.

    Args:
        classes: what is told apart.
        presentations: whose labels they are.
        counters: where they are counted.
        added: called with the label of a class that was added.
        new_classes: True adds the class of a label, where it is unknown; False refuses that label.
    """

    def __init__(
        self,
        classes: Classes,
        presentations: Presentations,
        counters: SessionCounters,
        added: Callable[[int], None],
        *,
        new_classes: bool,
    ) -> None:
        self._classes = classes
        self._presentations = presentations
        self._counters = counters
        self._added = added
        self._new_classes = new_classes

    def add_class(self, name: str) -> int:
        """Tell one class more apart from now on.

        Args:
            name: its name, or its number as text.

        Returns:
            Its label.

        Raises:
            UsageError: there is such a class, there are too many, or the name cannot be shown.
        """
        label = self._classes.add(name)
        self._added(label)
        return label

    def add(self, interval: LabelInterval) -> int:
        """Take a label that comes with the stream, late or early.

        Returns:
            How many timesteps had waited for it.

        Raises:
            UsageError: it overlaps another interval, holds no time, its class is unknown, or too many lie ahead.
        """
        try:
            self._presentations.check_label(interval)
            interval = LabelInterval(interval.t_start, interval.t_end, self._label_of(interval))
            waited = self._presentations.take_label(interval)
        except UsageError as e:
            self._counters.refuse(str(e))
            raise
        self._counters.labels_taken += 1
        return waited

    def _label_of(self, interval: LabelInterval) -> int:
        """The label that an interval names, which adds a class where that is wanted."""
        asked = interval.label if interval.name is None else interval.name
        known = asked in self._classes.labels if isinstance(asked, int) else self._classes.find(asked) is not None
        if self._new_classes and not known:
            return self.add_class(str(asked))
        return self._classes.expect(asked)

    def now(self, label: int, span: int) -> int:
        """Take a label for the last ``span`` µs, or as much of it as has no label yet; as :meth:`add`."""
        now, timeline = self._presentations.now, self._presentations.timeline
        start = max(now - span, 0)
        if timeline is not None:
            start = min(timeline.unlabelled_since(start, now), now)
        return self.add(LabelInterval(start, now, label))

    def correct(self, name: int | str, at: int | None = None) -> LabelInterval:
        """Take a wrong label back and put the right one in its place, also in memory; it is learned once more.

        The weights are not rolled back.

        Args:
            name: the right class, by label, or by name or number as text.
            at: a time within what was labelled, µs; None for the latest label.

        Returns:
            The wrong label.

        Raises:
            UsageError: no such class, or no such label among the latest ones.
        """
        wrong = self._presentations.correct(self._classes.expect(name), at)
        self._counters.labels_corrected += 1
        return wrong
