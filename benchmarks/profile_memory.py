"""Peak memory of learning the paper's VGG at batch size 1, over that of Python with torch.

    python benchmarks/profile_memory.py

Each figure from a fresh process, as Linux counts its peak. The first run on a machine also compiles the kernels and
takes more, so it is made once before.
"""

from __future__ import annotations

import argparse

from fresh import peak_bytes

LEARN = """
import torch
torch.set_num_threads(1)
from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.topologies import build_network
from stream_ottt.network.config import NetworkConfig
network = build_network(NetworkConfig(topology="vgg"), input_shape=(2, 48, 48), classes=10)
engine = EngineConfig(engine="fast", precision={precision!r})
learner = build_learner(network, config=LearnerConfig(lr=0.1), engine=engine)
for t in range({time_steps}):
    learner.forward(torch.poisson(torch.full((1, 2, 48, 48), 0.5)), t)
    learner.learn(t, torch.tensor([3]))
"""


def peak(code: str) -> float:
    """Peak of a fresh process that runs ``code``, MB."""
    return peak_bytes(code) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--time-steps", type=int, nargs="*", default=[2, 20, 100])
    parser.add_argument("--precision", default="float32", help="as of `run --precision`")
    options = parser.parse_args()
    peak(LEARN.format(time_steps=1, precision=options.precision))
    bare = peak("import torch\n")
    print(f"Python with torch: {bare:.0f} MB")
    for t in options.time_steps:
        own = peak(LEARN.format(time_steps=t, precision=options.precision)) - bare
        print(f"learning {t} timesteps: {own:.0f} MB more")


if __name__ == "__main__":
    main()
