"""Accuracy, memory and activity of OTTT beside BPTT, at the scale of two cores: the tables of benchmarks/README.md.

    python benchmarks/accuracy.py --data ../shared/data --out out/accuracy --jobs 2

``--data`` holds ``nmnist/nmnist_800.npz``, ``dvs128_objects/`` and ``cifar10/cifar10_{train,test}_jpegpack.npz``; a
table whose data are not there is left out. What was run before in ``--out`` is kept: a stopped benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from stream_ottt.network.config import NetworkConfig
from stream_ottt.replay import provenance
from stream_ottt.replay.analysis.memory import MemoryConfig, measure_memory
from stream_ottt.replay.figures import draw_memory
from stream_ottt.replay.report import about_line, markdown
from stream_ottt.replay.results import COMMAND
from stream_ottt.replay.sweep import run_table
from stream_ottt.replay.tables import Table

HERE = Path(__file__).resolve().parent
NMNIST = {"nmnist": "nmnist/nmnist_800.npz"}
OBJECTS = {"objects": "dvs128_objects"}
TABLES = {
    "nmnist-small": NMNIST,
    "streams-small": NMNIST,
    "objects-small": OBJECTS,
    "precision-small": NMNIST | OBJECTS,
    "cifar10-small": {"cifar10": "cifar10/cifar10_train_jpegpack.npz"},
}
"""Table → the data sets' names in it, and the file or folder of each that it needs."""

MEMORY_NETWORK = NetworkConfig(layers=(8, 16, "AP2", 32))
MEMORY_SHAPE = (2, 128, 128)
TIME_STEPS = (2, 5, 10, 20, 50, 100)
MEMORY_METHODS = {"ottt_o": TIME_STEPS, "ottt_a": TIME_STEPS, "bptt": TIME_STEPS}
START, END = "<!-- accuracy -->", "<!-- /accuracy -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("out/accuracy"))
    parser.add_argument("--into", type=Path, default=HERE, help="folder of the README.md, and of its figures")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[*TABLES, "memory"], default=[*TABLES, "memory"])
    options = parser.parse_args()
    os.environ[COMMAND] = f"python benchmarks/accuracy.py --jobs {options.jobs} --seeds {options.seeds}"
    started = time.perf_counter()
    parts: list[str] = []
    failed = 0
    for name, needed in TABLES.items():
        folder = options.out / name
        missing = [file for file in needed.values() if not (options.data / file).exists()]
        if name in options.only and not missing:
            where = {data: str(options.data / Path(file).parts[0]) for data, file in needed.items()}
            others = [options.out / other for other in TABLES if other != name]
            seeds = range(options.seeds)
            failed += run_table(
                Table.named(name), where, folder, jobs=options.jobs, seeds=seeds, elsewhere=others, say=say
            )
        elif name in options.only:
            say(f"{name} left out: no {', '.join(missing)} in {options.data}")
        if (folder / "table.md").exists():
            parts.append(shown(name, folder, options.into))
    if "memory" in options.only or (options.out / "memory.json").exists():
        parts.append(memory(options.out, options.into))
    minutes = (time.perf_counter() - started) / 60
    say(f"{minutes:.1f} minutes")
    write_section(options.into / "README.md", "\n".join(parts))
    return 1 if failed else 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def shown(name: str, folder: Path, into: Path) -> str:
    """A table's text; its figures are copied beside the README, under names that begin with the table's."""

    def copy(match: re.Match[str]) -> str:
        copied = f"{name}-{match[2]}"
        shutil.copyfile(folder / match[2], into / copied)
        return f"![{match[1]}]({copied})"

    return re.sub(r"!\[([^\]]*)\]\(([\w-]+\.png)\)", copy, (folder / "table.md").read_text())


def memory(out: Path, into: Path) -> str:
    """Peak memory against T, each from a fresh process, drawn."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "memory.json"
    found: dict[str, dict[str, dict[str, int]]] = json.loads(path.read_text()) if path.exists() else {}
    for method, steps in MEMORY_METHODS.items():
        own = found.setdefault(method, {})
        for t in steps:
            if str(t) not in own:
                config = MemoryConfig(method=method, network=MEMORY_NETWORK, shape=MEMORY_SHAPE, time_steps=t)
                own[str(t)] = measure_memory(config)
                say(f"memory of {method} at T = {t}: {own[str(t)]['training_bytes'] / 2**20:.1f} MiB")
                path.write_text(json.dumps(found))
    draw_memory(
        into / "memory-against-t.png",
        {m: {int(t): v["training_bytes"] for t, v in own.items()} for m, own in found.items()},
    )
    rows = []
    for method, own in found.items():
        cells = [f"{own[str(t)]['training_bytes'] / 2**20:.1f}" for t in TIME_STEPS]
        ratio = own["100"]["training_bytes"] / own["2"]["training_bytes"]
        whole = own["100"]["peak_bytes"] / own["2"]["peak_bytes"]
        rows.append([method, *cells, f"{ratio:.2f}", f"{whole:.2f}"])
    layers = "-".join(map(str, MEMORY_NETWORK.layers))
    about = {"versions": provenance.versions(), "machine": provenance.machine(), "command": os.environ[COMMAND]}
    header = ["MiB at T =", *map(str, TIME_STEPS), "T = 100 / T = 2", "whole process"]
    return (
        f"### Memory of training against T\n\nNetwork {layers} on {'×'.join(map(str, MEMORY_SHAPE))}, batch size 1; "
        "peak resident memory of a fresh process on top of one that has trained a tiny network:\n\n"
        + markdown(rows, header)
        + f"\n![memory against T](memory-against-t.png)\n\n{about_line(about)}\n"
    )


def write_section(path: Path, text: str) -> None:
    """Put the tables between their marks in a README, which is made when it is not there."""
    old = path.read_text() if path.exists() else f"# Benchmarks\n\n## Accuracy\n\n{START}\n{END}\n"
    if START not in old:
        old = f"{old.rstrip()}\n\n## Accuracy\n\n{START}\n{END}\n"
    head, rest = old.split(START, 1)
    path.write_text(f"{head}{START}\n\n{text}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    sys.exit(main())
