"""From the URIs of several sources to one source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import MOST_SOURCES
from stream_ottt.labels.sidecar import LabelFile, read_label_csv
from stream_ottt.labels.timeline import LabelsConfig
from stream_ottt.pipeline.source import Source
from stream_ottt.registry import split_uri
from stream_ottt.sources.merged.files import MergedFiles
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.live import MergedLive
from stream_ottt.sources.merged.place import Place, Plane
from stream_ottt.sources.opening import open_source


def open_sources(
    uris: Sequence[str],
    *,
    wait: int = 50_000,
    plane: Plane | None = None,
    labels: LabelsConfig | None = None,
    names: Mapping[int, str] | None = None,
    say: Callable[[str], None] = print,
) -> Source:
    """One source as it is, or several as one.

    Args:
        uris: at least one; where there are several, each may have the options of :class:`Place` beside its own.
        wait: µs that an event of a live source waits for the other sources.
        plane: width and height of what they share, pixels; None takes what they need.
        labels: of the run.
        names: label → name, where a model knows them.
        say: told in one line of a live source that goes or comes back.

    Raises:
        UsageError: unknown sources or options, too many, two of one name, recordings beside live sources, or a label
            file that cannot be used.
        InputError: no such file, or no format recognises its content.
    """
    if len(uris) == 1:
        return open_source(uris[0])
    if len(uris) > MOST_SOURCES:
        raise UsageError(f"{len(uris)} sources; one stream can be made of {MOST_SOURCES}, start a run for each camera")
    labels = labels or LabelsConfig()
    lanes: list[Lane] = []
    for i, uri in enumerate(uris):
        own, place = _without_place(uri)
        name = place.name or f"source{i + 1}"
        if name in [lane.name for lane in lanes]:
            raise UsageError(f"{uri}: there is a source {name!r} already; give each another ?name=")
        lanes.append(Lane(name, open_source(own), place, _labels(place, labels, names)))
    live = [type(lane.source).live for lane in lanes]
    if all(live):
        return MergedLive(lanes, plane, wait / 1e6, say, labels)
    if any(live) or not all(lane.source.synchronous for lane in lanes):
        raise UsageError(
            f"{', '.join(uris)}: a recording cannot wait for what is live; play it with "
            "'stream-ottt publish', and give the address"
        )
    for lane in lanes:
        if lane.place.clock == "arrival":
            raise UsageError(f"{lane.name}: clock=arrival is for live sources; move a recording with ?shift=")
    return MergedFiles(lanes, plane, labels)


def _labels(place: Place, labels: LabelsConfig, names: Mapping[int, str] | None) -> LabelFile | None:
    if place.labels is None:
        return None
    if labels.file is not None:
        raise UsageError(
            f"{labels.file} names what all sources see, and {place.labels} what one does; leave out labels.file"
        )
    return read_label_csv(place.labels, labels.classes, names)


def _without_place(uri: str) -> tuple[str, Place]:
    """A source's URI without the options of its place, and these."""
    _, _, options = split_uri(uri)
    given = {key: options[key] for key in Place.model_fields if key in options}
    place = Place.load(given, where="source")
    if not given:
        return uri, place
    rest, _, query = uri.rpartition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0] not in given]
    return rest + ("?" + "&".join(kept) if kept else ""), place
