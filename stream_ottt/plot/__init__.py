"""Figures of runs and events, for a notebook; they need ``pip install 'stream-ottt[report]'``."""

from stream_ottt.plot.course import prequential
from stream_ottt.plot.picture import events

__all__ = ["events", "prequential"]
