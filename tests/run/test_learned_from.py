"""What a model has learned from is kept with it, and scores on that again are said to be no test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from helpers import intervals, labelled_events

from stream_ottt.run.learned_from import Stream, seen_before, streams_of
from stream_ottt.run.model_file import load_checkpoint
from stream_ottt.sources.merged.opening import open_sources

SMALL = ["--binning.window", "1ms", "--binning.width", "8", "--binning.height", "8", "--network.layers", "4"]


def recording(path: Path, seed: int = 0) -> Path:
    events = labelled_events(seed, 4)
    np.savez(path, width=8, height=8, **{k: events[k] for k in "xytp"})
    return path


def streams(*uris: str) -> tuple[Stream, ...]:
    return streams_of(uris, open_sources(uris))


def seen(learned: str, now: str) -> bool | None:
    return seen_before(streams(now), streams(learned))


def test_a_file_is_known_by_its_content_and_its_excerpt(tmp_path: Path) -> None:
    a, b = recording(tmp_path / "a.npz"), recording(tmp_path / "b.npz", seed=1)
    copy = tmp_path / "copy.npz"
    shutil.copy(a, copy)
    assert seen(f"{a}", f"{copy}") and not seen(f"{a}", f"{b}")
    assert seen(f"{a}?to=10ms", f"{a}?from=5ms") and seen(f"{a}?from=5ms", f"{a}")
    assert seen(f"{a}?to=10ms", f"{a}?from=10ms") is False
    assert streams(str(a))[0].name == "a.npz"


def test_of_several_streams_one_that_was_seen_is_enough(tmp_path: Path) -> None:
    a, b = recording(tmp_path / "a.npz"), recording(tmp_path / "b.npz", seed=1)
    assert seen_before(streams(str(b)), streams(str(a), str(b)))
    assert seen_before(streams(str(a), str(b)), streams(str(b)))


def test_made_streams_are_known_by_their_options_and_live_ones_never() -> None:
    assert seen("synthetic:?seed=3", "synthetic:?seed=3") and seen("synthetic:?seed=3", "synthetic:?seed=4") is False
    live = "udp://127.0.0.1:0?width=8&height=8"
    assert seen(live, live) is None and seen("synthetic:", live) is None
    assert seen_before(streams("synthetic:"), ()) is None


def test_slices_of_a_collection(tmp_path: Path) -> None:
    for sample in range(4):
        folder = tmp_path / "data" / str(sample % 2)
        folder.mkdir(parents=True, exist_ok=True)
        recording(folder / f"{sample}.npz", seed=sample)
    data = str(tmp_path / "data")
    assert seen(data, f"{data}?samples=0:2") and seen(f"{data}?samples=0:2", f"{data}?samples=0:2")
    assert seen(f"{data}?samples=0:2", f"{data}?samples=2:4") is False
    before = streams(data)
    recording(tmp_path / "data" / "0" / "9.npz")
    assert not seen_before(streams(data), before)


def test_a_run_says_whether_its_model_has_seen_the_stream(call: Any, tmp_path: Path) -> None:
    a, b = recording(tmp_path / "a.npz"), recording(tmp_path / "b.npz", seed=1)
    labels, model, summary = tmp_path / "labels.csv", tmp_path / "m.safetensors", tmp_path / "s.json"
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(4)]
    labels.write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    common = ["--labels", labels, "--summary", summary, "--force", *SMALL]

    def run(source: Path, *words: Any) -> tuple[dict[str, Any] | None, str]:
        code, out, err = call("run", "--source", source, *common, *words)
        assert code == 0, err
        return json.loads(summary.read_text()).get("model"), out

    assert run(a, "--save", model)[0] is None
    told, out = run(a, "--load", model, "--no-learn")
    assert told == {"learned_from": ["a.npz"], "seen_before": True} and "these scores are no test of it" in out
    told, out = run(b, "--load", model, "--save", tmp_path / "both.safetensors")
    assert told == {"learned_from": ["a.npz"], "seen_before": False} and "no test" not in out
    assert [stream.name for stream in load_checkpoint(tmp_path / "both.safetensors").facts.learned_from] == [
        "a.npz",
        "b.npz",
    ]
    run(b, "--load", model, "--save", tmp_path / "unlearned.safetensors", "--no-learn")
    assert [stream.name for stream in load_checkpoint(tmp_path / "unlearned.safetensors").facts.learned_from] == [
        "a.npz"
    ]
