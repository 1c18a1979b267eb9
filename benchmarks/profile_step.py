"""Where the time of a learned timestep goes.

    python benchmarks/profile_step.py

Own time of each function over many timesteps, as a share of all; Python's own profiler adds to what is called often, so
small networks look busier with Python than they are.
"""

from __future__ import annotations

import cProfile
import pstats

import torch
from step import CLASSES, NETWORKS, RATE, WORK, machine, ours

from stream_ottt.engine.config import EngineConfig

NAMES = {
    "mm": "matrix products",
    "_ops.mkldnn._linear_pointwise": "matrix products",
    "correlate": "matrix products",
    "outer": "matrix products",
    "turn": "turning and padding for the way down",
    "place": "turning and padding for the way down",
    "copy_": "patches (im2col)",
    "descend": "weight update with sWS",
    "fold": "fold",
    "lif": "neurons",
    "scatter": "scattering spikes",
    "transpose": "transposing weights and gradients",
    "find_active": "finding spikes",
    "sigmoid_": "surrogate",
    "surrogate": "surrogate",
    "membrane_error": "error at the membrane",
    "track": "traces",
}


def shares(name: str, steps: int) -> dict[str, float]:
    """Share of each kind of work, by name, largest first."""
    work = WORK[name]
    shape = work.shape
    step = ours(work, EngineConfig(engine="fast"))
    generator = torch.Generator().manual_seed(0)
    frames = [torch.poisson(torch.full((1, *shape), RATE), generator=generator) for _ in range(8)]
    target = torch.tensor([CLASSES - 1])
    for frame in frames:
        step(frame, target)
    profile = cProfile.Profile()
    profile.enable()
    for i in range(steps):
        step(frames[i % 8], target)
    profile.disable()
    found: dict[str, float] = {}
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        plain = function.removeprefix("<built-in method torch.").removeprefix("<method '").split("'")[0].rstrip(">")
        compiled = file == "~" or file.endswith("kernels.py")
        kind = NAMES.get(plain, "everything else") if compiled else "everything else"
        found[kind] = found.get(kind, 0) + own
    whole = sum(found.values())
    return {k: v / whole for k, v in sorted(found.items(), key=lambda kv: -kv[1])}


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    columns = {name: shares(name, 12 if name.startswith("VGG") else 500) for name in NETWORKS}
    print("\n| share of the time, % | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for kind in dict.fromkeys(k for c in columns.values() for k in c):
        print(f"| {kind} | " + " | ".join(f"{100 * c.get(kind, 0):.1f}" for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
