"""What a user should know of the settings and the stream, said once."""

from __future__ import annotations

from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.rehearsal import LARGEST_COUNT


def of_counts(counters: SessionCounters, timestep: Timestep) -> None:
    """A frame that is stored cannot hold all its counts."""
    if timestep.frame.max() > LARGEST_COUNT:
        counters.warn(
            "counts",
            f"a pixel had more than {LARGEST_COUNT} events in a timestep; frames that are stored, to be learned later "
            f"or again, have {LARGEST_COUNT} there; set binning.clamp to {LARGEST_COUNT} or less to learn the same now",
        )


def of_delay(counters: SessionCounters, rule: LearnerConfig, timestep: Timestep, interval: LabelInterval) -> None:
    """Today's traces may belong to another stimulus than the error that meets them."""
    if not rule.error_delay or rule.delay_mode == "snapshot":
        return
    delay, lasts = rule.error_delay * (timestep.t_end - timestep.t_start), interval.t_end - interval.t_start
    if 2 * delay >= lasts:
        counters.warn(
            "delay",
            f"the error delay of {rule.error_delay} timesteps ({delay / 1e3:g} ms) nears the {lasts / 1e3:g} ms "
            "that a label lasts, so errors meet traces of the next stimulus; use learner.delay_mode = 'snapshot'",
        )
