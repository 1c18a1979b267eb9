"""Processors without what this one has: no vector registers beyond the oldest, no bfloat16, no oneDNN; and no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent

PROGRAM = """
import warnings

import torch

torch.backends.mkldnn.is_available = lambda: False
from stream_ottt.engine import direct, precision
from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

assert not direct.has_the_registers() and not precision.one_dnn_is_faster()
precision.bfloat16_is_faster = lambda: False
found = []
for engine in (EngineConfig(engine="plain"), EngineConfig(precision="bf16")):
    network = build_network(NetworkConfig(layers=(16, 16)), input_shape=(2, 6, 6), classes=3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        learner = build_learner(network, config=LearnerConfig(lr=0.1, momentum=0), engine=engine)
    generator = torch.Generator().manual_seed(0)
    for t in range(4):
        logits = learner.forward(torch.poisson(torch.full((1, 2, 6, 6), 0.7), generator=generator), t)
        learner.feedback(t, t % 3)
    found.append(logits)
assert "float32 is used" in str(said[0].message)
torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
print(type(learner.network).__name__, *sorted({type(p).__name__ for p in learner.network.work.products}))
"""


def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, in the repository."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, env=os.environ | more)


def test_the_fast_engine_on_a_processor_that_can_nothing_special() -> None:
    """As numba is told to compile for the oldest processor of this architecture."""
    done = run("-c", PROGRAM, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert (done.returncode, done.stdout) == (0, "CompiledNetwork Products\n"), done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is one")
def test_the_benchmark_of_gpus_says_that_there_is_none() -> None:
    done = run("benchmarks/gpu.py", PYTHONSAFEPATH="")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "no CUDA device" in done.stderr and len(done.stderr.splitlines()) == 1
