"""The classes that a session's learner tells apart: their labels, their names, and the way to one more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LONGEST_NAME
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.registry import near_miss
from stream_ottt.state import State, take

MOST_CLASSES = 1000
"""Most classes to which a network grows while it runs: each makes all its steps a little slower."""


class Classes:
    """Finds classes by number or name.

    Args:
        learner: whose classes they are.
        names: label → name, as far as known.
        make_room: told of the label of each class that the learner has just been given.

    Attributes:
        names: the same, with those of classes that were added.
        added: labels that were added, in their order.
        on_change: called after they have changed, in the learner's thread.
    """

    def __init__(self, learner: OnlineLearner, names: Mapping[int, str], make_room: Callable[[int], None]) -> None:
        self._learner = learner
        self._make_room = make_room
        self.names = dict(names)
        self.added: list[int] = []
        self.on_change: Callable[[], None] = lambda: None

    @property
    def labels(self) -> list[int]:
        """The label at each position of the logits."""
        return self._learner.classes

    def find(self, name: str) -> int | None:
        """The label of a class by its name, or by its number as text; None where there is none."""
        named = next((label for label, other in self.names.items() if other == name and label in self.labels), None)
        if named is None and name.isdecimal() and int(name) in self.labels:
            return int(name)
        return named

    def expect(self, label: int | str) -> int:
        """The label of a class that must be there.

        Raises:
            UsageError: it is not.
        """
        if isinstance(label, int):
            if label in self.labels:
                return label
            raise UsageError(f"label {label} is not among the network's classes {self.labels}")
        found = self.find(label)
        if found is None:
            known = {self.names.get(i, str(i)) for i in self.labels}
            raise UsageError(f"there is no class {label!r}{near_miss(label, known)}; add it with add_class")
        return found

    def add(self, name: str) -> int:
        """Have the learner tell one class more apart from now on.

        Args:
            name: a name of the class, which gets the next free number, or its number as text.

        Returns:
            Its label.

        Raises:
            UsageError: there is such a class, there are too many, or the name cannot be shown.
        """
        name = name.strip()
        if not name or not name.isprintable() or len(name) > LONGEST_NAME:
            raise UsageError(f"a class's name has 1 to {LONGEST_NAME} characters that can be printed")
        if self.find(name) is not None:
            raise UsageError(f"there is a class {name!r} already")
        if len(self.labels) >= MOST_CLASSES:
            raise UsageError(f"there are {len(self.labels)} classes; a network grows to {MOST_CLASSES} at most")
        label = self._number(name)
        self._learner.add_class(label)
        self._make_room(label)
        self.added.append(label)
        self.on_change()
        return label

    def hear_name(self, label: int, name: str) -> None:
        """Note the name of a class that has none; a name that another class has is none of this one."""
        if label not in self.names and name not in self.names.values():
            self.names[label] = name
            self.on_change()

    def _number(self, name: str) -> int:
        """The label of a new class; where it has a name, that is noted."""
        if name.isdecimal():
            if int(name) >= 2**31:
                raise UsageError(f"class {name} is too large a number; expected one below 2147483648")
            return int(name)
        known = next((label for label, other in self.names.items() if other == name), None)  # by the source
        label = max((*self.labels, *self.names)) + 1 if known is None else known
        self.names[label] = name
        return label

    def state_dict(self) -> State:
        """The names, and what was added; the labels are the learner's."""
        return {"names": sorted(self.names.items()), "added": list(self.added)}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.names = dict(take(state, "names"))
        self.added = list(take(state, "added"))
        self.on_change()
