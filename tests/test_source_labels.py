"""Several sources, each with labels of its own: what the label of the one stream is, and what became of each."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SIZE, WINDOW, ListSource, labelled_events, pipeline_of, run, small_session, timesteps
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.cli import main
from stream_ottt.errors import UsageError
from stream_ottt.events.packet import make_events
from stream_ottt.labels.merging import merge_labels, numbered_alike
from stream_ottt.labels.sidecar import LabelFile
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.live import feed
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.run.opening import with_labels
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.run.run import run as run_request
from stream_ottt.sources.merged import lane_labels
from stream_ottt.sources.merged.files import MergedFiles
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.lane_labels import FileLabels, LiveLabels
from stream_ottt.sources.merged.place import Place

pytestmark = pytest.mark.usefixtures("one_thread")

SPAN = 10 * WINDOW
SMALL = {"binning": {"window": "1ms"}, "network": {"layers": [4]}}

# --- the rule --------------------------------------------------------------------------------------------------------

some_labels = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(0, 2)), max_size=5)


def laid_out(rows: list[tuple[int, int, int]]) -> list[LabelInterval]:
    """Disjoint intervals from pauses, lengths and labels."""
    t, out = 0, []
    for pause, length, label in rows:
        out.append(LabelInterval(t + pause, t + pause + length, label))
        t += pause + length
    return out


@settings(max_examples=200)
@given(rows=st.lists(some_labels, min_size=1, max_size=3))
def test_the_label_of_a_moment_is_that_of_the_first_source_that_has_one(rows: list[Any]) -> None:
    sources = [laid_out(each) for each in rows]
    found = merge_labels(sources)
    timeline = LabelTimeline(found.intervals)  # they are disjoint

    def said(source: list[LabelInterval], t: float) -> LabelInterval | None:
        return next((i for i in source if i.holds(t)), None)

    against: list[set[LabelInterval]] = [set() for _ in sources]
    for t in np.arange(0.5, 60):
        each = [said(source, t) for source in sources]
        first = next((i for i in each if i is not None), None)
        merged = timeline.at(t)
        assert (None if merged is None else merged.label) == (None if first is None else first.label)
        for number, interval in enumerate(each):
            if first is not None and interval is not None and interval.label != first.label:
                against[number].add(interval)
    assert found.contradicted == [len(each) for each in against]


def test_what_sources_agree_on_is_one_presentation() -> None:
    one, other = [LabelInterval(0, 100, 1), LabelInterval(100, 150, 1)], [LabelInterval(2, 103, 1)]
    assert merge_labels([one]).intervals == one  # what one source tells apart stays apart
    assert merge_labels([one[:1], other]).intervals == [LabelInterval(0, 103, 1)]
    assert merge_labels([[LabelInterval(0, 100, 1)], [LabelInterval(50, 150, 2)]]) == (
        [LabelInterval(0, 100, 1), LabelInterval(100, 150, 2)],
        [0, 1],
    )


def test_classes_are_known_by_their_names_where_numbers_are_others() -> None:
    left = ("left", [LabelInterval(0, 1, 0), LabelInterval(1, 2, 1)], {0: "bell", 1: "cup"})
    right = ("right", [LabelInterval(0, 1, 0), LabelInterval(1, 2, 1)], {0: "cup", 1: "mug"})
    intervals, names = numbered_alike([left, right])
    assert names == {0: "bell", 1: "cup", 2: "mug"}
    assert [[i.label for i in each] for each in intervals] == [[0, 1], [1, 2]]
    alike, same = numbered_alike([left, ("b", right[1], {2: "mug", 0: "bell", 1: "cup"})])
    assert same == names and [i.label for i in alike[1]] == [0, 1]
    with pytest.raises(UsageError, match="right: class 1 has no name"):
        numbered_alike([left, ("right", right[1], {0: "cup"})])
    with pytest.raises(UsageError, match="numbers: class 0 has no name"):
        numbered_alike([left, ("numbers", right[1], {})])


# --- recordings ------------------------------------------------------------------------------------------------------


def recording(folder: Path, name: str, seed: int, labels: list[tuple[object, int, int]] | None) -> str:
    e = labelled_events(seed, 6)
    np.savez(folder / f"{name}.npz", width=SIZE, height=SIZE, **{k: e[k] for k in "xytp"})
    uri = f"{folder / f'{name}.npz'}?time=us&name={name}"
    if labels is None:
        return uri
    rows = [f"{label},{start * SPAN},{end * SPAN}" for label, start, end in labels]
    (folder / f"{name}.csv").write_text("\n".join(["class,startTime_usec,endTime_usec", *rows]))
    return f"{uri}&labels={folder / f'{name}.csv'}"


def summary_of(folder: Path, uris: list[str], code: int = 0, **overrides: Any) -> dict[str, Any]:
    settings = {**SMALL, "stream": {"sources": uris[1:]}, **overrides}
    request = RunRequest(uris[0], overrides=settings, sinks=[], summary=folder / "s.json", force=True)
    assert run_request(request) == code
    return json.loads((folder / "s.json").read_text())


def test_each_recording_brings_its_labels(tmp_path: Path) -> None:
    left = recording(tmp_path, "left", 0, [(1, 0, 1), (2, 1, 2)])
    right = recording(tmp_path, "right", 1, [(2, 1, 3), (1, 3, 4), (2, 4, 5)])
    third = recording(tmp_path, "third", 2, [(1, 4, 6)])
    found = summary_of(tmp_path, [left, right, third], labels={"delay": "end"})
    assert {name: one["labels"] for name, one in found["sources"].items()} == {
        "left": {"taken": 2, "refused": 0, "contradicted": 0},
        "right": {"taken": 3, "refused": 0, "contradicted": 0},
        "third": {"taken": 1, "refused": 0, "contradicted": 1},
    }
    assert found["labels"]["intervals"] == found["labels"]["intervals_met"] == 5  # 1, 2 of both, 1, 2, 1
    assert found["presentations"] == 5 and found["updates"]["deferred"] > 0


def test_names_in_the_files_of_two_recordings_are_one_set_of_classes(tmp_path: Path) -> None:
    left = recording(tmp_path, "left", 0, [("bell", 0, 1), ("cup", 1, 2)])
    right = recording(tmp_path, "right", 1, [("mug", 2, 3), ("cup", 3, 4)])
    found = summary_of(tmp_path, [left, right])
    assert found["classes"] == {"0": "bell", "1": "cup", "2": "mug"}
    assert found["labels"]["intervals_met"] == 4


def test_labels_for_all_and_labels_of_one_do_not_go_together(tmp_path: Path) -> None:
    left = recording(tmp_path, "left", 0, [(1, 0, 1)])
    right = recording(tmp_path, "right", 1, None)
    with pytest.raises(UsageError, match="names what all sources see"):
        summary_of(tmp_path, [left, right], labels={"file": str(tmp_path / "left.csv")})
    found = summary_of(tmp_path, [left.partition("&labels")[0], right], labels={"file": str(tmp_path / "left.csv")})
    assert found["labels"]["intervals_met"] == 1 and "labels" not in found["sources"]["left"]


def test_label_files_and_sources_are_given_side_by_side() -> None:
    uris = ["a.npz", "b.npz?x=8"]
    assert with_labels(uris, []) == (uris, None)
    assert with_labels(uris, ["all.csv"]) == (uris, "all.csv")
    paired, of_all = with_labels(uris, ["my labels.csv", "b&c.csv"])
    assert of_all is None and paired == ["a.npz?labels=my%20labels.csv", "b.npz?x=8&labels=b%26c.csv"]
    with pytest.raises(UsageError, match="3 label files for 2 sources"):
        with_labels(uris, ["1", "2", "3"])


class Labelled(ListSource):
    """A recording that brings its own labels."""

    def __init__(self, seed: int, labels: list[LabelInterval], names: dict[int, str]) -> None:
        super().__init__(labelled_events(seed, 4))
        self._labels, self._names = labels, names

    @property
    def labels(self) -> list[LabelInterval]:
        return self._labels

    @property
    def class_names(self) -> dict[int, str]:
        return self._names


def test_own_labels_of_two_collections_are_merged_by_name() -> None:
    one = Labelled(0, [LabelInterval(0, SPAN, 0)], {0: "bell"})
    two = Labelled(1, [LabelInterval(0, SPAN, 0), LabelInterval(SPAN, 2 * SPAN, 1)], {0: "cup", 1: "bell"})
    source = MergedFiles([Lane("one", one, Place()), Lane("two", two, Place())], None)
    run(pipeline_of(source, [], small_session(None)))
    assert source.labels == [LabelInterval(0, SPAN, 0), LabelInterval(SPAN, 2 * SPAN, 0)]
    assert source.class_names == {0: "bell", 1: "cup"}
    assert [one["labels"]["contradicted"] for one in source.parts().values()] == [0, 1]


# --- labels that come with the stream --------------------------------------------------------------------------------


def test_of_labels_that_come_the_first_has_the_word_and_the_rest_is_taken() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    for timestep in timesteps(labelled_events(0, 4))[:35]:
        session.process(timestep)
    assert session.labels.add(LabelInterval(0, SPAN, 1, source="left")) == 10
    assert session.labels.add(LabelInterval(0, SPAN, 1, source="right")) == 0  # they agree
    assert session.labels.add(LabelInterval(SPAN // 2, 2 * SPAN, 2, source="right")) == 10  # half of it does not
    assert session.labels.add(LabelInterval(0, SPAN, 2, source="third")) == 0
    with pytest.raises(UsageError, match="overlap"):
        session.labels.add(LabelInterval(SPAN, 3 * SPAN, 1, source="right"))  # with its own
    with pytest.raises(UsageError, match="overlap"):
        session.labels.add(LabelInterval(SPAN, 3 * SPAN, 1))  # a person's
    assert session.snapshot().label_sources == {
        "left": {"taken": 1, "refused": 0, "contradicted": 0},
        "right": {"taken": 2, "refused": 1, "contradicted": 1},
        "third": {"taken": 1, "refused": 0, "contradicted": 1},
    }
    assert session.snapshot().labels_refused == 2 and session.counters.labels_taken == 4
    other = small_session(LabelTimeline(), late_labels=True)
    other.load_state_dict(session.state_dict())
    assert other.snapshot().label_sources == session.snapshot().label_sources
    with pytest.raises(UsageError, match="overlap"):
        other.labels.add(LabelInterval(SPAN, 3 * SPAN, 1, source="right"))


def test_two_feeds_with_labels_on_clocks_of_their_own(tmp_path: Path) -> None:
    """One sends its labels, the other has a file of them, in its own time; both are those of what is shown."""
    (tmp_path / "b.csv").write_text("class,startTime_usec,endTime_usec\n3,1005000,1010000\n5,1010000,1015000\n")

    async def session() -> int:
        senders = [Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True)) for _ in range(2)]
        uris = [f"{s.endpoint.replace('tcp', 'zmq+pull')}?name={n}" for s, n in zip(senders, "ab", strict=True)]
        uris[1] += f"&clock=own&labels={tmp_path / 'b.csv'}"
        uris[0] += "&clock=own"
        overrides = {**SMALL, "stream": {"sources": uris}, "labels": {"delay": "end"}}
        one = Run(RunRequest(None, overrides=overrides, sinks=[], summary=tmp_path / "s.json"))
        running = asyncio.create_task(one.go())
        t = 1_000_000 + np.arange(0, 20_000, 50)
        events = make_events(np.arange(len(t)) % 8, np.arange(len(t)) % 8, t, np.arange(len(t)) % 2)
        for sender, name in zip(senders, "ab", strict=True):
            await sender.send(feed.pack_events(name, 0, events, 8, 8, sender=name * 8), 20)
        await senders[0].send(feed.pack_label("a", LabelInterval(1_000_000, 1_006_000, 3)), 20)
        for sender, name in zip(senders, "ab", strict=True):
            await sender.send(feed.pack_events(name, 1, events[:0], 8, 8, eos=True, sender=name * 8), 20)
        code = await asyncio.wait_for(running, 60)
        for sender in senders:
            await sender.close(0)
        return code

    assert asyncio.run(session()) == 0
    found = json.loads((tmp_path / "s.json").read_text())
    labels = {name: one["labels"] for name, one in found["sources"].items()}
    assert labels["a"]["taken"] == 1 and labels["b"]["taken"] == 2
    assert labels["a"]["contradicted"] == labels["b"]["contradicted"] == 0
    assert found["labels"]["taken"] == 3 and found["labels"]["refused"] == 0
    assert found["updates"]["live"] + found["updates"]["deferred"] == 15
    for one in found["sources"].values():
        events = one["events"]
        assert events["read"] == 400 == events["binned"] + events["late"] and events["in_hand"] == 0


def test_a_label_file_for_each_source_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["stream-ottt", "run", "--quiet", "--summary", str(tmp_path / "s.json")]
    for i, name in enumerate(("left", "right")):
        uri, _, labels = recording(tmp_path, name, i, [(1 + i, i, i + 1)]).partition("&labels=")
        words += ["--source", uri, "--labels", labels]
    monkeypatch.setattr("sys.argv", [*words, "--binning.window", "1ms", "--network.layers", "[4]"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    sources = json.loads((tmp_path / "s.json").read_text())["sources"]
    assert [one["labels"]["taken"] for one in sources.values()] == [1, 1]


@pytest.mark.parametrize(("shift", "start"), [("auto", 5_000), (0, 0), (70, 70)])
def test_labels_in_files_are_shifted_against_each_source(shift: Any, start: int) -> None:
    lane = Lane("a", ListSource(labelled_events(0, 1)), Place(), LabelFile([LabelInterval(0, 500, 1)], {}))
    lane.first = 5_000
    assert FileLabels([lane], shift).intervals == [LabelInterval(start, start + 500, 1)]


def test_labels_wait_for_the_first_event_of_their_source_within_a_bound() -> None:
    lane = Lane("a", ListSource(labelled_events(0, 1)), Place(), LabelFile([LabelInterval(100, 200, 1)], {}))
    labels = LiveLabels(lane, 50, 0)
    for i in range(lane_labels.MAX_LABELS + 7):
        assert labels.come(LabelInterval(i, i + 1, 1), None) == []
    assert labels.lost == 7
    assert len(labels.reach(149, 1000)) == lane_labels.MAX_LABELS  # that of the file is known at 150
    assert [(i.t_start, i.t_end, i.source) for i in labels.reach(150, 1000)] == [(1100, 1200, "a")]
    assert labels.come(LabelInterval(5, 6, 2), 10) == [LabelInterval(15, 16, 2)] and labels.rest(0) == []


def test_a_label_that_was_not_known_when_its_source_ended_is_told_if_it_was_shown() -> None:
    file = LabelFile([LabelInterval(100, 200, 1), LabelInterval(300, 400, 2)], {})
    lane = Lane("a", ListSource(labelled_events(0, 1)), Place(), file)
    labels = LiveLabels(lane, "end", 0)
    lane.newest = 150
    assert labels.reach(150, 0) == [] and labels.rest(7) == [LabelInterval(107, 207, 1)]
