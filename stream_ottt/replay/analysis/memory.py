"""Peak memory of training against T, each figure from a fresh process.

``python -m stream_ottt.replay.analysis.memory '{"method": "bptt", "time_steps": 20, …}'`` prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stream_ottt.errors import StreamOtttError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.device import find_device
from stream_ottt.network.optimizer import build_optimizer
from stream_ottt.network.topologies import build_network
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods import find_method
from stream_ottt.replay.methods.base import Method
from stream_ottt.settings import Settings


class MemoryConfig(Settings):
    """What is measured.

    Attributes:
        method: short name.
        network: its table.
        shape: (channels, height, width) of the input.
        classes: outputs.
        time_steps: T.
        batch_size: samples at once.
        device: where.
    """

    method: str = "ottt_o"
    network: NetworkConfig = NetworkConfig()
    shape: tuple[int, int, int] = (2, 32, 32)
    classes: int = 10
    time_steps: int = 10
    batch_size: int = 1
    device: str = "cpu"


def measure_memory(config: MemoryConfig) -> dict[str, Any]:
    """Run :func:`peak_of` in a fresh process.

    Raises:
        StreamOtttError: the process failed.
    """
    command = [sys.executable, "-m", "stream_ottt.replay.analysis.memory", config.model_dump_json()]
    # What is freed goes back to the system at once, so that the peak is of what was in use.
    frugal = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | frugal)
    if done.returncode:
        raise StreamOtttError(
            f"measuring {config.method} at T = {config.time_steps} failed: {done.stderr.strip()[-300:]}"
        )
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def peak_of(config: MemoryConfig) -> dict[str, Any]:
    """Learn one batch and say what memory that took, in this process.

    Returns:
        ``peak_bytes`` of the process (of CUDA's allocator on a GPU), and ``training_bytes``, how much of it came on top
        of a process that has trained a tiny network: weights, optimizer, states and whatever the method keeps.
    """
    torch.set_num_threads(1)
    device = find_device(config.device, key="device")
    tiny = config.model_copy(update={"network": NetworkConfig(layers=(2, "AP2", 2)), "shape": (2, 8, 8)})
    # As many timesteps as are measured: code and garbage that come with time are no memory of the method.
    _learn(tiny, device)
    gc.collect()
    base = _start(device)
    kept = _learn(config, device)
    peak = _peak(device)
    del kept
    what = {"method": config.method, "time_steps": config.time_steps}
    return what | {"peak_bytes": peak, "training_bytes": peak - base}


def _learn(config: MemoryConfig, device: torch.device) -> Method:
    network = build_network(config.network, input_shape=config.shape, classes=config.classes)
    network.to(device)
    learner = LearnerConfig(time_steps=config.time_steps)
    method: Method = find_method(config.method)(
        network, build_optimizer(learner), learner, MethodConfig(name=config.method), batch_size=config.batch_size
    )
    method.learn(_frames(config, device), torch.zeros(config.batch_size, dtype=torch.int64, device=device))
    return method


def _frames(config: MemoryConfig, device: torch.device) -> Iterator[Tensor]:
    """Random frames, made one at a time: the input itself is not what is measured."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(config.time_steps):
        yield (torch.rand(config.batch_size, *config.shape, generator=generator) < 0.1).float().to(device)


def _start(device: torch.device) -> int:
    """Begin to look for a peak; the memory in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak(device)
    return _peak(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(s for s in status.read_text().splitlines() if s.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(peak_of(MemoryConfig.model_validate_json(sys.argv[1]))))
