"""Accuracy, memory and activity of OTTT beside BPTT, at the scale of two cores: the tables of benchmarks/README.md.

    python benchmarks/accuracy.py --data ../shared/data --out out/accuracy --jobs 2

``--data`` holds ``nmnist/nmnist_800.npz``, ``dvs128_objects/`` and ``cifar10/cifar10_{train,test}_jpegpack.npz``; a
table whose data are not there is left out. What was run before in ``--out`` is kept: a stopped benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from stream_ottt.network.topologies import NetworkConfig
from stream_ottt.replay import provenance
from stream_ottt.replay.analysis.memory import MemoryConfig, measure_memory
from stream_ottt.replay.figures import draw_alignment, draw_memory, new_figure, save
from stream_ottt.replay.report import about_line, markdown, percent
from stream_ottt.replay.sweep import COMMAND, Table, run_table

HERE = Path(__file__).resolve().parent
TABLES = {
    "nmnist-small": ("nmnist", "nmnist/nmnist_800.npz"),
    "streams-small": ("nmnist", "nmnist/nmnist_800.npz"),
    "objects-small": ("objects", "dvs128_objects"),
    "cifar10-small": ("cifar10", "cifar10/cifar10_train_jpegpack.npz"),
}
"""Table → data set's name in it, and a file or folder that it needs."""

MEMORY_NETWORK = NetworkConfig(layers=(8, 16, "AP2", 32))
MEMORY_SHAPE = (2, 128, 128)
TIME_STEPS = (2, 5, 10, 20, 50, 100)
MEMORY_METHODS = {"ottt_o": TIME_STEPS, "ottt_a": TIME_STEPS, "bptt": TIME_STEPS}
START, END = "<!-- accuracy -->", "<!-- /accuracy -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("out/accuracy"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[*TABLES, "memory"], default=[*TABLES, "memory"])
    options = parser.parse_args()
    os.environ[COMMAND] = f"python benchmarks/accuracy.py --jobs {options.jobs} --seeds {options.seeds}"
    started = time.perf_counter()
    parts: list[str] = []
    failed = 0
    for name, (data, needed) in TABLES.items():
        folder = options.out / name
        if name in options.only and (options.data / needed).exists():
            where = {data: str(options.data / Path(needed).parts[0])}
            seeds = range(options.seeds)
            failed += run_table(Table.named(name), where, folder, jobs=options.jobs, seeds=seeds, say=say)
        elif name in options.only:
            say(f"{name} left out: no {needed} in {options.data}")
        if (folder / "table.md").exists():
            parts.append((folder / "table.md").read_text())
            runs = json.loads((folder / "table.json").read_text())["runs"]
            parts += [
                text
                for text in (
                    streams(runs),
                    blocks(runs),
                    drifts(runs),
                    more_timesteps(runs),
                    activity(runs),
                    alignment(name, runs),
                )
                if text
            ]
    if "memory" in options.only:
        parts.append(memory(options.out))
    minutes = (time.perf_counter() - started) / 60
    say(f"{minutes:.1f} minutes")
    write_section("\n".join(parts))
    return 1 if failed else 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def by_row(runs: list[dict[str, Any]], key: str) -> dict[str, list[Any]]:
    """Row → the results' ``key`` of its seeds, where they have it."""
    out: dict[str, list[Any]] = {}
    for run in runs:
        if run["result"].get(key):
            out.setdefault(run["row"], []).append(run["result"][key])
    return out


def streams(runs: list[dict[str, Any]]) -> str:
    """Prequential figures, and held-out accuracy with learning off."""
    found = by_row(runs, "prequential")
    if not found:
        return ""
    held_out = by_row(runs, "held_out_accuracy")
    rows = []
    for row, values in found.items():
        if row not in held_out:  # not a single pass
            continue
        shares = [percent(v[key] for v in values) for key in ("presentations", "second_half", "no_change", "majority")]
        kappas = [f"{statistics.mean(v[key] for v in values):.3f}" for key in ("kappa", "kappa_t")]
        rows.append([row, *shares, *kappas, percent(held_out[row])])
    if not rows:
        return ""
    header = ["", "prequential", "its second half", "no change", "majority", "kappa", "kappa_t", "held out"]
    return "One pass over a stream, each presentation classified before its label is known:\n\n" + markdown(
        rows, header
    )


def blocks(runs: list[dict[str, Any]]) -> str:
    """Forgetting and backward transfer of classes that came in blocks."""
    forgetting, transfer = by_row(runs, "forgetting"), by_row(runs, "backward_transfer")
    if not forgetting:
        return ""
    rows = [
        [row, *(f"{statistics.mean(v):.2f} ± {statistics.pstdev(v):.2f}" for v in (values, transfer.get(row, values)))]
        for row, values in forgetting.items()
    ]
    return "Blocks of classes, one after another, each tested again at the end:\n\n" + markdown(
        rows, ["", "forgetting", "backward transfer"]
    )


def drifts(runs: list[dict[str, Any]]) -> str:
    """Prequential accuracy before and after the change, and how long until it is back."""
    before, after = by_row(runs, "before"), by_row(runs, "after")
    recovery = by_row(runs, "recovery_samples")
    if not before:
        return ""
    rows = []
    for row, values in before.items():
        shares = [percent(v[key] for v in values) for key in ("presentations", "second_half")]
        shares += [percent(v[key] for v in after[row]) for key in ("presentations", "second_half")]
        kappa = f"{statistics.mean(v['kappa_t'] for v in after[row]):.3f}"
        rows.append([row, *shares, kappa, ", ".join(str(n) for n in recovery.get(row, [])) or "never"])
    header = ["", "before", "its second half", "after", "its second half", "kappa_t after", "samples to recover"]
    return "Prequential accuracy before and after the change:\n\n" + markdown(rows, header)


def more_timesteps(runs: list[dict[str, Any]]) -> str:
    """Accuracy with other numbers of timesteps than trained with."""
    found = by_row(runs, "accuracy_at_time_steps")
    if not found:
        return ""
    steps = list(next(iter(found.values()))[0])
    rows = [[row, *(percent(value[t] for value in values) for t in steps)] for row, values in found.items()]
    return "Tested with other numbers of timesteps than trained with:\n\n" + markdown(
        rows, ["", *(f"T = {t}" for t in steps)]
    )


def activity(runs: list[dict[str, Any]]) -> str:
    """Firing rates and synaptic operations per sample, means over seeds."""
    found = by_row(runs, "activity")
    if not found:
        return ""
    layers = list(next(iter(found.values()))[0]["layers"])
    rows = []
    for row, values in found.items():
        rates = [f"{statistics.mean(v['layers'][name]['firing_rate'] for v in values):.3f}" for name in layers]
        spikes = statistics.mean(v["spikes_per_neuron"] for v in values)
        operations = statistics.mean(v["synaptic_operations"] for v in values)
        rows.append([row, *rates, f"{spikes:.2f}", f"{operations / 1e6:.2f} M"])
    header = ["", *(f"rate {name}" for name in layers), "spikes per neuron", "synaptic operations"]
    return "Spikes per neuron and timestep by layer; per sample, over test samples:\n\n" + markdown(rows, header)


def alignment(table: str, runs: list[dict[str, Any]]) -> str:
    """Cosines of OTTT's gradient with the others', first and last measurement, and a figure."""
    found = by_row(runs, "alignment")
    if not found:
        return ""
    first = next(iter(found.values()))[0]
    names = list(first[0]["bptt"])
    rows = []
    for row, values in found.items():
        for when, index in (("at the start", 0), ("at the end", -1)):
            for other in ("bptt", "representation"):
                cells = []
                for name in names:
                    known = [v[index][other][name] for v in values if v[index][other][name] is not None]
                    cells.append(f"{statistics.mean(known):.3f}" if known else "–")
                rows.append([f"{row}, {when}", "BPTT" if other == "bptt" else "spike representation", *cells])
    figure, axes = new_figure(min(len(found), 3))
    for axis, (row, values) in zip(axes, found.items(), strict=False):
        draw_alignment(axis, values[0])
        axis.set_title(row, fontsize=9)
    save(figure, HERE / f"{table}-alignment.png")
    text = (
        "Cosine of OTTT's gradient with that of BPTT and of the spike representation (Theorem 1), by weight tensor:\n\n"
    )
    return (
        text + markdown(rows, ["network of", "with", *names]) + f"\n![cosines over training]({table}-alignment.png)\n"
    )


def memory(out: Path) -> str:
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
        HERE / "memory-against-t.png",
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


def write_section(text: str) -> None:
    """Put the tables between their marks in README.md, which is made when it is not there."""
    path = HERE / "README.md"
    old = path.read_text() if path.exists() else f"# Benchmarks\n\n## Accuracy\n\n{START}\n{END}\n"
    if START not in old:
        old = f"{old.rstrip()}\n\n## Accuracy\n\n{START}\n{END}\n"
    head, rest = old.split(START, 1)
    path.write_text(f"{head}{START}\n\n{text}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    sys.exit(main())
