"""What a person does to a run by keys: the same in the terminal and in the window."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stream_ottt.sinks.class_choice import classes_like, in_words
from stream_ottt.sinks.drawing import class_name

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView

ENTER, ESCAPE, ERASE = "\r\n", "\x1b", "\b\x7f"
LONGEST_NAME = 64
"""Characters of a new class's name."""

NO_LABELS = "this run takes no labels while it runs"


@dataclass(frozen=True, slots=True)
class Key:
    """What a key does.

    Attributes:
        key: the key.
        does: that in a word or two.
        control: which of the run's controls it needs.
        done: what is said when it is done; ``{}`` holds what the control gave.
        missing: why a run may not have it.
    """

    key: str
    does: str
    control: str
    done: str
    missing: str


KEYS = (
    Key("l", "label by name", "label_now", "", NO_LABELS),
    Key("n", "new class", "add_class", "new class", "this run adds no classes"),
    Key("c", "correct", "correct", "", NO_LABELS),
    Key("b", "take back", "retract", "taken back: {}", NO_LABELS),
    Key("p", "pause", "toggle", "learning: {}", "this run cannot pause"),
    Key("s", "save", "save", "saved: {}", "started without --save FILE"),
    Key("k", "checkpoint", "checkpoint", "checkpoint: {}", "started without --checkpoint FOLDER"),
    Key("q", "quit", "stop", "ending …", "this run cannot be ended from here"),
)
"""Keys beside the digits, each of which gives its label to what is shown. Labels above 9 are given by their names."""


class Keys:
    """Takes keys, and says what became of them. All is done in other threads; nothing is waited for.

    Args:
        run: the run.

    Attributes:
        said: the latest answer, and whether it is a failure.
        changed: called when there is something else to show; from any thread.
    """

    def __init__(self, run: RunView, changed: Callable[[], None] = lambda: None) -> None:
        self.said: tuple[str, bool] = ("", False)
        self.changed = changed
        self._run = run
        self._typed: str | None = None  # a name, as far as it was typed
        self._naming = False  # a new class, not choosing one
        self._correcting = False

    @property
    def prompt(self) -> str | None:
        """What is being asked of the person, or None."""
        if self._typed is None:
            return f"which class was it? ({self._ways()}; Esc leaves)" if self._correcting else None
        if self._naming:
            return f"name of the new class: {self._typed}▏ (Enter adds it, Esc leaves)"
        found = in_words(self._typed, self._meant(), self._run.facts.class_names)
        asked = "which class was it" if self._correcting else "label"
        return f"{asked}: {self._typed}▏ " + (f"= {found} " if found else "") + "(name or number, Enter; Esc leaves)"

    def _ways(self) -> str:
        return "a digit, or l and its name" if self._beyond_digits() else "a digit"

    def _beyond_digits(self) -> bool:
        return any(not 0 <= label <= 9 for label in self._run.facts.classes)

    def _meant(self) -> list[int]:
        facts = self._run.facts
        return classes_like(self._typed or "", facts.classes, facts.class_names)

    def digits(self) -> list[tuple[str, str]]:
        """Each digit that gives a label, and the class's name."""
        if self._run.controls.label_now is None:
            return []
        facts = self._run.facts
        return [(str(label), class_name(facts.class_names, label)) for label in facts.classes if 0 <= label <= 9]

    def others(self) -> list[tuple[str, str]]:
        """Each other key that does something in this run, and what."""
        controls, session = self._run.controls, self._run.snapshot().session
        paused = session is not None and session.learning == "paused"
        return [
            (key.key, "resume" if key.key == "p" and paused else key.does)
            for key in KEYS
            if getattr(controls, key.control) is not None and (key.key != "l" or self._beyond_digits())
        ]

    def press(self, character: str) -> None:
        """Take one key."""
        if self._typed is not None:
            self._type(character)
        elif character in ESCAPE:
            self._correcting = False
        elif character.isascii() and character.isdigit():
            self._choose(int(character))
        elif (key := next((key for key in KEYS if key.key == character), None)) is not None:
            self._correcting = self._correcting and key.key == "l"
            self._act(key)
        self.changed()

    def _type(self, character: str) -> None:
        assert self._typed is not None
        if character in ENTER:
            self._enter()
        elif character in ESCAPE:
            self._typed, self._correcting = None, False
        elif character in ERASE:
            self._typed = self._typed[:-1]
        elif character.isprintable() and len(self._typed) < LONGEST_NAME:
            self._typed += character

    def _enter(self) -> None:
        assert self._typed is not None
        name = self._typed.strip()
        if not name:
            self._typed, self._correcting = None, False
        elif self._naming:
            self._typed = None
            self._do(self._run.controls.add_class, (name,), lambda label: f"new class {name}: label {label}")
        elif len(found := self._meant()) == 1:  # else the prompt says that none or several are meant
            self._typed = None
            self._choose(found[0])

    def _choose(self, label: int) -> None:
        controls, name = self._run.controls, class_name(self._run.facts.class_names, label)
        if controls.label_now is None or (self._correcting and controls.correct is None):
            self._say(f"{label}: {NO_LABELS}", failed=True)
        elif self._correcting:
            self._correcting = False
            self._do(controls.correct, (label, None), lambda span: f"corrected to {name}, {_span(*span)}")
        else:
            self._do(controls.label_now, (label,), lambda steps: f"label {name}: {steps} timesteps had waited for it")

    def _act(self, key: Key) -> None:
        control = getattr(self._run.controls, key.control)
        if control is None:
            self._say(f"{key.key} ({key.does}): {key.missing}", failed=True)
        elif key.key in "nl":
            self._typed, self._naming = "", key.key == "n"
        elif key.key == "c":
            self._correcting = True
        elif key.key == "b":
            self._do(control, (None,), lambda span: key.done.format(_span(*span)))
        else:
            self._do(control, (), key.done.format)

    def _do(self, control: Callable[..., Future[Any]] | None, words: tuple[Any, ...], done: Callable[..., str]) -> None:
        assert control is not None
        self._say("…")
        control(*words).add_done_callback(partial(self._answer, done))

    def _answer(self, done: Callable[..., str], future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._say(done(future.result()))
        else:
            self._say(str(error) or type(error).__name__, failed=True)
        self.changed()

    def _say(self, text: str, *, failed: bool = False) -> None:
        self.said = (text, failed)


def _span(start: int, end: int) -> str:
    return f"{start / 1e6:.2f} to {end / 1e6:.2f} s"
