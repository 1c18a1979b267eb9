"""The benchmark of plasticity: its tasks and its table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.replay.config import MethodConfig


@pytest.fixture(scope="module")
def plasticity() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "plasticity.py"
    spec = importlib.util.spec_from_file_location("plasticity", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plasticity"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ottt_o", "cbp"])
def test_a_task_at_the_start_is_learned(plasticity: ModuleType, name: str) -> None:
    life = plasticity.Life(MethodConfig(name=name, renew=0.02), LearnerConfig(lr=0.005, time_steps=5), 0)
    task = life.task()
    assert life.updates == life.method.optimizer.steps == 500
    assert task.updates is not None and 50 <= task.updates < 300
    assert task.second_half > 0.85 and 0 < task.silent < 1 and task.norm > 0
    # Without learning nothing is reached.
    never = plasticity.Life(MethodConfig(name=name, renew=0.0), LearnerConfig(lr=0.0, time_steps=5), 0).task()
    assert never.updates is None and never.second_half < 0.6


def test_its_table_by_hand(plasticity: ModuleType) -> None:
    tasks = [plasticity.Task(100, 1.0, 0.5, 2.0), plasticity.Task(None, 0.5, 0.7, 4.0), plasticity.Task(50, 1, 0, 1)]
    lines = plasticity.table(tasks, parts=2).splitlines()
    assert lines[2:] == ["| 1–2 | 300 | 1 | 0.750 | 0.600 | 3.00 |", "| 3–3 | 50 | 0 | 1.000 | 0.000 | 1.00 |"]
