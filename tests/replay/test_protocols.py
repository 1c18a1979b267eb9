"""The protocols' figures against their formulas, written out here, and their orders of classifying and learning."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay.helpers import small_config, write_collection

from stream_ottt.errors import UsageError
from stream_ottt.replay.analysis.new_classes import time_to_know
from stream_ottt.replay.analysis.transfer import transfer_figures
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.protocols.base import score_presentations
from stream_ottt.replay.runs import replay
from stream_ottt.replay.workbench import Workbench


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("data") / "two.npz")


def quiet(line: str) -> None:
    """Progress is of no interest."""


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- figures ---------------------------------------------------------------------------------------------------------


def test_transfer_by_its_formulas() -> None:
    rng = np.random.default_rng(0)
    blocks, tests = 4, 3
    a = rng.random((blocks, tests, blocks))
    r, b = a[:, -1], rng.random(blocks)
    found = transfer_figures(r.tolist(), b.tolist(), a.tolist())
    t = blocks
    assert found["accuracy_seen"] == pytest.approx([r[i, : i + 1].mean() for i in range(t)])
    assert found["accuracy_all"] == pytest.approx(r.mean(1).tolist())
    assert found["accuracy_seen_average"] == pytest.approx(np.mean([r[i, : i + 1].mean() for i in range(t)]))
    assert found["accuracy_all_average"] == pytest.approx(r.mean())
    any_seen = [a[i, h, : i + 1].mean() for i in range(t) for h in range(tests)]
    assert found["anytime_seen"] == pytest.approx(any_seen)
    assert found["anytime_seen_average"] == pytest.approx(np.mean(any_seen))
    assert found["anytime_all_average"] == pytest.approx(a.mean())
    expected = {"forgetting": 0.0, "backward_transfer": 0.0, "forward_transfer": 0.0}
    for j in range(t - 1):
        expected["forgetting"] += (max(r[i, j] for i in range(j, t - 1)) - r[t - 1, j]) / (t - 1)
        expected["backward_transfer"] += (r[t - 1, j] - r[j, j]) / (t - 1)
        expected["forward_transfer"] += (r[j, j + 1] - b[j + 1]) / (t - 1)
    below, above = np.tril_indices(t, -1), np.triu_indices(t, 1)
    expected["backward_transfer_all"] = (r - np.diag(r))[below].sum() * 2 / (t * (t - 1))
    expected["forward_transfer_all"] = r[above].sum() * 2 / (t * (t - 1))
    assert {k: found[k] for k in expected} == pytest.approx(expected)
    alone = transfer_figures([[0.5]], [0.1], [[[0.5]]])
    assert all(alone[key] is None for key in expected) and alone["accuracy_seen_average"] == 0.5


CAPYMOA = """
import importlib.util, json, sys
import capymoa, numpy as np, torch
from capymoa.evaluation import ClassificationEvaluator
from capymoa.stream import Schema
from pathlib import Path
spec = importlib.util.spec_from_file_location("m", Path(capymoa.__file__).parent / "ocl/evaluation/_metrics.py")
m = importlib.util.module_from_spec(spec)
sys.modules["m"] = m
spec.loader.exec_module(m)
given = json.loads(sys.stdin.read())
schema = Schema.from_custom(["a", "y"], "y", categories={"y": ["0", "1", "2", "3"]}, name="x")
evaluator = ClassificationEvaluator(schema=schema)
for truth, said in given["outcomes"]:
    evaluator.update(truth, said)
r = torch.tensor(given["matrix"], dtype=torch.float64)
found = [evaluator.accuracy(), evaluator.kappa(), evaluator.kappa_t()]
print(json.dumps([*(v / 100 for v in found), m._backwards_transfer(r), m._forwards_transfer(r)]))
"""


@pytest.mark.skipif(find_spec("capymoa") is None or shutil.which("java") is None, reason="needs CapyMOA and Java")
def test_capymoa_says_the_same_of_the_same_predictions() -> None:
    """Where CapyMOA is installed (half a gigabyte with what it needs, so that it is in no extra)."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 400)
    outcomes = np.stack([truth, np.where(rng.random(400) < 0.6, truth, rng.integers(0, 4, 400))], 1).tolist()
    matrix = rng.random((4, 4)).tolist()
    given = json.dumps({"outcomes": outcomes, "matrix": matrix})
    said = subprocess.run([sys.executable, "-c", CAPYMOA], input=given, capture_output=True, text=True, check=True)
    score = score_presentations(ReplayConfig(), outcomes, 4)
    ours = [score[key] for key in ("presentations", "kappa", "kappa_t")]
    transfer = transfer_figures(matrix, [0.0] * 4, [[row] for row in matrix])
    ours += [transfer["backward_transfer_all"], transfer["forward_transfer_all"]]
    assert json.loads(said.stdout.splitlines()[-1]) == pytest.approx(ours)


def test_time_to_know_a_class() -> None:
    """Class 1 comes at 5; every second sample is of it. Its 6th to 8th are wrong."""
    own = [1] * 5 + [0] * 3 + [1] * 20
    outcomes = [[0, 0]] * 5
    for said in own:
        outcomes += [[1, said], [0, 0]]
    [zero, one] = time_to_know(outcomes, sample_us=50_000)
    assert zero == {"label": 0, "first": 0, "own": 10, "samples": 15, "seconds": 0.75}
    # Nine were right by its 12th, but its first ten in a row with one mistake at most are its 8th to 17th.
    assert one == {"label": 1, "first": 5, "own": 17, "samples": 33, "seconds": 1.65}
    [never] = time_to_know([[3, 0]] * 50)
    assert never == {"label": 3, "first": 0, "own": None, "samples": None, "seconds": None}


# --- orders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What a run classifies and learns, in order: ("say" or "learn", the sample's key); tests are left out."""
    happened: list[tuple[str, str]] = []
    say, start = Workbench.say, Workbench.__init__

    def said(self: Workbench, items: Any, raws: Any) -> list[int]:
        happened.extend(("say", item.key) for item in items)
        return say(self, items, raws)

    def watch(self: Workbench, *args: Any, **options: Any) -> None:
        start(self, *args, **options)
        learn, make = self.method.learn, self.loader.tensors
        latest: list[str] = []

        def made(raws: Any, items: Any, *rest: Any, **more: Any) -> Any:
            latest[:] = [item.key for item in items]
            return make(raws, items, *rest, **more)

        def learned(frames: Any, targets: Any) -> Any:
            happened.extend(("learn", key) for key in latest)
            return learn(frames, targets)

        self.loader.tensors = made  # type: ignore[method-assign]
        self.method.learn = learned  # type: ignore[method-assign]

    monkeypatch.setattr(Workbench, "__init__", watch)
    monkeypatch.setattr(Workbench, "say", said)
    return happened


def keys(happened: list[tuple[str, str]], what: str) -> list[str]:
    return [key for kind, key in happened if kind == what]


def test_labels_come_late(collection: Path, tmp_path: Path, order: list[tuple[str, str]]) -> None:
    protocol = {"name": "prequential", "interval": 5, "label_delay": 3}
    replay(small_config(collection, protocol=protocol), tmp_path / "late", say=quiet)
    said, learned = keys(order, "say"), keys(order, "learn")
    assert len(said) == 16 and learned == said[:-3]  # those of the last three have not come
    for n, key in enumerate(learned):
        before = [k for kind, k in order[: order.index(("learn", key))] if kind == "say"]
        assert len(before) == n + 4  # its own and three more


def test_the_near_future_is_classified_before_it_is_near(
    collection: Path, tmp_path: Path, order: list[tuple[str, str]]
) -> None:
    protocol = {"name": "prequential", "interval": 5, "near_future": 3}
    result = replay(small_config(collection, protocol=protocol), tmp_path / "near", say=quiet)
    learned = keys(order, "learn")
    for n, key in enumerate(learned[:-3]):
        at = order.index(("learn", key))
        assert order[at - 2 : at] == [("say", key), ("say", learned[n + 3])]
    future = [pair for row in rows_of(tmp_path / "near") for pair in row["near_future"]]
    assert len(future) == 13
    assert result["near_future_accuracy"] == sum(a == b for a, b in future) / 13
    # It is what a stream with labels as late as that would say of the same samples.
    late = {"name": "prequential", "interval": 5, "label_delay": 3}
    replay(small_config(collection, protocol=late), tmp_path / "late", say=quiet)
    assert [p for row in rows_of(tmp_path / "late") for p in row["outcomes"]][3:] == future


def test_classes_in_blocks_are_tested_anytime(collection: Path, tmp_path: Path) -> None:
    protocol = {"name": "class-incremental", "block": 1, "epochs": 2, "evaluations": 4}
    result = replay(small_config(collection, protocol=protocol, learner={"lr": 0.01}), tmp_path / "run", say=quiet)
    rows = rows_of(tmp_path / "run")
    assert [len(row["anytime_accuracy"]) for row in rows] == [2, 2, 2, 2]
    assert len(result["anytime_seen"]) == 8 and len(rows[0]["untrained_accuracy"]) == 2
    assert result["matrix"] == [rows[1]["anytime_accuracy"][-1], rows[3]["anytime_accuracy"][-1]]
    assert result["accuracy_all"][-1] == pytest.approx(result["accuracy"])  # as many samples in each block
    assert result["forward_transfer"] == result["matrix"][0][1] - rows[0]["untrained_accuracy"][1]
    assert sum(count for *_, count in result["confusion"]) == 8
    assert result["accuracy"] == sum(n for a, b, n in result["confusion"] if a == b) / 8


# --- real time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "in_time", "learned"),
    [
        # Samples of 40 ms; 30 ms to say and 30 ms to learn. At half the speed all is in time.
        (0.5, [1] * 16, 16),
        # The first is taken at 40 and learned at 100; the second is taken then, and said at 130, due at 120. The third
        # is taken at 130 and said at 160, just when it is due. Learned at 190: the fourth is late by 20 ms.
        (1.0, [1, 0, *[1, 0, 0] * 4, 1, 0], 6),
        # A sample lasts 20 ms: no answer is ever in time.
        (2.0, [0] * 16, 0),
    ],
)
def test_only_what_is_said_in_time_counts(
    speed: float, in_time: list[int], learned: int, collection: Path, tmp_path: Path, order: list[tuple[str, str]]
) -> None:
    costs = {"predict_cost": "30ms", "learn_cost": "30ms"}
    protocol = {"name": "real-time", "interval": 5, "speed": speed, **costs}
    result = replay(small_config(collection, protocol=protocol), tmp_path / "run", say=quiet)
    outcomes = [pair for row in rows_of(tmp_path / "run") for pair in row["outcomes"]]
    assert [int(said >= 0) for _, said in outcomes] == in_time
    assert result["in_time"] == sum(in_time) / 16 and result["learned"] == learned / 16
    assert result["accuracy"] == sum(a == b for a, b in outcomes) / 16
    assert len(keys(order, "learn")) == learned


def test_a_killed_real_time_run_goes_on_at_its_clock(collection: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def stop(line: str) -> None:
        raise Killed

    protocol = {"name": "real-time", "interval": 5, "predict_cost": "30ms", "learn_cost": "31ms"}
    config = small_config(collection, protocol=protocol)
    replay(config, tmp_path / "whole", say=quiet)
    with pytest.raises(Killed):
        replay(config, tmp_path / "cut", say=stop)
    replay(config, tmp_path / "cut", say=quiet)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")


def test_this_machine_s_own_time(collection: Path, tmp_path: Path) -> None:
    """A sample that lasts 4000 s is said and learned in time; one of 4 ns is not."""
    for speed, share in ((1e-5, 1.0), (1e7, 0.0)):
        protocol = {"name": "real-time", "speed": speed}
        result = replay(small_config(collection, protocol=protocol), tmp_path / str(speed), say=quiet)
        assert result["in_time"] == result["learned"] == share


@pytest.mark.parametrize("tables", [{"protocol": {"batch_size": 2}}, {"data": {"binning": "equal-count"}}])
def test_samples_without_a_time_of_their_own_are_refused(
    tables: dict[str, Any], collection: Path, tmp_path: Path
) -> None:
    protocol = {"name": "real-time", **tables.get("protocol", {})}
    with pytest.raises(UsageError, match="real-time"):
        replay(small_config(collection, **{**tables, "protocol": protocol}), tmp_path / "run", say=quiet)


# --- sessions --------------------------------------------------------------------------------------------------------


def test_learned_in_one_session_and_tested_in_another(collection: Path, tmp_path: Path) -> None:
    """The other session's camera was turned: its classes lie in rows, and are not told apart by columns."""
    with np.load(collection) as found:
        turned = dict(found)
    turned["x"], turned["y"] = turned["y"], turned["x"]
    np.savez(tmp_path / "other.npz", **turned)
    data = {"test_path": str(tmp_path / "other.npz"), "test": 8}
    protocol = {"name": "sessions", "interval": 8}
    config = small_config(collection, data=data, protocol=protocol, learner={"lr": 0.01})
    result = replay(config, tmp_path / "run", say=quiet)
    assert result["own_session"] > 0.9 and result["other_session"] <= 0.75
    assert result["accuracy"] == result["other_session"] == result["other_session_over_time"][-1]
    assert result["gap"] == result["own_session"] - result["other_session"]
    assert len(result["other_session_over_time"]) == 3
    assert result["other_session"] == sum(n for a, b, n in result["confusion"] if a == b) / 8
    with pytest.raises(UsageError, match=r"data\.test_path"):
        small_config(collection, protocol={"name": "sessions"})
