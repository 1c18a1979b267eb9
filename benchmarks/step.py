"""The time of one OTTT_O timestep at batch size 1: forward, loss, backward, update.

    python benchmarks/step.py              measure, print the table
    python benchmarks/step.py --write      and keep its ratios in step.json
    python benchmarks/step.py --check      and fail when a ratio fell by more than 15 % against step.json

All contenders take turns within one run, so that a busy or throttled machine slows all of them; ratios are what counts.
SpikingJelly is measured where it is installed: pip install --no-deps spikingjelly==2.0.0 && pip install loguru
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from baselines import ADAM_LR, LR, MOMENTUM, TIME_STEPS, Step, Work, released, spikingjelly, three_convolutions
from limit import limit
from torch import Tensor

from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import VGG, build_network

CLASSES = 10
NETWORKS: dict[str, tuple[tuple[int | str, ...], tuple[int, int, int]]] = {
    "VGG 2×48×48": (VGG, (2, 48, 48)),
    "VGG 3×32×32": (VGG, (3, 32, 32)),
    "16-AP2-32-AP2-32 2×32×32": ((16, "AP2", 32, "AP2", 32), (2, 32, 32)),
}
WORK = {name: Work(layers, shape) for name, (layers, shape) in NETWORKS.items()} | {
    "VGG 2×48×48, neuron dropout": Work(VGG, (2, 48, 48), dropout=0.1),
    "VGG 2×48×48, Adam": Work(VGG, (2, 48, 48), adam=True),
    "VGG-F 3×32×32": Work(VGG, (3, 32, 32), feedback=True),
    "NF-ResNet-18 3×32×32": Work((), (3, 32, 32)),
}
AGAINST = ("released code's way", "SpikingJelly")
RECORD = Path(__file__).with_name("step.json")
TOLERANCE = 0.15
ROW = 20
"""Steps of a small network that a contender makes in a row, as a run does; after each change of contender the first of
them finds the caches empty."""
# With these about a tenth of the neurons fire at each timestep, up to the top. The fast engine skips silent inputs only
# below that, so it gains nothing from silence here; real streams are quieter.
RATE, GAIN = 0.5, 1.3


def ours(work: Work, engine: EngineConfig, *, learn: bool = True) -> Step:
    """A step of this package's learner."""
    topology = ("layers-f" if work.feedback else "layers") if work.layers else "nf-resnet-18"
    layers = {"layers": work.layers} if work.layers else {}
    config = NetworkConfig.load({"topology": topology, "dropout": work.dropout, **layers})
    network = build_network(config, input_shape=work.shape, classes=CLASSES)
    rule = {"optimizer": "adam", "lr": ADAM_LR} if work.adam else {"lr": LR, "momentum": MOMENTUM}
    learner = build_learner(network, config=LearnerConfig.load({"time_steps": TIME_STEPS, **rule}), engine=engine)
    for name, value in learner.network.parameters.items():
        if name.endswith("gain") and "skip" not in name:
            value.fill_(GAIN)
    learner.network.weights_changed(centred=learner.network.centred)
    clock = iter(range(10**9))

    def step(frame: Tensor, target: Tensor) -> None:
        t = next(clock)
        learner.forward(frame, t, learn=learn)
        if learn:
            learner.learn(t, target)

    return step


def contenders(work: Work) -> dict[str, Step]:
    """Every way to do a step, by name; for variants of the VGG, only the engines in float32."""
    candidates: dict[str, Step | None] = {
        "released code's way": released(work, CLASSES),
        "SpikingJelly": spikingjelly(work, CLASSES),
        "plain": ours(work, EngineConfig(engine="plain")),
        "fast": ours(work, EngineConfig(engine="fast")),
    }
    if work in (WORK[name] for name in NETWORKS):
        candidates |= {
            "fast, bf16-backward": ours(work, EngineConfig(precision="bf16-backward")),
            "fast, bf16": ours(work, EngineConfig(precision="bf16")),
            "fast, predicting only": ours(work, EngineConfig(engine="fast"), learn=False),
            "three convolutions": three_convolutions(work),
            "limit": limit(work, torch.float32),
            "limit, bf16": limit(work, torch.bfloat16),
        }
    return {name: step for name, step in candidates.items() if step is not None}


def measure(steps: dict[str, Step], shape: tuple[int, int, int], rounds: int, row: int) -> dict[str, list[float]]:
    """Seconds of a core that each contender's steps take, ``row`` of each a round.

    Of a core, not of the clock: what else runs on a machine takes no part, but for the share of memory that it takes.
    """
    generator = torch.Generator().manual_seed(0)
    frames = [torch.poisson(torch.full((1, *shape), RATE), generator=generator) for _ in range(8)]
    target = torch.tensor([3])
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(-3, rounds):
        for name, step in steps.items():
            started = time.process_time()
            for j in range(row):
                step(frames[(i + j) % 8], target)
            if i >= 0:
                times[name].append((time.process_time() - started) / row)
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """How many times faster each is than each that it is measured against, by the medians."""
    medians = {name: statistics.median(t) for name, t in times.items()}
    return {
        name: {against: round(medians[against] / medians[name], 2) for against in AGAINST if against in medians}
        for name in medians
        if name not in AGAINST
    }


def table(network: str, times: dict[str, list[float]]) -> str:
    """Rows of a Markdown table."""
    found = ratios(times)
    lines = [f"| {network} | median, ms | least, ms | × released | × SpikingJelly |", "|---|---|---|---|---|"]
    for name, t in times.items():
        r = found.get(name, {})
        cells = [f"{r[a]:.2f}" if a in r else "" for a in AGAINST]
        lines.append(f"| {name} | {1e3 * statistics.median(t):.2f} | {1e3 * min(t):.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> str:
    """The processor, torch and threads, in one line."""
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        name = next((x.split(": ")[1] for x in info.read_text().splitlines() if x.startswith("model name")), name)
    amx = "AMX" if torch.cpu._is_amx_tile_supported() else "no AMX"
    return f"{name} ({amx}), torch {torch.__version__}, {torch.get_num_threads()} thread"


def losses(now: dict[str, dict[str, dict[str, float]]], before: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Ratios that fell by more than the tolerance, of those that both have."""
    return [
        f"{network}: {name} was {old:.2f}× {against}, is {new:.2f}×"
        for network, contenders_before in before.items()
        for name, by_against in contenders_before.items()
        for against, old in by_against.items()
        if (new := now.get(network, {}).get(name, {}).get(against)) is not None and new < old * (1 - TOLERANCE)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="steps of each contender (default 15)")
    parser.add_argument("--only", help="only networks whose name holds this")
    parser.add_argument("--check", action="store_true", help="fail on a loss of more than 15 %%")
    parser.add_argument("--write", action="store_true", help="keep the ratios in step.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    now = {}
    for network, work in WORK.items():
        if options.only and options.only not in network:
            continue
        torch.manual_seed(0)
        small = len(work.layers) == 5
        times = measure(contenders(work), work.shape, options.rounds * (4 if small else 1), ROW if small else 1)
        now[network] = ratios(times)
        print("\n" + table(network, times), flush=True)
    if options.write:
        RECORD.write_text(json.dumps({"machine": machine(), "ratios": now}, indent=1, ensure_ascii=False) + "\n")
    if options.check:
        found = losses(now, json.loads(RECORD.read_text())["ratios"])
        print("\n".join(["", *found]) if found else "\nno loss of more than 15 %")
        return 1 if found else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
