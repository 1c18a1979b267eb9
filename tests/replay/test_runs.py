"""Runs as a user sees them: the folder, going on after a kill, the protocols' figures, tables, several processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from replay.helpers import small_config, write_collection
from safetensors.torch import load_file

from stream_ottt.errors import UsageError
from stream_ottt.replay.analysis.transfer import backward_transfer, forgetting
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.distributed import World
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.methods.base import Method
from stream_ottt.replay.protocols.drift import Drift, recovery
from stream_ottt.replay.report import percent
from stream_ottt.replay.runs import replay
from stream_ottt.run.model_file import load_checkpoint


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("data") / "two.npz")


def quiet(line: str) -> None:
    """Progress is of no interest."""


class Killed(BaseException):
    """What ends a run in the middle."""


def stop_at(interval: int):
    def say(line: str) -> None:
        if line.startswith(f"{interval}/"):
            raise Killed

    return say


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_says_how_much_is_done_and_a_resumed_one_goes_on_there(collection: Path, tmp_path: Path) -> None:
    config = small_config(collection, protocol={"epochs": 4, "batch_size": 4})
    shares: list[float] = []
    with pytest.raises(Killed):
        replay(config, tmp_path / "run", say=stop_at(2), at=shares.append)
    assert shares[0] == 0.0 and shares == sorted(shares) and 0.25 < shares[-1] < 0.5
    shares.clear()
    replay(config, tmp_path / "run", say=quiet, at=shares.append)
    assert shares[0] == 0.5 and shares == sorted(shares) and 0.75 < shares[-1] < 1.0


KINDS: dict[str, dict[str, Any]] = {
    "epochs, dropout, adam": {
        "protocol": {"epochs": 3, "batch_size": 4},
        "network": {"dropout": 0.3},
        "learner": {"optimizer": "adam", "lr": 0.01},
        "transform": {"crop": 1},
    },
    "epochs, cosine, fast engine": {"protocol": {"epochs": 3}, "learner": {"schedule": "cosine"}},
    "epochs, rehearsal, bptt": {
        "protocol": {"epochs": 2},
        "rehearsal": {"mode": "ratio", "ratio": 2},
        "method": {"name": "bptt"},
    },
    "prequential": {
        "protocol": {"name": "prequential", "interval": 5},
        "rehearsal": {"mode": "ratio", "ratio": 1, "stretch": 2, "shift": 1, "zoom": 1.2},
        "learner": {"lr": 0.01},
    },
    "class-incremental": {
        "learner": {"lr": 0.01},
        "protocol": {"name": "class-incremental", "block": 1, "epochs": 2},
        "rehearsal": {"mode": "ratio", "ratio": 1},
    },
    "drift": {"protocol": {"name": "drift", "drift": "orientation", "interval": 6}},
}


@pytest.mark.parametrize("tables", KINDS.values(), ids=KINDS)
def test_a_killed_run_goes_on_to_the_same_end(tables: dict[str, Any], collection: Path, tmp_path: Path) -> None:
    config = small_config(collection, **tables)
    whole = replay(config, tmp_path / "whole", say=quiet)
    with pytest.raises(Killed):
        replay(config, tmp_path / "cut", say=stop_at(1))
    assert not (tmp_path / "cut" / "result.json").exists()
    heard: list[str] = []
    resumed = replay(config, tmp_path / "cut", say=heard.append)
    assert "goes on after interval 1 of" in heard[0]
    for key in ("accuracy", "kappa", "matrix", "prequential"):
        assert resumed.get(key) == whole.get(key)
    ends = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert ends[0].keys() == ends[1].keys()
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, rtol=0, atol=1e-6, msg=key)
    timeless = [
        [{k: v for k, v in row.items() if "seconds" not in k} for row in rows(tmp_path / name)]
        for name in ("whole", "cut")
    ]
    assert timeless[0] == timeless[1]


def test_the_folder_of_a_run(collection: Path, tmp_path: Path) -> None:
    report = {"figures": True, "tensorboard": True, "activity": 8, "alignment": 4}
    config = small_config(collection, protocol={"epochs": 2}, report=report, compute={"seed": 5})
    out = tmp_path / "run"
    result = replay(config, out, say=quiet)
    assert json.loads((out / "result.json").read_text()) == json.loads(json.dumps(result))
    assert ReplayConfig.load(json.loads((out / "settings.json").read_text())) == config
    about = json.loads((out / "provenance.json").read_text())
    assert about["versions"]["torch"] == version("torch") and about["machine"] and about["command"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").glob("events.*"))
    row = (out / "row.md").read_text()
    assert "ottt_o" in row and "duration 10ms" in row and "seed 5" in row and about["versions"]["commit"] in row
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert result["samples"] == {"train": 16, "test": 8}
    assert len(result["alignment"]) == 3 and 0 < result["alignment"][0]["bptt"]["all"] <= 1
    layer = result["activity"]["layers"]["conv1"]
    assert layer["neurons"] == 4 * 8 * 8
    assert layer["spikes_per_neuron"] == pytest.approx(layer["firing_rate"] * 4)
    assert not list(out.glob("*.partial"))
    # The model serves `run --load`.
    model = load_checkpoint(out / "model.safetensors")
    assert model.settings["network"]["layers"] == [4] and model.class_names == {0: "0", 1: "1"}

    said: list[str] = []
    assert replay(config, out, say=said.append)["accuracy"] == result["accuracy"] and "finished" in said[0]
    with pytest.raises(UsageError, match="other settings"):
        replay(small_config(collection, compute={"seed": 6}), out, say=quiet)


@pytest.mark.parametrize("name", ["ottt_o", "ottt_a", "bptt", "sltt", "frozen"])
def test_every_method_learns_what_is_easy(name: str, collection: Path, tmp_path: Path) -> None:
    config = small_config(collection, method={"name": name}, protocol={"epochs": 6}, learner={"lr": 0.05})
    assert replay(config, tmp_path, say=quiet)["best_accuracy"] >= 0.9


def test_a_process_killed_at_once_goes_on(collection: Path, tmp_path: Path) -> None:
    options = [
        *("--data", str(collection), "--data.window", "10ms", "--data.time_steps", "4", "--data.cache", "off"),
        *("--data.test", "8", "--network.layers", "[4]", "--protocol.epochs", "300", "--report.figures", "false"),
        *("--method.name", "bptt", "--report.activity", "0", "--out", str(tmp_path / "run")),
    ]
    command = [sys.executable, "-m", "stream_ottt.replay", *options]
    metrics = tmp_path / "run" / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not metrics.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = len(metrics.read_text().splitlines())
    assert 1 <= done < 300
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert abs(len(checkpoint.settings["progress"]["rows"]) - done) <= 1
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    heard: list[str] = []

    def say(line: str) -> None:
        heard.append(line)
        if len(heard) == 2:
            raise Killed

    with pytest.raises(Killed):
        replay(ReplayConfig.load(settings), tmp_path / "run", say=say)
    assert "goes on after interval" in heard[0] and int(heard[1].split("/")[0]) > done


# --- protocols -------------------------------------------------------------------------------------------------------


class LastLabel(Method):
    """Says what it was told last: the no-change classifier."""

    name = "last-label"
    said = 0

    def learn(self, frames, targets):
        out = torch.stack([self._logits(frame) for frame in frames])
        self.said = int(targets[-1])
        return out

    def predict(self, frames):
        return torch.stack([self._logits(frame) for frame in frames])

    def _logits(self, frame):
        return torch.eye(2)[self.said].expand(len(frame), 2)


def test_prequential_scores_before_it_learns(collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On alternating labels, who says the last one is always wrong, and never in the eyes of one that peeks."""
    monkeypatch.setitem(METHODS._targets, "last-label", "someones_package:LastLabel")
    monkeypatch.setitem(sys.modules, "someones_package", SimpleNamespace(LastLabel=LastLabel))
    config = small_config(
        collection, method={"name": "last-label"}, protocol={"name": "prequential", "order": "recorded"}
    )
    result = replay(config, tmp_path, say=quiet)
    # The first label is 0, which it also says before it was told any.
    assert result["accuracy"] == 1 / 16
    assert result["prequential"]["no_change"] == 0 and result["prequential"]["kappa_t"] == pytest.approx(1 / 16)


def test_forgetting_and_backward_transfer_by_hand() -> None:
    matrix = [[0.9, 0.0, 0.1], [0.5, 0.8, 0.1], [0.6, 0.3, 0.7]]
    assert forgetting(matrix) == pytest.approx(((0.9 - 0.6) + (0.8 - 0.3)) / 2)
    assert backward_transfer(matrix) == pytest.approx(((0.6 - 0.9) + (0.3 - 0.8)) / 2)
    assert forgetting([[1.0]]) is None and backward_transfer([[1.0]]) is None


def test_recovery_is_counted_from_the_change() -> None:
    hits = [True] * 30 + [False] * 12 + [True] * 18
    assert recovery(hits, 30, window=5, share=0.8) == 12 + 4
    assert recovery([True] * 30 + [False] * 30, 30, window=5, share=0.8) is None
    assert recovery([True] * 60, 30, window=5, share=1.0) == 5


def test_class_incremental_shows_only_the_block_s_classes(collection: Path, tmp_path: Path) -> None:
    tables = {"protocol": {"name": "class-incremental", "block": 1, "epochs": 3}, "learner": {"lr": 0.05}}
    result = replay(small_config(collection, **tables), tmp_path / "plain", say=quiet)
    assert np.array(result["matrix"]).shape == (2, 2)
    assert result["matrix"][0] == [1.0, 0.0] and result["matrix"][1][1] == 1.0
    assert result["backward_transfer"] == -result["forgetting"]
    seen = [{truth for truth, _ in row["outcomes"]} for row in rows(tmp_path / "plain")]
    assert seen == [{0}, set(), set(), {1}, set(), set()]


def test_another_session_follows_the_first(collection: Path, tmp_path: Path) -> None:
    other = write_collection(tmp_path / "other.npz", 10, seed=9)
    config = small_config(
        collection, protocol={"name": "drift", "drift": "session"}, data={"test_path": str(other)}, learner={"lr": 0.05}
    )
    result = replay(config, tmp_path / "run", say=quiet)
    assert result["change_at"] == 24 and result["recovery_samples"] is not None
    assert sum(len(row["outcomes"]) for row in rows(tmp_path / "run")) == 24 + 8
    assert 0 < result["accuracy"] <= 1 and result["after"]["presentations"] is not None


def test_drifts_of_frames(collection: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 9, (4, 2, 8, 8), dtype=np.uint8)

    def changed(drift: str) -> np.ndarray:
        config = small_config(collection, protocol={"name": "drift", "drift": drift, "drift_share": 0.25})
        return Drift(config, open_dataset(config.data)).change(raw, 5)

    assert (changed("polarity") == raw[:, ::-1]).all()
    assert (changed("orientation") == np.rot90(raw, axes=(2, 3))).all()
    less = changed("contrast")
    assert (less <= raw).all() and 0.2 < less.sum() / raw.sum() < 0.3 and (less == changed("contrast")).all()


def test_inconsistent_settings_are_named() -> None:
    for tables, text in (
        ({"protocol": {"name": "drift", "drift": "session"}}, "data.test_path"),
        ({"rehearsal": {"mode": "idle"}}, "is for streams"),
        ({"transform": {"mean": [1.0]}}, "equally long"),
        ({"transform": {"resized_crop": True}}, "keep_aspect"),
        ({"method": {"truncatoin": 3}}, "did you mean 'truncation'"),
    ):
        with pytest.raises(UsageError, match=text):
            ReplayConfig.load(tables)
    with pytest.raises(UsageError, match="did you mean 'ottt_o'"):
        METHODS.get("ottt_0")


# --- several processes -----------------------------------------------------------------------------------------------


def test_shares_cover_a_batch() -> None:
    batch = list("abcdefg")
    parts = [World(rank, 3).share(batch) for rank in range(3)]
    assert [p for own, _ in parts for p in own] == batch and sum(s for _, s in parts) == pytest.approx(1)
    assert World(2, 3).share(["a"]) == (["a"], 0.0)


SCRIPT = """
import sys, json
from importlib.metadata import version
from pathlib import Path
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.distributed import join_world
from stream_ottt.replay.runs import replay
settings, out = json.loads(sys.argv[1]), Path(sys.argv[2])
with join_world("cpu") as world:
    for name in ("ottt_o", "ottt_a"):
        settings["method"] = {"name": name}
        replay(ReplayConfig.load(settings), out / name, world=world, say=lambda line: None)
"""


def test_two_processes_on_half_the_batch_train_the_same_weights(collection: Path, tmp_path: Path) -> None:
    """The last batch of a pass has a single sample, so that one process is left without any."""
    learner = {"lr": 0.05, "schedule": "cosine"}
    tables = {"protocol": {"epochs": 2}, "learner": learner, "data": {"train": 13}}
    settings = small_config(collection, **tables).model_dump(mode="json")
    for name in ("ottt_o", "ottt_a"):
        settings["method"], settings["protocol"]["batch_size"] = {"name": name}, 6
        replay(ReplayConfig.load(settings), tmp_path / "1" / name, say=quiet)
    settings["protocol"]["batch_size"] = 3
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    # What torchrun gives its processes.
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(settings), str(tmp_path / "2")]
    processes = [
        subprocess.Popen(command, env=os.environ | world | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    for name in ("ottt_o", "ottt_a"):
        one, two = weights(tmp_path / "1" / name), weights(tmp_path / "2" / name)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=0, atol=1e-5, msg=f"{name} {key}")
        results = [json.loads((tmp_path / n / name / "result.json").read_text()) for n in ("1", "2")]
        assert results[0]["accuracy"] == results[1]["accuracy"]


def test_only_epochs_is_shared_by_processes(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one stream"):
        replay(small_config(collection, protocol={"name": "prequential"}), tmp_path, world=World(0, 2))
    with pytest.raises(UsageError, match="rehearsal"):
        replay(small_config(collection, rehearsal={"mode": "ratio"}), tmp_path, world=World(0, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_cuda_agree(collection: Path, tmp_path: Path) -> None:
    ends = []
    for device in ("cpu", "cuda"):
        config = small_config(collection, protocol={"batch_size": 4}, compute={"device": device}, learner={"lr": 0.01})
        replay(config, tmp_path / device, say=quiet)
        ends.append(weights(tmp_path / device))
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_without_a_cuda_device_the_message_says_so(collection: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        return
    with pytest.raises(UsageError, match="no CUDA device"):
        replay(small_config(collection, compute={"device": "cuda"}), tmp_path, say=quiet)


def test_mean_and_deviation_over_seeds() -> None:
    assert percent([0.9, 0.92, 0.94]) == "92.00 ± 2.00" and percent([0.5]) == "50.00" and percent([None]) == "–"
