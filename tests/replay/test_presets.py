"""What comes with the package can be read: presets, tables, the commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from replay.helpers import write_collection

from stream_ottt.cli import main
from stream_ottt.errors import UsageError
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import DATASETS
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.tables import Table, parse_data
from stream_ottt.run.presets import REPLAYS, TABLES


@pytest.mark.parametrize("name", REPLAYS.names())
def test_presets_are_valid(name: str) -> None:
    config = ReplayConfig.load(REPLAYS.read(name))
    assert config.data.name in DATASETS.names()


@pytest.mark.parametrize("name", TABLES.names())
def test_tables_are_valid(name: str) -> None:
    table = Table.named(name)
    assert len({row.name for row in table.rows}) == len(table.rows)
    data = dict.fromkeys(["cifar10", "cifar100", "cifar10-dvs", "dvs-gesture", "imagenet", "nmnist", "objects"], "/x")
    for row in table.rows:
        config = table.config(row, 2, data, {})
        assert config.compute.seed == 2 and config.method.name in METHODS.names()
        assert config.data.name in DATASETS.names() and "{" not in config.data.path


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'cifar100'"):
        REPLAYS.read("cifar-100")
    with pytest.raises(UsageError, match="unknown table"):
        Table.named("nothing")
    table = Table.named(TABLES.names()[0])
    with pytest.raises(UsageError, match="--data"):
        table.config(table.rows[0], 0, {}, {})
    with pytest.raises(UsageError, match="NAME=PATH"):
        parse_data(["nmnist"])


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["stream-ottt", *words])
    with pytest.raises(SystemExit) as e:
        main()
    return int(e.value.code or 0)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "replay", "--list") == 0 and "cifar10-dvs" in capsys.readouterr().out
    assert command(monkeypatch, "bench") == 0 and "small" in capsys.readouterr().out
    assert (
        command(
            monkeypatch, "replay", "--config", "cifar10", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "x")
        )
        == 3
    )
    assert not (tmp_path / "x").exists()
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "cifar.html" in captured.err
    assert command(monkeypatch, "replay", "--metod", "bptt") == 2
    assert "did you mean '--method'" in capsys.readouterr().err
    options = ["--data.test", "8", "--data.cache", "off", "--network.layers", "[4]", "--report.figures", "false"]
    data = str(write_collection(tmp_path / "c.npz"))
    out = str(tmp_path / "run")
    assert command(monkeypatch, "replay", "--data", data, "--method", "frozen", "--out", out, *options) == 0
    captured = capsys.readouterr()
    assert "| frozen |" in captured.out and "accuracy" in captured.err


TABLE = """
title = "Two that run and one that does not"
note = "A note."
[base]
data = { path = "{here}/c.npz", test = 8, time_steps = 2, cache = "off" }
network = { layers = [4] }
report = { figures = false, activity = 0 }
[[rows]]
name = "plain"
settings = { method = { name = "frozen" } }
[[rows]]
name = "broken"
settings = { data = { path = "{here}/missing.npz" } }
"""


def test_a_sweep_goes_on_past_a_failure_and_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_collection(tmp_path / "c.npz")
    (tmp_path / "table.toml").write_text(TABLE)
    words = ["bench", str(tmp_path / "table.toml"), "--data", f"here={tmp_path}", "--out", str(tmp_path / "out")]
    assert command(monkeypatch, *words, "--jobs", "2", "--seeds", "1") == 1
    captured = capsys.readouterr()
    table = (tmp_path / "out" / "table.md").read_text()
    assert captured.out == table and "| plain | frozen |" in table and "A note." in table
    assert "- failed: broken, seed 0" in table and "missing.npz" in table and "FAILED" in captured.err
    assert (tmp_path / "out" / "broken" / "seed-0" / "error.txt").exists()
    assert "(epochs.png)" in table and (tmp_path / "out" / "epochs.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "out" / "plain" / "seed-0" / "result.json").stat().st_mtime_ns
    assert command(monkeypatch, *words, "--rows", "plain", "--seeds", "1") == 0
    assert (tmp_path / "out" / "plain" / "seed-0" / "result.json").stat().st_mtime_ns == written
