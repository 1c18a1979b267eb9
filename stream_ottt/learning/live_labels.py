"""Labels that come while the stream runs, and labels that are corrected or taken back."""

from __future__ import annotations

from dataclasses import replace

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
        new_classes: True adds the class of a label, where it is unknown; False refuses that label.
    """

    def __init__(
        self,
        classes: Classes,
        presentations: Presentations,
        counters: SessionCounters,
        *,
        new_classes: bool,
    ) -> None:
        self._classes = classes
        self._presentations = presentations
        self._counters = counters
        self._new_classes = new_classes

    def add(self, interval: LabelInterval) -> int:
        """Take a label that comes with the stream, late or early.

        Of several sources, the one that said something first has the word: of what another one says of the same time
        the rest is taken, and what is another class there is counted as contradicted.

        Returns:
            How many timesteps had waited for it.

        Raises:
            UsageError: it overlaps another interval, holds no time, its class is unknown, or too many lie ahead.
        """
        counters = self._counters
        try:
            if not interval.source:
                self._presentations.check_label(interval)
            interval = replace(interval, label=self._label_of(interval), name=None)
            parts, contradicted = self._presentations.left_by_others(interval)
            waited = sum(self._presentations.take_label(part) for part in parts)
        except UsageError as e:
            counters.refuse(str(e), interval.source)
            raise
        counters.take(interval, contradicted=contradicted)
        return waited

    def _label_of(self, interval: LabelInterval) -> int:
        """The label that an interval names, which adds a class where that is wanted."""
        name = interval.name
        asked = name if name is not None and interval.label < 0 else interval.label
        known = asked in self._classes.labels if isinstance(asked, int) else self._classes.find(asked) is not None
        adds = self._new_classes and not known
        label = self._classes.add(str(asked)) if adds else self._classes.expect(asked)
        if name is not None:
            self._classes.hear_name(label, name)
        return label

    def now(self, label: int, span: int) -> int:
        """Take a label for the last ``span`` µs, or as much of it as has no label yet; as :meth:`add`.

        Raises:
            UsageError: as :meth:`add`; all of it has a label.
        """
        now, timeline = self._presentations.now, self._presentations.timeline
        start = max(now - span, 0)
        if timeline is not None:
            start = min(timeline.unlabelled_since(start, now), now)
        if start == now:
            reason = "what was shown last has a label already; `correct` puts another in its place"
            self._counters.refuse(reason)
            raise UsageError(reason)
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

    def retract(self, at: int | None = None) -> LabelInterval:
        """Take a wrong label back: nothing of it is remembered, due or scored any more.

        What was learned of it stays learned: the weights are not rolled back. Error signals that are on their way are
        discarded. :meth:`correct` puts the right label in its place instead.

        Args:
            at: a time within what was labelled, µs; None for the latest label.

        Returns:
            The label that was taken back.

        Raises:
            UsageError: no such label among the latest ones.
        """
        wrong = self._presentations.retract(at)
        self._counters.labels_retracted += 1
        return wrong
