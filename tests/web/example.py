"""A page with something in every panel, for tests of the page alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.web.curves import SCORES, Curves
from stream_ottt.web.message import Command, Wish, encode_part
from stream_ottt.web.slot import Slot

NAMES = {
    0: "circle",
    1: "<img src=x onerror=window.hacked=1>",
    2: "a class with a name that is very long indeed, as some are",
}
MORE = ("correct", "retract", "new_class", "checkpoint")
COMMANDS = ("pause", "resume", "label", "reset", "save")


class Example:
    """Shows ``step`` as the number of timesteps; every part changes with it."""

    def __init__(self, names: Mapping[int, str] = NAMES) -> None:
        self.names = names
        self.step = 1
        self.learning = "on"
        self.held = False
        self.seen_before = False
        self.ended: str | None = None
        self.commands: list[Command] = []
        self.warnings: list[str] = []
        rng = np.random.default_rng(0)
        self._frames = (rng.random((8, 2, 32, 32)) < 0.1).astype(np.uint8) * 3
        self._curves = Curves()
        for i in range(1, 200):
            self._curves.sample(i / 4, dict.fromkeys(SCORES, None if i < 9 else 1 - 1 / i))
            self._curves.label(i / 4, i // 10 % 3 if i % 10 else None)

        def slot(encode: Any) -> Slot:
            return Slot(self._now, lambda _: encode(), 0.0)

        self._slots = [slot(self._facts), slot(self._frame), slot(self._status), slot(self._course)]
        self._inside = [slot(self._probe), slot(self._weights)]
        self._memory = slot(self._remembered)
        self._wish = Wish(kind="wish")
        self._state: tuple[object, ...] = ()

    def slots(self, wish: Wish) -> list[Slot]:
        self._wish = wish
        wanted = [*self._slots, *(self._inside if wish.inside else [])]
        return [*wanted, self._memory] if wish.memory else wanted

    async def carry_out(self, command: Command) -> dict[str, Any]:
        self.commands.append(command)
        if command.name == "save":
            raise UsageError("no file to save the model in")
        if command.name in ("pause", "resume"):
            self.learning = "paused" if command.name == "pause" else "on"
        return {}

    def _now(self) -> tuple[object, ...]:
        """The same object while nothing has changed."""
        now = (self.step, self.learning, self.held, self.ended)
        if self._state != now:
            self._state = now
        return self._state

    def _facts(self) -> bytes:
        fields = {
            "source": "<b>source</b>",
            "network": "16-AP2-32",
            "parameters": 4711,
            "sensor": [128, 128],
            "classes": list(self.names),
            "names": self.names,
            "seen_before": self.seen_before,
            "commands": {name: name in COMMANDS for name in (*COMMANDS, *MORE)},
        }
        return encode_part("facts", fields)

    def _frame(self) -> bytes:
        fields = {"step": self.step, "t_start": 0, "t_end": 20_000, "events": 99, "label": 0, "truth": 1}
        arrays = {
            "frame": self._frames[self.step % 8],
            "probabilities": np.geomspace(0.7, 0.1, len(self.names), dtype=np.float32),
        }
        return encode_part("frame", {**fields, "scored": True, "latency_ms": 1.5}, arrays)

    def _status(self) -> bytes:
        fields = {
            "ended": self.ended,
            "held": self.held,
            "learning": self.learning,
            "speed": 1.0,
            "events_per_s": 5e4,
            "stream_s": self.step / 50,
            "timesteps": self.step,
            "accuracy": dict.fromkeys((*SCORES, "second_half", "kappa_t"), 0.5),
            "presentations": 20,
            "per_class": [{"label": k, "support": 5, "recall": 0.4, "precision": None} for k in NAMES],
            "confusion": [[a, b, 1 + a] for a, b in itertools.product(NAMES, NAMES)],
            "events": {"read": 9, "binned": 4, "late": 1, "malformed": 1, "dropped": {"overflow": 2}, "in_hand": 1},
            "in_hand": {"queue": 0, "window": 1, "timesteps": 0},
            "latency": {"n": 9, "p50_ms": 1.5, "p99_ms": 8.0},
            "updates": {"live": 1, "deferred": 2, "rehearsed": 3},
            "due": 0,
            "waiting": 0,
            "timesteps_not_kept": 0,
            "labels": {"taken": 1, "refused": 0},
            "step_ms": {"n": 9, "p50_ms": 1.0, "p99_ms": 2.0},
            "warnings": self.warnings,
        }
        return encode_part("status", fields, {"latency": np.arange(46, dtype=np.int32)})

    def _course(self) -> bytes:
        return encode_part("curves", {}, self._curves.arrays())

    def _probe(self) -> bytes:
        layers = [{"name": name, "neurons": 512, "rate": 0.1} for name in ("conv1", "conv2")]
        fields = {
            "layer": self._wish.layer or "conv1",
            "neuron": self._wish.neuron or 0,
            "neurons": 512,
            "threshold": 1.0,
        }
        arrays = {
            "steps": np.array([self.step], np.int32),
            "spikes": np.ones((1, 16), np.uint8),
            "rows": np.arange(16, dtype=np.int32),
            "u": np.ones(1, np.float32),
            "trace": np.zeros(1, np.float32),
        }
        return encode_part("inside", {**fields, "layers": layers}, arrays)

    def _weights(self) -> bytes:
        weights = np.linspace(-1, 1, 16 * 2 * 9, dtype=np.float32).reshape(16, 2, 3, 3)
        return encode_part("weights", {"filters": 16}, {"weights": weights})

    def _remembered(self) -> bytes:
        arrays = {"thumbnails": self._frames[:3], "of": np.arange(3, dtype=np.int32)}
        return encode_part("memory", {"stretches": dict.fromkeys(NAMES, 1), "bytes": 6144}, arrays)
