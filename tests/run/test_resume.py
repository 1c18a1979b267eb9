"""A run that is stopped anywhere and resumed ends as the one that never stopped, to the bit."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import WINDOW, intervals, labelled_events
from resumed import SOURCE, request, result, resume, rewritten, run, same
from resumed import moved as moved_to

from stream_ottt.errors import InputError, ModelError, OutputError, UsageError
from stream_ottt.events.binning import Binner
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.run.assembly import Assembly
from stream_ottt.run.checkpoint import SavedRun
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.checkpointing import Checkpointing
from stream_ottt.run.model_file import load_checkpoint
from stream_ottt.run.request import RunRequest
from stream_ottt.run.resume import find
from stream_ottt.run.run import Run
from stream_ottt.state import part

pytestmark = pytest.mark.usefixtures("one_thread", "every_mark")

MODES: dict[str, dict[str, Any]] = {
    "labels at once": {"labels": {"delay": "0"}},
    "labels at the end": {},
    "labels in between, no rehearsal": {"labels": {"delay": "35ms"}, "rehearsal": {"mode": "off"}},
    "paper delay": {"labels": {"delay": "0"}, "learner": {"error_delay": 2}},
    "overlap": {"labels": {"delay": "0"}, "learner": {"error_delay": 2}, "engine": {"overlap": True}},
    "snapshot delay, adam": {"learner": {"error_delay": 3, "delay_mode": "snapshot", "optimizer": "adam"}},
    "ottt_a, dropout": {"learner": {"rule": "ottt_a"}, "network": {"dropout": 0.2}},
    "plain engine, feedback": {"engine": {"engine": "plain"}, "network": {"topology": "layers-f"}},
    "two passes": {"stream": {"passes": 2}},
    "max steps": {"stream": {"max_steps": 60}},
    "windows by count": {"binning": {"count": 40}},
    "a cosine over the run": {"learner": {"schedule": "cosine"}, "labels": {"delay": "0"}},
    "filters that remember": {"binning": {"filters": ["refractory:3ms", "hot:?rate=200&learn=100ms"]}},
    "decaying frames": {"binning": {"frame": "decay:?tau=30ms"}},
    "two bins": {"binning": {"frame": "voxel-2"}},
    "little memory": {"rehearsal": {"max_bytes": 1500}},
    "little room": {"labels": {"keep_bytes": 3000}},
}


@pytest.fixture
def every_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many marks, which come at the ends of packets; and a checkpoint at each, however slow the disk."""
    monkeypatch.setattr("stream_ottt.sources.synthetic.PACKET_EVENTS", 800)
    monkeypatch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 800)
    monkeypatch.setattr(Checkpointing, "take", Checkpointing.write)


def numbers(folder: Path) -> list[int]:
    return sorted(CheckpointFolder(folder / "checkpoints").numbers())


@pytest.mark.parametrize("mode", MODES)
def test_cut_anywhere_and_resumed_it_ends_the_same(mode: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert run(request(whole, MODES[mode])) == 0
    expected, cuts = result(whole), numbers(whole)
    assert len(cuts) > 5, cuts
    assert expected["summary"]["timesteps"] > 50
    for number in (cuts[1], cuts[2 * len(cuts) // 3]):
        folder = moved_to(whole, tmp_path / f"cut-{number}", number)
        resume(folder)
        found = result(folder)
        if mode == "max steps":  # how far the reader had read ahead is chance
            found["summary"]["events"] = expected["summary"]["events"]
        same(found, expected)


@pytest.mark.parametrize("passes", [1, 2])
def test_two_recordings_go_on_each_at_its_place(passes: int, tmp_path: Path) -> None:
    uris = []
    for i in range(2):
        events = labelled_events(i, 40)
        np.savez(tmp_path / f"{i}.npz", width=8, height=8, **{k: events[k] for k in "xytp"})
        rows = [f"{j.label},{j.t_start},{j.t_end}" for j in intervals(40)[i :: 2 - i]]
        (tmp_path / f"{i}.csv").write_text("\n".join(["class,startTime_usec,endTime_usec", *rows]))
        uris.append(f"{tmp_path / f'{i}.npz'}?time=us&name=cam{i}&shift={i}ms&labels={tmp_path / f'{i}.csv'}")
    stream = {"sources": uris, "passes": passes}
    whole = tmp_path / "whole"
    assert run(request(whole, {"stream": stream}, source=None)) == 0
    expected, cuts = result(whole), numbers(whole)
    assert expected["summary"]["sources"]["cam1"]["labels"]["taken"] == 39 and expected["summary"]["presentations"] > 20
    for number in (cuts[0], cuts[-1]):
        folder = moved_to(whole, tmp_path / f"cut-{number}", number)
        resume(folder)
        same(result(folder), expected)


def test_checkpoints_change_nothing(tmp_path: Path) -> None:
    run(request(tmp_path / "with"))
    run(request(tmp_path / "without", checkpoints=None))
    same(result(tmp_path / "with"), result(tmp_path / "without"))


def test_resumed_again_and_again(tmp_path: Path) -> None:
    """Each time from the first checkpoint that the resumed run writes itself."""
    whole = tmp_path / "0"
    run(request(whole))
    expected, folder, number = result(whole), whole, 2
    for i in range(1, 4):
        folder = moved_to(folder, tmp_path / str(i), number)
        resume(folder)
        number += 1
        assert json.loads((folder / "s.json").read_text())["checkpoints"]["gaps"][-1]["lost"] is False
        same(result(folder), expected)
    assert len(json.loads((folder / "s.json").read_text())["checkpoints"]["gaps"]) == 3


# --- what is damaged ---------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped in its midst, with several checkpoints."""
    run(request(tmp_path / "whole"))
    return moved_to(tmp_path / "whole", tmp_path / "stopped", 6)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
@pytest.mark.parametrize("file", ["checkpoint-000006.json", "checkpoint-000006.safetensors"])
def test_a_damaged_newest_falls_back_to_the_one_before(file: str, damage: str, stopped: Path, tmp_path: Path) -> None:
    path = stopped / "checkpoints" / file
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"flip": data, "cut": data[: len(data) // 2], "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    remarks = resume(stopped)
    if file.endswith(".safetensors") or damage != "gone":
        assert file in remarks[0] and "going on from the one before" in remarks[0]
    same(result(stopped), result(tmp_path / "whole"))


def test_a_recording_that_ends_in_damage_leaves_nothing_to_resume(tmp_path: Path) -> None:
    events = labelled_events(0, 6)
    rows = [",".join(str(int(event[key])) for key in "xytp") for event in events]
    (tmp_path / "damaged.csv").write_text("\n".join(["x,y,t,p", *rows, "what is this"]))
    asked = request(
        tmp_path / "run", {"binning": {"window": f"{WINDOW}us"}}, source=f"{tmp_path / 'damaged.csv'}?time=us"
    )
    assert run(asked) == InputError.exit_code
    finished = find(tmp_path / "run" / "checkpoints").finished
    assert finished == {"reason": "damaged", "code": InputError.exit_code, "timesteps": 60}


def test_nothing_good_is_said(stopped: Path) -> None:
    for file in (stopped / "checkpoints").glob("*.safetensors"):
        file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"no checkpoint is good: .*sum is wrong; begin anew"):
        find(stopped / "checkpoints")


def leaves(tree: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict):
        return [at]
    return [found for key, value in tree.items() for found in leaves(value, (*at, key))]


def without(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    inner = {k: v for k, v in tree.items() if k != path[0]}
    return inner | {path[0]: without(tree[path[0]], path[1:])} if path[1:] else inner


def restore(saved: SavedRun) -> None:
    """All that a resumed run puts back before it goes on."""
    run = Run(RunRequest(SOURCE, overrides=saved.manifest.run.settings, sinks=[], saved=saved))
    pipeline = run._make_pipeline()
    pipeline.load_state_dict(saved.state, gap=False)
    source = run.source
    begins = run.assembly.begin_pass(source.labels, 0)
    session, _ = run.assembly.build(128, 128, begins)
    session.load_state_dict(part(saved.state, "learning/session"))
    Binner(run.config.binning, 128, 128, pipeline.binner.ledger).load_state_dict(saved.state["stream/binner"])


FREE = ("dropped", "warnings", "layout", "rng", "state/", "saved/", "weights/", "optimizer/", "stretch/")
"""Parts whose fields have no fixed names (what of them is a tensor is named in the manifest), and NumPy's own."""


def test_every_field_that_is_left_out_is_refused_by_name(stopped: Path) -> None:
    saved = CheckpointFolder(stopped / "checkpoints").read(6)
    restore(saved)
    tried = [path for path in leaves(saved.state) if not any(word in "/".join(path) for word in FREE)]
    assert len(tried) > 60
    taken = []
    for path in tried:
        try:
            restore(replace(saved, state=without(saved.state, path)))
        except ModelError as e:
            assert path[-1].rpartition("/")[2] in str(e), path
        else:
            taken.append(path)
    assert not taken


def test_every_tensor_that_is_left_out_is_refused_by_name(stopped: Path) -> None:
    import hashlib

    from safetensors.torch import load_file, save_file

    file = stopped / "checkpoints" / "checkpoint-000006.safetensors"
    tensors = load_file(file)
    folder = CheckpointFolder(stopped / "checkpoints")
    for name in tensors:
        save_file({k: v for k, v in tensors.items() if k != name}, file)
        sum_of = hashlib.sha256(file.read_bytes()).hexdigest()

        def with_sum(text: str, sum_of: str = sum_of) -> str:
            whole = json.loads(text)
            whole["files"][file.name] = sum_of
            return json.dumps(whole)

        rewritten(file.with_suffix(".json"), with_sum)
        with pytest.raises(ModelError, match=f"no field '{name}'"):
            folder.read(6)


def test_a_source_that_has_become_shorter_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (stopped / "checkpoints").glob("*.json"):
        rewritten(file, lambda text: text.replace("presentations=6", "presentations=1"))
    found = find(stopped / "checkpoints")
    assert found.request is not None
    with pytest.raises(Exception, match="had been taken of it before"):
        run(found.request)


def test_lines_that_are_gone_are_missed(stopped: Path) -> None:
    (stopped / "p.jsonl").write_text("")
    with pytest.raises(OutputError, match=r"p\.jsonl: has 0 bytes, and \d+ had been written to it"):
        found = find(stopped / "checkpoints")
        assert found.request is not None
        run(found.request)


# --- the folder --------------------------------------------------------------------------------------------------


def test_a_folder_with_checkpoints_is_not_written_over(stopped: Path) -> None:
    outputs: dict[str, Any] = {"sinks": [], "save": None, "summary": None}
    with pytest.raises(UsageError, match="go on with `stream-ottt resume"):
        run(request(stopped, **outputs))
    assert run(request(stopped, force=True, **outputs)) == 0


def test_a_run_that_has_finished_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stream_ottt.cli.resume import resume as command
    from stream_ottt.run.stopping import Stopping

    run(request(tmp_path / "run"))
    assert command(tmp_path / "run" / "checkpoints", force=False, stopping=Stopping()) == 0
    assert "this run has finished (end, " in capsys.readouterr().err


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    first, second = (CheckpointFolder(tmp_path / "checkpoints") for _ in range(2))
    first.open()
    with pytest.raises(UsageError, match="another run writes its checkpoints there"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_old_checkpoints_and_stretches_that_nobody_needs_go(tmp_path: Path) -> None:
    run(request(tmp_path / "run", {"stream": {"keep_checkpoints": 2}}))
    folder = tmp_path / "run" / "checkpoints"
    kept = sorted(CheckpointFolder(folder).numbers())
    assert len(kept) == 2
    needed = {f"checkpoint-{n:06}.json" for n in kept} | {"finished.json", "lock"}
    for number in kept:
        needed |= set(CheckpointFolder(folder).read(number).manifest.files)
    assert {file.name for file in folder.iterdir()} == needed


def test_checkpoint_every_so_many_timesteps(tmp_path: Path) -> None:
    often, seldom = ({"stream": {"checkpoint_every": every}} for every in ("1", "10"))
    run(request(tmp_path / "often", often))
    run(request(tmp_path / "seldom", seldom))
    written = [len(list(CheckpointFolder(tmp_path / name / "checkpoints").numbers())) for name in ("often", "seldom")]
    assert written[0] > written[1] > 0


def test_stretches_are_written_once(tmp_path: Path) -> None:
    run(request(tmp_path / "run", {"rehearsal": {"max_bytes": 10**6}}))
    folder = CheckpointFolder(tmp_path / "run" / "checkpoints")
    held: dict[int, str] = {}
    for number in sorted(folder.numbers()):
        for i, file in folder.read(number).manifest.stretches.items():
            assert held.setdefault(i, file) == file
    assert len(held) > 10


def test_a_run_goes_on_with_the_classes_that_were_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Assembly.build

    def build_and_name(self: Assembly, *arguments: Any) -> Any:
        session, facts = build(self, *arguments)
        process = session.process

        def name_one(timestep: Timestep) -> StepResult:
            if timestep.index == 30:
                session.classes.add("mug")
            return process(timestep)

        session.process = name_one  # type: ignore[method-assign]
        return session, facts

    monkeypatch.setattr(Assembly, "build", build_and_name)
    whole, named = tmp_path / "whole", {"labels": {"classes": [0, 1, 2], "delay": "35ms"}}
    assert run(request(whole, named)) == 0
    expected, cuts = result(whole), numbers(whole)
    assert [len(line["logits"]) for line in expected["lines"]] == [3] * 30 + [4] * (len(expected["lines"]) - 30)
    label = next(k for k, name in expected["summary"]["classes"].items() if name == "mug")
    sizes = set()
    for upto in cuts[:: len(cuts) // 5]:
        folder = moved_to(whole, tmp_path / str(upto), upto)
        asked = find(folder / "checkpoints").request
        assert asked is not None and asked.saved is not None
        sizes.add(len(asked.saved.classes))
        resumed = Run(asked)
        assert asyncio.run(resumed.go()) == 0
        assert resumed.pipeline.view.facts.classes == (0, 1, 2, int(label))
        same(result(folder), expected)
    assert sizes == {3, 4}

    model = load_checkpoint(whole / "m.safetensors")
    assert model.classes == [0, 1, 2, int(label)] and model.class_names[int(label)] == "mug"
    again = request(tmp_path / "again", {"labels": {"delay": "35ms"}}, load=whole / "m.safetensors", checkpoints=None)
    monkeypatch.setattr(Assembly, "build", build)
    assert run(again) == 0
    assert result(tmp_path / "again")["summary"]["classes"] == expected["summary"]["classes"]


def test_what_was_wrong_before_the_stop_is_named_after_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The events beyond the sensor all come before the checkpoint."""
    events = labelled_events(1, 10)
    x, y = np.where(np.arange(len(events)) < 300, 300, events["x"]), events["y"]
    np.savez(tmp_path / "in.npz", t=events["t"], x=x, y=y, p=events["p"], width=8, height=8)
    made = request(tmp_path / "a", source=str(tmp_path / "in.npz"))
    assert run(made) == 3
    said = capsys.readouterr().err
    assert "the largest x is 300" in said
    folder = moved_to(tmp_path / "a", tmp_path / "b", 2)
    found = find(folder / "checkpoints")
    assert found.request is not None and run(found.request) == 3
    again = capsys.readouterr().err
    assert [line for line in again.splitlines() if "in.npz" in line] == [
        line for line in said.splitlines() if "in.npz" in line and "a guess" not in line
    ]
