"""The table of streams in small, run by run and as its command writes it; runs side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from replay.helpers import small_config, write_collection

from stream_ottt.errors import InputError, UsageError
from stream_ottt.replay.compare import compare
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.protocols import PROTOCOLS
from stream_ottt.replay.report import confusion_table, data_name
from stream_ottt.replay.runs import replay
from stream_ottt.replay.sweep import _folder
from stream_ottt.replay.tables import Table


def quiet(line: str) -> None:
    """Progress is of no interest."""


def test_the_table_of_streams_in_small(tmp_path: Path, call) -> None:
    table = Table.named("streams-tiny")
    configs = {row.name: table.config(row, 0, {}, {}) for row in table.rows}
    for name, config in configs.items():
        replay(config, _folder(tmp_path, name, 0), say=quiet)
    # All is there: the command makes no run, and writes the table.
    code, out, _ = call("bench", "streams-tiny", "--seeds", 1, "--out", tmp_path)
    assert code == 0 and out == (tmp_path / "table.md").read_text()
    heads = [line.split(" | ")[0].strip("| ") for line in out.splitlines() if line.startswith("| ")]
    assert set(configs) <= set(heads)
    for title in (
        "In real time,",
        "Blocks of classes,",
        "until 9 of its latest 10",
        "the near future, another session",
    ):
        assert title in out
    assert "(synthetic" not in out and "| synthetic (duration" in out
    runs = json.loads((tmp_path / "table.json").read_text())["runs"]
    # Real time is this machine's; all else follows from the seed.
    blocks = {r["row"]: r["result"]["accuracy"] for r in runs if "classes in blocks" in r["row"]}
    assert blocks["ER, classes in blocks"] >= blocks["OTTT_O, classes in blocks"]


def test_the_tables_of_streams_have_all_protocols_and_rules() -> None:
    for name in ("streams-tiny", "streams"):
        table = Table.named(name)
        data = {"nmnist": "/x", "objects": "/x"}
        configs = [table.config(row, 0, data, {}) for row in table.rows]
        assert {c.protocol.name for c in configs} == set(PROTOCOLS.names()) - {"epochs"}
        rules = {c.method.name for c in configs}
        assert set(METHODS.names()) - rules == {"ottt_a", "bptt", "sltt", "frozen"}
        assert {c.protocol.speed for c in configs if c.protocol.name == "real-time"} == {1, 2, 4}


def test_rows_without_their_data_are_left_out(tmp_path: Path, call) -> None:
    whole = Table.named("streams")
    scene, absent = whole.with_data({})
    assert absent == ["nmnist", "objects"] and {row.preset for row in scene.rows} == {"scene"}
    some, absent = whole.with_data({"nmnist": "/x"})
    assert absent == ["objects"] and len(scene.rows) < len(some.rows) < len(whole.rows)
    assert whole.with_data({"nmnist": "/x", "objects": "/x"}) == (whole, [])
    needed = Table.named("nmnist-small")  # this one needs its data
    assert needed.with_data({}) == (needed, [])
    code, _, err = call("bench", "streams", "--rows", "nothing of the kind", "--out", tmp_path / "out")
    assert code == 2 and "rows on nmnist, objects are left out" in err


def test_a_table_of_one_s_own(tmp_path: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'title = "mine"\n[[rows]]\nname = "a"\nsettings = { method = { name = "er" } }\n'
    (tmp_path / "mytable.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for name in ("mytable", "mytable.toml"):
        assert Table.named(name).title == "mine"
        assert call("config", "show", name) == (0, text, "")


# --- runs side by side -----------------------------------------------------------------------------------------------


def test_runs_side_by_side(tmp_path: Path, call) -> None:
    data = write_collection(tmp_path / "things.npz")
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, method, lr in zip(folders, ("ottt_o", "ncm", "ottt_o"), (0.01, 0.02, 0.01), strict=True):
        config = small_config(data, method={"name": method}, learner={"lr": lr}, report={"figures": folder.name == "a"})
        replay(config, folder, say=quiet)
    code, out, _ = call("compare", folders[0], folders[1])
    assert code == 0
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in out.splitlines()]
    assert ["`learner.lr`", "0.01", "0.02"] in rows and ["`method.name`", '"ottt_o"', '"ncm"'] in rows
    assert not any("`data.path`" in row for row in rows)
    accuracy = json.loads((folders[0] / "result.json").read_text())["accuracy"]
    assert [row[8] for row in rows if row[0] == str(folders[0])] == [f"{100 * accuracy:.2f}"]
    assert (folders[0] / "curves.png").stat().st_size > 5000
    assert "| truth ↓ said → | 0 | 1 |" in (folders[0] / "row.md").read_text()
    assert compare([folders[0], folders[2]]).count("`") == 2  # report.figures alone


def test_runs_of_a_stream_are_compared_with_each_other_and_beside_a_replay(tmp_path: Path, call) -> None:
    replayed = tmp_path / "replayed"
    replay(small_config(write_collection(tmp_path / "things.npz"), learner={"lr": 0.01}), replayed, say=quiet)
    source = "synthetic:?presentations=2&duration=200ms"
    small = ["--binning.width", "8", "--binning.height", "8", "--network.layers", "4", "--quiet"]
    places = [tmp_path / name for name in "ab"]
    for place, lr in zip(places, ("0.01", "0.02"), strict=True):
        assert call("run", "--source", source, "--record", place, "--learner.lr", lr, *small)[0] == 0
    code, out, _ = call("compare", *places, replayed, places[0] / "summary.json")
    assert code == 0
    summary = json.loads((places[0] / "summary.json").read_text())
    steps, timesteps = f"{summary['accuracy']['steps']:.3f}", summary["timesteps"]
    row = rf"^\| {places[0]} \| {re.escape(source)} \| 2 \|.*\| {steps} \| {timesteps} \| 0 \|$"
    assert re.search(row, out, re.MULTILINE)
    assert re.search(r"^\| `learner.lr` \| 0.01 \| 0.02 \| [^|]+ \| 0.01 \|$", out, re.MULTILINE)
    assert f"| {replayed} | ottt_o |" in out
    (places[0] / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json is missing: the run has not finished"):
        compare(places)
    (places[0] / "summary.json").write_text('{"accuracy": {}}')
    with pytest.raises(InputError, match="no summary of this version"):
        compare(places)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two folders"):
        compare([tmp_path])
    with pytest.raises(InputError, match="no run of replay, and none of run --record, is here"):
        compare([tmp_path, tmp_path])
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="has not finished"):
        compare([tmp_path, tmp_path])
    (tmp_path / "result.json").write_text("[")
    with pytest.raises(InputError, match=r"result\.json"):
        compare([tmp_path, tmp_path])
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(InputError, match="of another version"):
        compare([tmp_path, tmp_path])


@pytest.mark.parametrize(
    ("path", "name", "shown"),
    [
        ("/data/nmnist_800.npz", "stream", "nmnist_800"),
        ("/data/objects?pattern=*.aedat", "stream", "objects"),
        ("synthetic:?seed=3", "stream", "synthetic"),
        ("tonic:DVSGesture?root=/data", "stream", "tonic:DVSGesture"),
        ("/data/cifar", "cifar10", "cifar10"),
    ],
)
def test_data_are_named_by_what_they_are(path: str, name: str, shown: str) -> None:
    assert data_name({"name": name, "path": path}) == shown


def test_the_confusion_as_a_table() -> None:
    table = confusion_table([[0, 0, 3], [0, 1, 1], [1, 1, 5]], ["cup", "pen"])
    assert table.splitlines() == [
        "| truth ↓ said → | cup | pen |",
        "| --- | --- | --- |",
        "| cup | 3 | 1 |",
        "| pen | 0 | 5 |",
        "",
    ]
    assert confusion_table([[0, 0, 3]], [str(i) for i in range(13)]) == ""


def test_the_confusion_is_drawn_with_its_counts() -> None:
    from stream_ottt.replay.figures import _confusion, new_figure

    _, (axis,) = new_figure()
    _confusion(axis, [[0, 0, 3], [0, 1, 1], [2, 1, 5]], ["a", "b", "c"])
    assert axis.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 1, 0]]
    assert sorted((t.get_position(), t.get_text()) for t in axis.texts) == [((0, 0), "3"), ((1, 0), "1"), ((1, 2), "5")]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["a", "b", "c"]
