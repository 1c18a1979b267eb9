"""From a run's settings to its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import quote

from stream_ottt.errors import UsageError
from stream_ottt.pipeline.source import Source
from stream_ottt.run.config import RunConfig
from stream_ottt.sources.merged.opening import open_sources


class Known(Protocol):
    """What knows names of classes: a model, or a run that goes on."""

    @property
    def class_names(self) -> dict[int, str]:
        """Label → name."""


def open_source_of(
    uris: Sequence[str], config: RunConfig, begun: Known | None, say: Callable[[str], None] = print
) -> Source:
    """The source of a run; nothing of it is read.

    Args:
        uris: all sources, of :func:`stream_ottt.run.config.sources_of`.
        config: the run's settings.
        begun: what was learned before, where it goes on from that.
        say: told in one line of a source that goes or comes back.

    Raises:
        StreamOtttError: a source, or a label file of one of several, that cannot be used.
    """
    stream, names = config.stream, None if begun is None else begun.class_names
    return open_sources(uris, wait=stream.merge_wait, plane=stream.plane, labels=config.labels, names=names, say=say)


def with_labels(sources: Sequence[str], labels: Sequence[str]) -> tuple[list[str], str | None]:
    """Sources and label files as they are given side by side: the sources with their labels, or the one file for all.

    Raises:
        UsageError: neither one file for all nor one for each source.
    """
    if len(labels) <= 1:
        return list(sources), labels[0] if labels else None
    if len(labels) != len(sources):
        raise UsageError(
            f"{len(labels)} label files for {len(sources)} sources; give one that names what all see, or one for each "
            "source, in their order; ?labels=FILE behind a source is its own, too"
        )
    return [
        f"{uri}{'&' if '?' in uri else '?'}labels={quote(file)}" for uri, file in zip(sources, labels, strict=True)
    ], None
