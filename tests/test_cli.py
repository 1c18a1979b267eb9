"""The command line as a user meets it: what it prints, writes and returns, and what it says of bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from helpers import intervals, labelled_events

from stream_ottt.sinks.writers.aedat4 import Aedat4Writer

PRESENTATIONS = 8
SMALL = ["--binning.window", "1ms", "--binning.width", "8", "--binning.height", "8", "--network.layers", "4"]


@pytest.fixture
def stream(tmp_path: Path) -> tuple[Path, Path]:
    """A labelled recording and its labels."""
    file, labels = tmp_path / "stream.aedat4", tmp_path / "labels.csv"
    with Aedat4Writer(file, 8, 8) as writer:
        for part in np.array_split(labelled_events(0, PRESENTATIONS), 5):
            writer.write(part)
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(PRESENTATIONS)]
    labels.write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    return file, labels


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("stream-ottt: "), err
    return lines[0]


def test_learns_and_writes_all_that_was_asked_for(call, stream, tmp_path: Path) -> None:
    file, labels = stream
    model, summary, said = tmp_path / "m.safetensors", tmp_path / "s.json", tmp_path / "p.jsonl"
    code, out, err = call(
        "run", "--source", file, "--labels", labels, "--label-delay", "3ms", "--save", model, "--summary", summary,
        "--predictions", said, "--seed", 5, *SMALL, "--learner.lr", "0.01", "--rehearsal.stretch=5",
    )  # fmt: skip
    assert code == 0, err
    s = json.loads(summary.read_text())
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert s["schema"] == "stream-ottt/summary/2"
    events = s["events"]
    assert events["read"] == events["binned"] == len(labelled_events(0, PRESENTATIONS))
    assert events["late"] == events["malformed"] == 0 and events["dropped"] == {}
    assert s["timesteps"] == len(lines) == 10 * PRESENTATIONS
    assert s["updates"]["live"] + s["updates"]["deferred"] == 10 * PRESENTATIONS
    assert s["updates"]["rehearsed"] > 0
    # The figures can be worked out again from the predictions alone.
    scored = [p for p in lines if p["scored"]]
    assert len(scored) == 3 * PRESENTATIONS
    hits = np.mean([p["truth"] == p["label"] for p in scored])
    assert s["accuracy"]["steps"] == pytest.approx(hits)
    for key in ("presentations", "second_half", "kappa", "kappa_t", "majority", "no_change"):
        assert key in s["accuracy"]
    assert s["seed"] == 5 and s["settings"]["learner"]["lr"] == 0.01 and s["exit"] == {
        "code": 0, "reason": "end", "message": None,
    }  # fmt: skip
    assert s["step_ms"]["p50"] > 0 and s["wall_s"] > 0 and s["peak_rss_mb"] > 0 and "torch" in s["versions"]
    assert s["stream_s"] == pytest.approx(0.001 * 10 * PRESENTATIONS, rel=0.01)
    assert "no change" in out and "majority" in out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


def test_a_saved_model_is_evaluated_without_learning_and_with_its_own_settings(call, stream, tmp_path: Path) -> None:
    file, labels = stream
    model, summary = tmp_path / "m.safetensors", tmp_path / "s.json"
    assert call("run", "--source", file, "--labels", labels, "--save", model, "--quiet", *SMALL)[0] == 0
    before = model.read_bytes()
    code, _, _ = call(
        "run", "--source", file, "--labels", labels, "--load", model, "--no-learn", "--summary", summary, "--quiet",
        "--save", tmp_path / "again.safetensors",
    )  # fmt: skip
    assert code == 0
    s = json.loads(summary.read_text())
    assert s["updates"] == {"live": 0, "deferred": 0, "rehearsed": 0}
    assert s["settings"]["network"]["layers"] == [4]
    assert s["presentations"] == PRESENTATIONS and s["learning"] == "off"
    from safetensors.numpy import load

    old, new = load(before), load((tmp_path / "again.safetensors").read_bytes())
    assert old.keys() == new.keys()
    for name, value in old.items():
        np.testing.assert_allclose(new[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_without_labels_it_says_so_in_one_line_and_how_to_give_them(call, stream) -> None:
    code, out, err = call("run", "--source", stream[0], *SMALL)
    assert code == 0
    assert re.search(r"nothing was learned: no label was given.*--labels", one_line(err))
    assert "80" in out


def test_same_seed_same_bits(call, stream, tmp_path: Path) -> None:
    file, labels = stream
    made = []
    for name in ("a", "b"):
        model, said = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.jsonl"
        call(
            "run", "--source", file, "--labels", labels, "--label-delay", "end", "--save", model, "--quiet",
            "--predictions", said, *SMALL, "--network.dropout", "0.2",
        )  # fmt: skip
        lines = [json.loads(x) for x in said.read_text().splitlines()]
        made.append((model.read_bytes(), [{k: v for k, v in x.items() if k != "latency_ms"} for x in lines]))
    assert made[0] == made[1]


def test_passes_learn_again_and_score_once(call, stream, tmp_path: Path) -> None:
    file, labels = stream
    summary = tmp_path / "s.json"
    call("run", "--source", file, "--labels", labels, "--passes", 3, "--summary", summary, "--quiet", *SMALL)
    s = json.loads(summary.read_text())
    assert s["timesteps"] == 30 * PRESENTATIONS and s["presentations"] == PRESENTATIONS


def test_a_shuffled_collection_keeps_its_labels_in_every_pass(call, tmp_path: Path) -> None:
    """Each pass has an order of its own; a label from another pass's order would teach nonsense."""
    rng = np.random.default_rng(0)
    samples, each = 40, 60
    labels = rng.integers(0, 2, samples)
    x = rng.integers(0, 4, (samples, each)) + 4 * labels[:, None]
    np.savez(
        tmp_path / "c.npz", x=x.ravel(), y=rng.integers(0, 8, samples * each), p=np.ones(samples * each, bool),
        t=np.tile(np.arange(each) * 100, samples), offsets=np.arange(samples + 1) * each, labels=labels,
        width=8, height=8,
    )  # fmt: skip
    said, model, summary = tmp_path / "p.jsonl", tmp_path / "m.safetensors", tmp_path / "s.json"
    common = [*SMALL, "--network.readout", "flatten", "--quiet"]
    code, _, err = call(
        "run", "--source", f"{tmp_path}/c.npz?shuffle=true", "--passes", 4, "--label-delay", "end", "--save", model,
        "--predictions", said, "--rehearsal.mode", "off", *common,
    )  # fmt: skip
    assert code == 0, err
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    orders = [[p["truth"] for p in lines[i * len(lines) // 4 : (i + 1) * len(lines) // 4]] for i in range(4)]
    assert len({tuple(o) for o in orders}) == 4
    code, _, _ = call(
        "run", "--source", tmp_path / "c.npz", "--load", model, "--no-learn", "--summary", summary, "--quiet"
    )
    assert code == 0 and json.loads(summary.read_text())["accuracy"]["presentations"] == 1.0


def test_a_truncated_file_is_processed_up_to_the_cut(call, stream, tmp_path: Path) -> None:
    file, labels = tmp_path / "long.aedat4", stream[1]
    events = labelled_events(0, PRESENTATIONS, per_step=2000)
    with Aedat4Writer(file, 8, 8) as writer:
        writer.write(events)
    whole = file.read_bytes()
    cut = tmp_path / "cut.aedat4"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    summary, model = tmp_path / "s.json", tmp_path / "m.safetensors"
    code, _, err = call(
        "run", "--source", cut, "--labels", labels, "--summary", summary, "--save", model, "--quiet", *SMALL
    )
    assert code == 3
    assert re.search(r"cut\.aedat4, byte \d+: ", one_line(err))
    s = json.loads(summary.read_text())
    assert 0 < s["events"]["read"] == s["events"]["binned"] < len(events)
    assert s["exit"]["code"] == 3 and s["exit"]["reason"] == "damaged"
    assert model.exists()


def broken_npz(path: Path, **columns: object) -> Path:
    events = labelled_events(0, 2)
    parts = {k: events[k] for k in "xytp"} | columns
    np.savez(path, width=8, height=8, **parts)
    return path


def test_events_outside_the_sensor_are_counted_and_said(call, tmp_path: Path) -> None:
    x = labelled_events(0, 2)["x"].copy()
    x[:7] = 200
    summary = tmp_path / "s.json"
    code, _, err = call("run", "--source", broken_npz(tmp_path / "x.npz", x=x), "--quiet", "--summary", summary, *SMALL)
    assert code == 3
    assert "7 events outside the 8×8 sensor" in err
    events = json.loads(summary.read_text())["events"]
    assert events["malformed"] == 7 and events["read"] == events["binned"] + 7


def test_time_that_runs_backwards_is_counted_and_said(call, tmp_path: Path) -> None:
    t = labelled_events(0, 2)["t"].copy()
    t[-1] = t[0]
    summary = tmp_path / "s.json"
    code, _, err = call("run", "--source", broken_npz(tmp_path / "x.npz", t=t), "--quiet", "--summary", summary, *SMALL)
    assert code == 3 and "1 events whose times run in no order" in err
    said = json.loads(summary.read_text())
    events = said["events"]
    assert events["malformed"] == said["clock"]["left_out"] == 1 and said["clock"]["epochs"] == 1
    assert events["read"] == events["binned"] + 1
    assert said["sensor"] == {"width": 8, "height": 8, "size_from": "file"}


def test_bad_words_get_one_clear_line_each(call, stream, tmp_path: Path) -> None:
    file, labels = stream
    empty, text = tmp_path / "empty.aedat4", tmp_path / "notes.aedat4"
    empty.touch()
    text.write_text("dear diary")
    overlapping, reversed_, unknown = (tmp_path / n for n in ("o.csv", "r.csv", "u.csv"))
    header = "class,startTime_usec,endTime_usec\n"
    overlapping.write_text(header + "1,0,5000\n2,4000,9000\n")
    reversed_.write_text(header + "1,5000,0\n")
    unknown.write_text(header + "9,0,5000\n")
    model = tmp_path / "m.safetensors"
    assert call("run", "--source", file, "--labels", labels, "--save", model, "--quiet", *SMALL)[0] == 0
    not_a_model = tmp_path / "n.safetensors"
    not_a_model.write_bytes(b"12345")
    npz = tmp_path / "none.npz"
    np.savez(npz, width=8, height=8, **{k: labelled_events(0, 1)[:0][k] for k in "xytp"})
    cases = [
        (3, ["info", empty], "empty"),
        (3, ["info", text], "no known recording format"),
        (3, ["info", tmp_path / "absent.aedat4"], "No such file"),
        (3, ["run", "--source", npz, "--quiet", *SMALL], "no events"),
        (2, ["run", "--source", file, "--labels", tmp_path / "absent.csv"], "absent.csv"),
        (2, ["run", "--source", file, "--labels", overlapping], "overlap"),
        (2, ["run", "--source", file, "--labels", reversed_], "ends before it starts"),
        (2, ["run", "--source", file, "--labels", unknown, "--load", model, "--quiet"], "unknown class 9"),
        (2, ["run", "--source", file, "--label-dealy", "1s"], "did you mean '--label-delay'"),
        (2, ["run", "--source", file, "--learner.lrr", "1"], "did you mean 'lr'"),
        (2, ["run", "--source", file, "--learnr.lr", "1"], "did you mean 'learner'"),
        (2, ["run", "--source", file, "--learner.lr", "fast"], "learner.lr"),
        (2, ["run", "--source", file, "--learner.lr"], "needs a value"),
        (2, ["run", "--source", file, "--config", "objcts"], "did you mean 'objects'"),
        (2, ["run", "--source", file, "--config", tmp_path / "absent.toml"], "absent.toml"),
        (2, ["run", "--source", f"{file}?strem=1"], "did you mean 'stream'"),
        (2, ["run", "--source", "synthtic:"], "did you mean 'synthetic'"),
        (2, ["run", "--source", file, "--sink", "jsnl:x"], "did you mean 'jsonl'"),
        (2, ["run", "--source", file, "--speed", "-1x"], "speed"),
        (2, ["run", "--source", file, "--labels", labels, "--label-delay", "soon"], "duration"),
        (2, ["run", "--source", file, "--network.layers", "16-AQ2", "--quiet"], "AQ2"),
        (2, ["run", "--source", file, "--quiet", "--network.topology", "vggg"], "did you mean 'vgg'"),
        (4, ["run", "--source", file, "--load", tmp_path / "absent.safetensors"], "no such model"),
        (4, ["run", "--source", file, "--load", not_a_model], "no readable model"),
        (4, ["run", "--source", file, "--load", model, "--network.layers", "5", "--quiet"], "another network"),
        (5, ["run", "--source", file, "--save", tmp_path / "no" / "m.safetensors"], "no folder"),
        (5, ["run", "--source", file, "--summary", tmp_path], "is a folder"),
        (5, ["run", "--source", file, "--predictions", tmp_path / "no" / "p.jsonl", "--quiet"], "p.jsonl"),
    ]
    for code, words, complaint in cases:
        got, _, err = call(*words)
        assert (got, complaint in one_line(err)) == (code, True), (words, got, err)


def test_a_full_disk_at_the_end_loses_nothing_else(call, stream, tmp_path: Path) -> None:
    file, labels = stream
    model = tmp_path / "m.safetensors"
    code, _, err = call(
        "run", "--source", file, "--labels", labels, "--summary", "/dev/full", "--save", model, "--quiet", *SMALL
    )
    assert code == 5 and "/dev/full" in one_line(err)
    assert model.exists()


def test_info_as_json(call, stream) -> None:
    code, out, _ = call("info", stream[0], "--json")
    events = labelled_events(0, PRESENTATIONS)
    facts = json.loads(out)
    assert code == 0
    assert {k: facts[k] for k in ("format", "width", "height", "events", "t_first", "t_last", "on")} == {
        "format": "aedat4",
        "width": 8,
        "height": 8,
        "events": len(events),
        "t_first": int(events["t"][0]),
        "t_last": int(events["t"][-1]),
        "on": int(events["p"].sum()),
    }
    assert facts["on"] + facts["off"] == facts["events"]


@pytest.mark.parametrize("name", ["demo", "objects", "nmnist", "dvs128"])
def test_shown_settings_are_a_file_that_means_the_same(call, name: str, tmp_path: Path) -> None:
    code, out, _ = call("config", "show", name, "--learner.lr", "0.125")
    assert code == 0 and tomllib.loads(out)["learner"]["lr"] == 0.125
    file = tmp_path / "again.toml"
    file.write_text(out)
    assert call("config", "show", file)[1] == out


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ("--help", 0),
        ("run --help", 0),
        ("info x.npz", 0),
        ("run --source nowhere.npz", 3),
        ("run --source x.npz --labels nowhere.csv", 2),
        ("run --source x.npz --load nowhere.safetensors", 4),
        ("replay --config nmnist", 2),
        ("replay --config nmnist --data nowhere", 3),
    ],
)
def test_what_computes_nothing_and_what_is_refused_is_fast_and_without_the_heavy_libraries(
    words: str, ends: int, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", width=8, height=8, **{k: labelled_events(0, 1)[k] for k in "xytp"})
    script = (
        "import sys, time; from stream_ottt.cli import main; sys.argv[1:] = sys.argv[1:]\n"
        "try: main()\n"
        "except SystemExit as e: code = e.code\n"
        "heavy = {'torch', 'tonic', 'cv2', 'numba', 'scipy', 'pandas', 'h5py', 'rosbags'} & set(sys.modules)\n"
        "print(code or 0, sorted(heavy), time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, heavy, seconds = re.fullmatch(r"(\d+) (\[.*\]) ([\d.]+)", done.stderr.splitlines()[-1]).groups()
    assert (int(code), heavy) == (ends, "[]"), done.stderr
    assert float(seconds) < 1.5  # less than half a second on a quiet machine


def test_ctrl_c_writes_what_was_asked_for_and_exits_130(stream, tmp_path: Path) -> None:
    file, labels = stream
    model, summary, said = tmp_path / "m.safetensors", tmp_path / "s.json", tmp_path / "p.jsonl"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "stream_ottt", "run", "--source", file, "--labels", labels, "--save", model,
            "--summary", summary, "--predictions", said, "--passes", "100000", *SMALL,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:  # the first line of progress: it is learning
        if "steps" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    s = json.loads(summary.read_text())
    assert s["exit"]["reason"] == "interrupted" and s["exit"]["code"] == 130
    assert s["timesteps"] == len(said.read_text().splitlines()) > 0
    events = s["events"]
    assert events["read"] == events["binned"] + sum(events["dropped"].values())
    assert model.exists()
