"""What browsers are sent of a run, from the run's own values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import StepResult
from stream_ottt.learning.snapshot import Durations
from stream_ottt.pipeline.view import RunFacts, RunSnapshot
from stream_ottt.web.message import Arrays, encode_part

LONGEST_SIDE = 192
"""Pixels of the longer side of a frame as it is sent; larger ones are put together block by block."""

THUMBNAIL_SIDE = 48
"""The same for pictures of the rehearsal memory."""


def facts_part(facts: RunFacts, commands: Mapping[str, bool]) -> bytes:
    """What is fixed of a run, and which commands it takes."""
    fields = {
        "source": facts.source,
        "network": facts.network,
        "parameters": facts.parameters,
        "sensor": facts.sensor,
        "classes": facts.classes,
        "names": facts.class_names,
        "seen_before": facts.seen_before,
        "commands": commands,
    }
    return encode_part("facts", fields)


@dataclass(frozen=True, slots=True)
class Status:
    """A run at one moment, with what only its end or two moments tell.

    Attributes:
        snapshot: the run.
        speed: seconds of stream per second, over the last seconds.
        events_per_s: events per second of stream, over the last seconds.
        ended: how the run ended, or None.
    """

    snapshot: RunSnapshot
    speed: float
    events_per_s: float
    ended: str | None


def status_part(status: Status) -> bytes:
    """Counters, scores and times. Array: ``latency`` int32, how many predictions took how long, five buckets a decade
    from 1 µs up."""
    snapshot, session = status.snapshot, status.snapshot.session
    ledger = snapshot.ledger
    fields: dict[str, Any] = {
        "ended": status.ended,
        "held": snapshot.held,
        "played_at": snapshot.speed or 0,
        "speed": status.speed if snapshot.session is not None else None,
        "events_per_s": status.events_per_s,
        "events": {
            "read": ledger.read,
            "binned": ledger.binned,
            "late": ledger.late,
            "malformed": ledger.malformed,
            "dropped": ledger.dropped,
            "in_hand": ledger.read - ledger.accounted,
        },
        "in_hand": snapshot.waiting,
        "latency": durations(snapshot.latency),
        "sinks": {
            name: {"failure": sink.failure, "missed": sink.missed}
            for name, sink in snapshot.sinks.items()
            if sink.missed
        },
    }
    if session is not None:
        fields |= {
            "learning": session.learning,
            "stream_s": session.stream_us / 1e6,
            "timesteps": session.timesteps,
            "accuracy": session.accuracy,
            "presentations": session.presentations,
            "per_class": session.per_class,
            "confusion": session.confusion,
            "updates": session.updates,
            "due": session.due,
            "waiting": session.waiting,
            "timesteps_not_kept": session.timesteps_not_kept,
            "labels": {
                "taken": session.labels_taken,
                "refused": session.labels_refused + snapshot.labels_refused,
                "corrected": session.labels_corrected,
                "retracted": session.labels_retracted,
            },
            "label_refusal": session.label_refusal,
            "step_ms": durations(session.step_ms),
            "warnings": session.warnings,
        }
    return encode_part("status", fields, {"latency": np.array(snapshot.latency.counts, np.int32)})


def durations(of: Durations) -> dict[str, float]:
    """How often, and two quantiles in ms."""
    return {"n": of.n, "p50_ms": of.p50_ms, "p99_ms": of.p99_ms}


def frame_part(result: StepResult) -> bytes:
    """A timestep's frame and the prediction on it.

    Arrays: ``frame`` uint8 [polarity, height, width], counts up to 255, or shares of the brightest pixel;
    ``probabilities`` float32 [classes].
    """
    timestep, prediction = result.timestep, result.prediction
    fields = {
        "step": timestep.index,
        "t_start": timestep.t_start,
        "t_end": timestep.t_end,
        "events": timestep.events,
        "label": prediction.label,
        "unknown": prediction.unknown,
        "truth": result.truth,
        "scored": result.scored,
        "latency_ms": prediction.latency_s * 1e3,
    }
    shown = _shrunk(timestep.picture(), LONGEST_SIDE)
    if not timestep.counts:  # as many steps as a byte has, up to the brightest
        shown = shown * (255 / max(float(shown.max()), 1e-9))
    frame = np.minimum(shown, 255).astype(np.uint8)
    with np.errstate(invalid="ignore"):  # a network that diverged is still shown
        probabilities = prediction.softmax().astype(np.float32)
    return encode_part("frame", fields, {"frame": frame, "probabilities": probabilities})


def weights_part(weights: npt.NDArray[np.float32], filters: int) -> bytes:
    """The first layer's weights [shown filters, channels, height, width], of ``filters`` in all."""
    return encode_part("weights", {"filters": filters}, {"weights": weights})


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the rehearsal memory holds.

    Attributes:
        stretches: label → how many.
        bytes: of all frames.
        ids: of the stretches that are shown.
        frames: label → frames uint8 [timesteps, polarities, height, width] of some of them.
    """

    stretches: dict[int, int]
    bytes: int
    ids: tuple[int, ...]
    frames: dict[int, list[npt.NDArray[np.uint8]]]


def memory_part(memory: Remembered) -> bytes:
    """The rehearsal memory in pictures: the middle of a stretch.

    Arrays: ``thumbnails`` uint8 [pictures, polarity, ≤ 48, ≤ 48], each scaled to its own brightest pixel, and ``of``
    int32 [pictures], their labels.
    """
    labels = [label for label, some in memory.frames.items() for _ in some]
    pictures = [thumbnail(_middle(frames).sum(axis=0)) for some in memory.frames.values() for frames in some]
    arrays: Arrays = {
        "thumbnails": np.stack(pictures) if pictures else np.zeros((0, 1, 1, 1), np.uint8),
        "of": np.array(labels, np.int32),
    }
    return encode_part("memory", {"stretches": memory.stretches, "bytes": memory.bytes}, arrays)


def _middle(frames: npt.NDArray[np.uint8], timesteps: int = 3) -> npt.NDArray[np.uint8]:
    first = max(0, (len(frames) - timesteps) // 2)
    return frames[first : first + timesteps]


def thumbnail(counts: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A small picture of a sum of frames [planes, height, width]."""
    if len(counts) > 2:
        counts = counts.reshape(-1, 2, *counts.shape[1:]).sum(axis=0)
    level = np.sqrt(_shrunk(counts, THUMBNAIL_SIDE).astype(np.float32))
    return np.rint(level * (255 / max(1.0, float(level.max())))).astype(np.uint8)


def _shrunk(counts: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Counts on at most ``side`` pixels a side: a block of pixels is added up."""
    block = -(-max(counts.shape[1:]) // side)
    if block > 1:
        for axis in (1, 2):
            counts = np.add.reduceat(counts, np.arange(0, counts.shape[axis], block), axis=axis)
    return counts
