"""What a GPU gives: the learning step, agreement with the CPU, memory against T, first epochs of the paper's table.

    python benchmarks/gpu.py                                   on the first CUDA device; writes benchmarks/gpu.md
    python benchmarks/gpu.py --data cifar10=FOLDER --epochs 2  and the first epochs of `bench paper-1`

Without a CUDA device it says so and exits with 2, as all commands do that are asked for what is not here.
``--device cpu`` goes through the same steps at a small size, to try the script.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from baselines import LR, MOMENTUM, TIME_STEPS, Step, Work, released, spikingjelly
from step import CLASSES, machine
from torch import Tensor

from stream_ottt.engine.config import EngineConfig
from stream_ottt.errors import StreamOtttError
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.device import find_device
from stream_ottt.network.topologies import VGG, build_network
from stream_ottt.replay.analysis.memory import MemoryConfig, measure_memory
from stream_ottt.replay.sweep import run_table
from stream_ottt.replay.tables import Table, parse_data

SMALL = (16, "AP2", 32)


def learner_on(work: Work, device: str, dtype: torch.dtype = torch.float32) -> OnlineLearner:
    """A learner of the plain engine, the one that GPUs have."""
    network = build_network(NetworkConfig(layers=work.layers), input_shape=work.shape, classes=CLASSES)
    for part in network.connections.values():
        part.set_parameters({name: value.to(dtype) for name, value in part.parameters.items()})
    config = LearnerConfig(time_steps=TIME_STEPS, lr=LR, momentum=MOMENTUM)
    return build_learner(network, config=config, engine=EngineConfig(engine="plain", device=device))


def ours(work: Work, device: str) -> Step:
    """A step of this package's learner."""
    learner, clock = learner_on(work, device), iter(range(10**9))

    def step(frame: Tensor, target: Tensor) -> None:
        t = next(clock)
        learner.forward(frame, t)
        learner.learn(t, target)

    return step


def finish(device: torch.device) -> None:
    """Wait for what was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_table(work: Work, device: torch.device, batches: list[int], rounds: int) -> list[str]:
    """The step's time by batch size, all in turns."""
    lines = [f"| way | {' | '.join(f'batch {b}, ms' for b in batches)} |", "|---|" + "---|" * len(batches)]
    medians: dict[str, list[str]] = {}
    for batch in batches:
        ways = {
            "stream-ottt": ours(work, str(device)),
            "released code's way": released(work, CLASSES, str(device)),
            "SpikingJelly": spikingjelly(work, CLASSES, str(device)),
            "SpikingJelly, cupy": spikingjelly(work, CLASSES, str(device), cupy=True),
        }
        frame = torch.poisson(torch.full((batch, *work.shape), 0.5)).to(device)
        target = torch.full((batch,), 3, device=device)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(-5, rounds):
            for name, step in ways.items():
                if step is None:
                    continue
                finish(device)
                started = time.perf_counter()
                step(frame, target)
                finish(device)
                if i >= 0:
                    times[name].append(1e3 * (time.perf_counter() - started))
        for name, taken in times.items():
            medians.setdefault(name, []).append(f"{statistics.median(taken):.2f}" if taken else "not here")
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in medians.items()]


def agreement(work: Work, device: torch.device, steps: int = 20) -> str:
    """How far the learner on the device is from that on the CPU, in float64, after some steps."""
    learners = [learner_on(work, name, torch.float64) for name in ("cpu", str(device))]
    generator, furthest = torch.Generator().manual_seed(0), 0.0
    for t in range(steps):
        frame = torch.poisson(torch.full((1, *work.shape), 0.5, dtype=torch.float64), generator=generator)
        logits = []
        for learner in learners:
            on = next(iter(learner.network.parameters.values())).device
            logits.append(learner.forward(frame.to(on), t).cpu())
            learner.learn(t, torch.tensor([3], device=on))
        furthest = max(furthest, float((logits[0] - logits[1]).abs().max()))
    weights = [learner.network.parameters for learner in learners]
    apart = max(float((value - weights[1][name].cpu()).abs().max()) for name, value in weights[0].items())
    verdict = "the same" if max(furthest, apart) < 1e-9 else "NOT the same"
    return f"{verdict}: float64, {steps} learned timesteps, logits within {furthest:.1e}, weights within {apart:.1e}."


def memory_table(work: Work, device: torch.device, steps: list[int], batch: int) -> list[str]:
    """Training memory against T, each figure from a fresh process."""
    lines = [f"| method | {' | '.join(f'T = {t}, MB' for t in steps)} |", "|---|" + "---|" * len(steps)]
    network = NetworkConfig(layers=work.layers)
    for method in ("ottt_o", "ottt_a", "bptt"):
        found = [
            measure_memory(
                MemoryConfig(
                    method=method, network=network, shape=work.shape, time_steps=t, batch_size=batch, device=str(device)
                )
            )["training_bytes"]
            for t in steps
        ]
        lines.append(f"| {method} | {' | '.join(f'{b / 1e6:.0f}' for b in found)} |")
    return lines


def first_epochs(data: list[str], device: torch.device, epochs: int) -> str:
    """The table of `paper-1`'s rows on CIFAR-10 after some epochs."""
    overrides = {"protocol": {"epochs": epochs}, "compute": {"device": str(device)}}
    with tempfile.TemporaryDirectory() as folder:
        out, places = Path(folder), parse_data(data)
        run_table(Table.named("paper-1"), places, out, jobs=1, seeds=[0], overrides=overrides, only="CIFAR-10,")
        return (out / "table.md").read_text()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FOLDER", help="cifar10=FOLDER, for paper-1"
    )
    parser.add_argument("--epochs", type=int, default=2, help="of paper-1 (default 2)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gpu.md"))
    options = parser.parse_args()
    try:
        device = find_device(options.device, key="--device")
        small = device.type == "cpu"
        work = Work(SMALL, (2, 16, 16)) if small else Work(VGG, (3, 32, 32))
        what = machine() if small else f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
        lines = [f"# On {what}", "", "    python benchmarks/gpu.py " + " ".join(sys.argv[1:]), ""]
        lines += ["## The learning step", "", *step_table(work, device, [1, 4] if small else [1, 32, 128], 20), ""]
        lines += ["## The same as on the CPU", "", agreement(Work(SMALL, (2, 16, 16)), device), ""]
        lines += [
            "## Training memory against T",
            "",
            *memory_table(work, device, [2, 6] if small else [2, 6, 20], 4),
            "",
        ]
        lines += ["## The first epochs of `paper-1`", ""]
        lines.append(
            first_epochs(options.data, device, options.epochs)
            if options.data
            else "Left out: no data were given with `--data cifar10=FOLDER`."
        )
    except StreamOtttError as e:
        print(f"benchmarks/gpu.py: {e}", file=sys.stderr)
        return e.exit_code
    text = "\n".join(lines) + "\n"
    options.out.write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
