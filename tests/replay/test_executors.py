"""Runs in processes and on a cluster: the same results, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import threading
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest
from replay.cluster import cluster, kill_always, kill_once
from replay.helpers import write_collection
from safetensors.torch import load_file

from stream_ottt.errors import UsageError
from stream_ottt.replay.executors import ATTEMPTS, open_executor, results
from stream_ottt.replay.runs import replay
from stream_ottt.replay.sweep import run_table
from stream_ottt.replay.tables import Table

TABLE = """
title = "Two rows"
[base]
data = { path = "{here}/c.npz", test = 8, time_steps = 2, cache = "off" }
network = { layers = [2] }
protocol = { epochs = 25 }
[base.report]
figures = false
activity = 0
[[rows]]
name = "OTTT_O"
[[rows]]
name = "no data"
settings = { data = { path = "{here}/missing.npz" } }
"""


def table_of(folder: Path) -> Table:
    write_collection(folder / "c.npz")
    (folder / "two.toml").write_text(TABLE)
    return Table.named(str(folder / "two.toml"))


def outcome(folder: Path) -> tuple[list[Any], dict[str, Any]]:
    """What a run came to: the accuracies of its epochs, and its weights."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    weights = {name: value.tolist() for name, value in load_file(folder / "checkpoint.safetensors").items()}
    return [(row["train_accuracy"], row["test_accuracy"]) for row in rows], weights


def test_a_cluster_gives_what_one_process_gives_and_makes_lost_runs_again(tmp_path: Path) -> None:
    table, data = table_of(tmp_path), {"here": str(tmp_path)}
    out, said = tmp_path / "cluster", list[str]()
    failed: list[int] = []
    with cluster(tmp_path) as workers:
        first = workers.add()
        shares: list[float] = []
        how: dict[str, Any] = {"jobs": 1, "seeds": [0, 1], "scheduler": workers.address}
        how |= {"say": said.append, "at": shares.append}
        sweep = threading.Thread(target=lambda: failed.append(run_table(table, data, out, **how)))
        sweep.start()
        tick, begun = threading.Event(), [out / "ottt-o" / f"seed-{seed}" / "metrics.jsonl" for seed in (0, 1)]
        while not any(path.exists() for path in begun):
            assert sweep.is_alive()
            tick.wait(0.005)
        os.kill(first.pid, signal.SIGKILL)
        assert not all(path.with_name("result.json").exists() for path in begun)
        workers.add()
        sweep.join()
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert failed == [2]  # one row has no data, and that says so for each seed
    assert sum("FAILED" in line and "missing.npz" in line for line in said) == 2
    for seed in (0, 1):
        here = tmp_path / f"here-{seed}"
        replay(table.config(table.rows[0], seed, data, {}), here, say=lambda line: None)
        assert outcome(out / "ottt-o" / f"seed-{seed}") == outcome(here)


def test_two_workers_are_at_work_at_once_and_what_a_lost_one_did_is_done_again(tmp_path: Path) -> None:
    def meet(folder: str, n: int) -> int:  # sent by value: the workers cannot import the tests
        import os
        import signal
        import time
        from pathlib import Path

        Path(folder, f"begun-{n}").touch()
        while not Path(folder, f"begun-{1 - n}").exists():
            time.sleep(0.005)
        if n == 1 and not (mark := Path(folder, "killed")).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with cluster(tmp_path) as workers:
        workers.add()
        workers.add()
        calls = {n: (str(tmp_path), n) for n in (0, 1)}
        assert {n: future.result() for n, future in results(calls, meet, 1, workers.address)} == {0: 0, 1: 1}
    assert (tmp_path / "killed").exists()


def test_what_a_killed_process_took_with_it_is_made_again(tmp_path: Path) -> None:
    calls = {n: (str(tmp_path / "mark"), n) for n in range(3)}
    assert {n: future.result() for n, future in results(calls, kill_once, 2)} == {0: 0, 1: 1, 2: 4}


def test_what_is_killed_each_time_fails_in_the_end() -> None:
    (found,) = results({7: (7,)}, kill_always, 1)
    assert found[0] == 7 and isinstance(found[1].exception(), BrokenExecutor)
    assert ATTEMPTS > 1


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_no_scheduler(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.replay.executors.CONNECT_S", 0.2)
    with pytest.raises(UsageError, match="dask scheduler"), open_executor(1, address):
        pass
