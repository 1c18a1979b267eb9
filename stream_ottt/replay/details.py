"""What a table says below its rows, as Markdown: the figures that only some protocols and reports have."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from stream_ottt.replay.records import Record, by_row, families, without
from stream_ottt.replay.report import markdown, mean_and_deviation, percent

Records = Sequence[Record]


def measured(records: Records, key: str) -> dict[str, list[Any]]:
    """Row → the results' ``key`` of its seeds, where they have it."""
    having = [r for r in records if r.result.get(key)]
    return {row: [r.result[key] for r in own] for row, own in by_row(having).items()}


def streams(records: Records) -> str:
    """Prequential figures, and held-out accuracy with learning off."""
    single_pass = [r for r in records if "held_out_accuracy" in r.result]
    rows = []
    for row, own in by_row(single_pass).items():
        values = [r.result["prequential"] for r in own]
        shares = [percent(v[key] for v in values) for key in ("presentations", "second_half", "no_change", "majority")]
        kappas = [_mean([v[key] for v in values]) for key in ("kappa", "kappa_t")]
        rows.append([row, *shares, *kappas, percent(r.result["held_out_accuracy"] for r in own)])
    header = ["", "prequential", "its second half", "no change", "majority", "kappa", "kappa_t", "held out"]
    return _table("One pass over a stream, each presentation classified before its label is known:", rows, header)


def blocks(records: Records) -> str:
    """What is kept of classes that came in blocks, and what each block does to the others."""
    in_blocks = [r for r in records if r.result.get("forgetting") is not None]
    shares = ("accuracy_seen_average", "anytime_seen_average")
    spreads = ("forgetting", "backward_transfer", "forward_transfer")
    rows = []
    for row, own in by_row(in_blocks).items():
        found = [percent(r.result[k] for r in own) for k in shares]
        rows.append([row, *found, *(_spread([r.result[k] for r in own]) for k in spreads)])
    header = ["", "seen so far", "anytime", "forgetting", "backward transfer", "forward transfer"]
    return _table("Blocks of classes, one after another, each tested again at the end:", rows, header)


def new_classes(records: Records) -> str:
    """How many samples until a new class was known."""
    rows = []
    for row, values in measured(records, "new_classes").items():
        taken = [c["samples"] for classes in values for c in classes]
        known = [n for n in taken if n is not None]
        mean = f"{statistics.mean(known):.0f}" if known else "–"
        rows.append([row, mean, f"{len(known)} of {len(taken)}"])
    header = ["", "samples", "classes known"]
    return _table("From a class's first sample until 9 of its latest 10 were right, mean of those known:", rows, header)


def real_time(records: Records) -> str:
    """What was said and learned in time."""
    on_clock = [r for r in records if "in_time" in r.result]
    rows = []
    for row, own in by_row(on_clock).items():
        keys = ("accuracy", "in_time", "learned")
        shares = [percent(r.result[key] for r in own) for key in keys]
        answered = percent(r.result["prequential"]["presentations"] for r in own)
        rows.append([row, f"{own[0].result['speed']:g}×", *shares, answered])
    header = ["", "speed", "right and in time", "in time", "learned", "right of those in time"]
    return _table("In real time, on the machine that ran it:", rows, header)


def late_and_far(records: Records) -> str:
    """Samples that were said with nothing learned of those just before them, and samples of another session."""
    rows = []
    for row, own in by_row([r for r in records if "prequential" in r.result]).items():
        delay = own[0].settings["protocol"]["label_delay"]
        if not delay and not any(key in own[0].result for key in ("near_future_accuracy", "other_session")):
            continue
        keys = ("near_future_accuracy", "own_session", "other_session")
        shares = [percent(r.result.get(key) for r in own) for key in keys]
        rows.append([row, str(delay), percent(r.result["prequential"]["presentations"] for r in own), *shares])
    header = ["", "label delay", "prequential", "near future", "own session", "other session"]
    return _table("Late labels, the near future, another session:", rows, header)


def drifts(records: Records) -> str:
    """Prequential accuracy before and after the change, and how long until it is back."""
    changed = [r for r in records if "recovery_samples" in r.result]
    rows = []
    for row, own in by_row(changed).items():
        results = [r.result for r in own]
        shares = [percent(r[w][key] for r in results) for w in ("before", "after") for key in SHARES]
        recovery = [n for r in results if (n := r["recovery_samples"]) is not None]
        kappa = _mean([r["after"]["kappa_t"] for r in results])
        rows.append([row, *shares, kappa, ", ".join(map(str, recovery)) or "never"])
    header = ["", "before", "its second half", "after", "its second half", "kappa_t after", "samples to recover"]
    return _table("Prequential accuracy before and after the change:", rows, header)


SHARES = ("presentations", "second_half")


def precisions(records: Records) -> str:
    """A line a row of reduced precision: whether its mean lies within one standard deviation of float32's."""

    lines = []
    for family in families(records, lambda settings: without(settings, "compute", "report", "method.precision")):
        rows = {own[0].settings["method"]["precision"]: own for own in family.rows.values()}
        full = rows.pop("float32", None)
        if full is None:
            continue
        lines += [_against(full, own) for own in rows.values()]
    return "\n".join(["Against the standard deviation of float32 over its seeds:\n", *lines, ""]) if lines else ""


def _against(full: list[Record], reduced: list[Record]) -> str:
    """One line of :func:`precisions`."""
    name, accuracy = reduced[0].row, [r.result["accuracy"] for r in full]
    found, own = mean_and_deviation(accuracy), mean_and_deviation(r.result["accuracy"] for r in reduced)
    assert found is not None and own is not None
    mean, deviation = found
    if deviation is None:
        return f"- {name}: {100 * own[0]:.2f}; one seed of float32 ({100 * mean:.2f}) has no standard deviation"
    # Means of equal values differ in their last bit.
    inside = abs(own[0] - mean) <= deviation + 1e-9
    said = "within" if inside else "**not** within"
    return f"- {name}: {100 * own[0]:.2f}, {said} one standard deviation of float32 ({percent(accuracy)})"


def more_timesteps(records: Records) -> str:
    """Accuracy with other numbers of timesteps than trained with."""
    found = measured(records, "accuracy_at_time_steps")
    steps = sorted({t for values in found.values() for value in values for t in value}, key=int)
    rows = [[row, *(percent(value.get(t) for value in values) for t in steps)] for row, values in found.items()]
    return _table("Tested with other numbers of timesteps than trained with:", rows, ["", *(f"T = {t}" for t in steps)])


def activity(records: Records) -> str:
    """Firing rates and synaptic operations per sample, means over seeds."""
    found = measured(records, "activity")
    layers = list(dict.fromkeys(name for values in found.values() for name in values[0]["layers"]))
    rows = []
    for row, values in found.items():
        rates = [_mean([v["layers"][name]["firing_rate"] for v in values if name in v["layers"]]) for name in layers]
        spikes = _mean([v["spikes_per_neuron"] for v in values], digits=2)
        operations = _mean([v["synaptic_operations"] / 1e6 for v in values], digits=2)
        rows.append([row, *rates, spikes, f"{operations} M"])
    header = ["", *(f"rate {name}" for name in layers), "spikes per neuron", "synaptic operations"]
    return _table("Spikes per neuron and timestep by layer; per sample, over test samples:", rows, header)


def alignment(records: Records) -> str:
    """Cosines of OTTT's gradient with the others', first and last measurement."""
    rows: list[list[str]] = []
    found = measured(records, "alignment")
    names = list(next(iter(found.values()))[0][0]["bptt"]) if found else []
    for row, values in found.items():
        for when, index in (("at the start", 0), ("at the end", -1)):
            for other, said in (("bptt", "BPTT"), ("representation", "spike representation")):
                if other in values[0][index]:
                    cells = [_mean([v[index][other].get(name) for v in values]) for name in names]
                    rows.append([f"{row}, {when}", said, *cells])
    return _table(
        "Cosine of OTTT's gradient with that of BPTT and of the spike representation (Theorem 1), by weight tensor:",
        rows,
        ["network of", "with", *names],
    )


def _table(title: str, rows: list[list[str]], header: Sequence[str]) -> str:
    return f"{title}\n\n{markdown(rows, header)}" if rows else ""


def _mean(values: Sequence[float | None], *, digits: int = 3) -> str:
    known = [v for v in values if v is not None]
    return f"{statistics.mean(known):.{digits}f}" if known else "–"


def _spread(values: Sequence[float]) -> str:
    found = mean_and_deviation(values)
    assert found is not None
    return f"{found[0]:.2f}" if found[1] is None else f"{found[0]:.2f} ± {found[1]:.2f}"
