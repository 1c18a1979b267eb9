"""The labels of several sources as those of the one stream that the network sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LabelInterval


class Merged(NamedTuple):
    """The labels of several sources as one.

    Attributes:
        intervals: disjoint, in order of time.
        contradicted: by source, how many of its labels another one contradicts where that has the word.
    """

    intervals: list[LabelInterval]
    contradicted: list[int]


@dataclass(slots=True)
class _Stretch:
    """A stretch of one label, and the intervals of this label that hold its end."""

    start: int
    end: int
    label: int
    of: set[LabelInterval]


def merge_labels(sources: Sequence[Sequence[LabelInterval]]) -> Merged:
    """The label of each moment is that which any source gives it; the source that comes first has the word.

    Where two sources give one label at the same time, it is one presentation from the first start to the last end.
    Where they give different ones, what the later source says is left out for as long as they contradict each other,
    and its label is counted.

    Args:
        sources: the labels of each source, disjoint within one source, in the order in which they have the word.
    """
    edges = sorted({t for intervals in sources for i in intervals for t in (i.t_start, i.t_end)})
    places = {t: k for k, t in enumerate(edges)}
    given: list[list[tuple[int, LabelInterval]]] = [[] for _ in edges]
    for number, intervals in enumerate(sources):
        for interval in intervals:
            for k in range(places[interval.t_start], places[interval.t_end]):
                given[k].append((number, interval))
    against: list[set[LabelInterval]] = [set() for _ in sources]
    stretches: list[_Stretch] = []
    for k, labels in enumerate(given):
        if not labels:
            continue
        label = labels[0][1].label
        for number, interval in labels:
            if interval.label != label:
                against[number].add(interval)
        of = {interval for _, interval in labels if interval.label == label}
        last = stretches[-1] if stretches else None
        if last is not None and last.end == edges[k] and last.label == label and last.of & of:
            last.end, last.of = edges[k + 1], of
        else:
            stretches.append(_Stretch(edges[k], edges[k + 1], label, of))
    return Merged([LabelInterval(s.start, s.end, s.label) for s in stretches], [len(each) for each in against])


Named = tuple[str, Sequence[LabelInterval], Mapping[int, str]]
"""The name, the labels and the names of the classes of a source."""


def common_names(sources: Sequence[Named]) -> dict[int, str] | None:
    """Label → name for all sources, where what they say of their classes goes together; None where a number is another
    class in each, so that they are to be numbered anew.
    """
    names: dict[int, str] = {}
    for _, _, own in sources:
        for label, name in own.items():
            if names.setdefault(label, name) != name:
                return None
    return names if len(set(names.values())) == len(names) else None


def numbered_alike(sources: Sequence[Named]) -> tuple[list[Sequence[LabelInterval]], dict[int, str]]:
    """The labels of all sources in one numbering, and its names.

    Where one number is another class in two sources, classes are known by their names, and numbered in alphabetical
    order.

    Raises:
        UsageError: then, a class without a name; or one source names its classes, and another has numbers alone.
    """
    names = common_names(sources)
    bare = any(intervals and not own for _, intervals, own in sources)
    if names is not None and not (names and bare):
        return [intervals for _, intervals, _ in sources], names
    numbers = {name: i for i, name in enumerate(sorted({name for _, _, own in sources for name in own.values()}))}
    out: list[Sequence[LabelInterval]] = []
    for source, intervals, own in sources:
        if nameless := {i.label for i in intervals} - own.keys():
            raise UsageError(
                f"{source}: class {min(nameless)} has no name, and another source names its classes; "
                "name them in all label files, in a fourth column or in place of the numbers"
            )
        out.append([LabelInterval(i.t_start, i.t_end, numbers[own[i.label]]) for i in intervals])
    return out, {i: name for name, i in numbers.items()}
