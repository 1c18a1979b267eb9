"""One run from settings to a folder: settings, versions, metrics row by row, checkpoint, result, curves, table row.

A run that was killed goes on at its last completed interval when it is started again with the same folder and settings.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.replay import provenance
from stream_ottt.replay.analysis.activity import measure_activity
from stream_ottt.replay.analysis.alignment import measure_alignment
from stream_ottt.replay.check import check
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.distributed import World
from stream_ottt.replay.files import load_state, save_state, write_json, write_text
from stream_ottt.replay.protocols import PROTOCOLS
from stream_ottt.replay.protocols.base import Protocol, Row
from stream_ottt.replay.report import table_row
from stream_ottt.replay.workbench import TEST_BATCH, Workbench
from stream_ottt.run.model_file import load_checkpoint, save_checkpoint

CHECKPOINT = "checkpoint.safetensors"
RESULT = "result.json"

Say = Callable[[str], None]


At = Callable[[float], None]


def replay(
    config: ReplayConfig, out: Path, *, world: World | None = None, say: Say = print, at: At | None = None
) -> dict[str, Any]:
    """Run to the end, or go on where an earlier run with the same folder stopped.

    Args:
        config: the settings.
        out: the folder; made when it is not there.
        world: the processes of this run.
        say: takes one line of progress an interval.
        at: told after each batch how much of the run is done, 0 … 1.

    Returns:
        What ``result.json`` holds.

    Raises:
        UsageError: settings that cannot be, or a folder that holds another run.
        InputError: data that are missing or damaged.
        OutputError: the folder cannot be written.
    """
    run = Run(config, out, world or World(), say, at)
    return run.go()


class Run:
    """The parts of one run; see :func:`replay`."""

    def __init__(self, config: ReplayConfig, out: Path, world: World, say: Say, at: At | None = None) -> None:
        self.config = config
        self.out = out
        self.world = world
        self.say = say
        self.at = at
        if world.size > 1 and config.protocol.name != "epochs":
            raise UsageError(
                f"protocol {config.protocol.name!r} follows one stream; only 'epochs' can be shared by processes"
            )
        if world.size > 1 and config.rehearsal.mode != "off":
            raise UsageError("rehearsal is for one stream in one process; use rehearsal.mode = 'off'")
        check(config)
        self.settings = config.model_dump(mode="json", exclude_none=True)
        self._check_folder()

    def go(self) -> dict[str, Any]:
        finished = self.out / RESULT
        if finished.exists():
            done: dict[str, Any] = json.loads(finished.read_text())
            self.say(f"{self.out}: finished already")
            return done
        started = time.perf_counter()
        dataset = open_dataset(self.config.data)
        protocol: Protocol = PROTOCOLS.get(self.config.protocol.name)(self.config, dataset, self.world.size)
        bench = Workbench(self.config, batches=protocol.batches, world=self.world, dataset=dataset)
        self._make_folder()  # only now: whatever cannot be built leaves no trace
        rows = self._resume(bench, protocol)
        aligns = bool(self.config.report.alignment) and self.leads
        if self.at is not None:
            bench.at, bench.learned = self.at, protocol.batches * len(rows) // max(protocol.length, 1)
        at_start = self._alignment(bench) if aligns and not rows else None
        for i in range(len(rows), protocol.length):
            row = protocol.advance(bench, i)
            if at_start is not None and not rows:
                row["alignment_at_start"] = at_start
            if aligns and _due(i, protocol.length):
                row["alignment"] = self._alignment(bench)
            rows.append(row)
            if self.leads:
                self._checkpoint(bench, rows)
                self.say(self._line(row, i, protocol.length))
                if not bench.learned:  # a protocol that learns on benches of its own
                    bench.at((i + 1) / protocol.length)
        result = {
            **protocol.result(bench, rows),
            "seconds": time.perf_counter() - started,
            "parameters": bench.method.network.size,
            "samples": {"train": len(dataset.train), "test": len(dataset.test)},
            "classes": dataset.names,
            "binning": "static frames" if dataset.static else self.config.data.binning,
        }
        if self.leads:
            self._finish(bench, result, rows)
        return result

    @property
    def leads(self) -> bool:
        """Whether this process writes the folder."""
        return self.world.rank == 0

    # --- folder ------------------------------------------------------------------------------------------------------

    def _check_folder(self) -> None:
        """Make sure that the folder, where there is one, is this run's."""
        path = self.out / "settings.json"
        try:
            other = differences(json.loads(path.read_text()), self.settings) if path.exists() else []
        except OSError as e:
            raise OutputError(f"{self.out}: cannot be read: {e.strerror}") from e
        except ValueError as e:
            raise UsageError(f"{path}: no settings of a run ({e}); choose another folder with --out") from e
        if other:
            more = f" and {len(other) - 3} more" if len(other) > 3 else ""
            raise UsageError(
                f"{self.out}: holds a run with other settings: {', '.join(other[:3])}{more}; "
                "choose another folder with --out"
            )

    def _make_folder(self) -> None:
        """Make the folder, and say in it what is being run."""
        if not self.leads or (self.out / "settings.json").exists():
            return
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputError(f"{self.out}: cannot be made: {e.strerror}") from e
        about = {
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "command": provenance.command(),
            "processes": self.world.size,
        }
        write_json(self.out / "provenance.json", about)
        write_json(self.out / "settings.json", self.settings)

    # --- intervals ---------------------------------------------------------------------------------------------------

    def _resume(self, bench: Workbench, protocol: Protocol) -> list[Row]:
        path = self.out / CHECKPOINT
        if not path.exists():
            return []
        checkpoint = load_checkpoint(path)
        checkpoint.restore(bench.learner)
        progress = checkpoint.settings["progress"]
        rows: list[Row] = progress["rows"]
        for i, row in enumerate(rows):
            protocol.skip(bench, i, row)
        bench.method.load_state_dict(load_state(self._method_file(len(rows))))
        generator = bench.method.network.generator
        if generator is not None:
            state = bytearray.fromhex(progress["generator"])
            generator.set_state(torch.frombuffer(state, dtype=torch.uint8).clone())
        self.say(f"{self.out}: goes on after interval {len(rows)} of {protocol.length}")
        return rows

    def _checkpoint(self, bench: Workbench, rows: list[Row]) -> None:
        generator = bench.method.network.generator
        state = "" if generator is None else generator.get_state().numpy().tobytes().hex()
        progress = {"rows": rows, "generator": state}
        # Before the checkpoint, and under the number of its rows: the two always belong together.
        save_state(self._method_file(len(rows)), bench.method.state_dict())
        save_checkpoint(
            self.out / CHECKPOINT,
            bench.learner,
            settings={**self._run_settings(), "progress": progress},
            class_names={},
        )
        self._method_file(len(rows) - 1).unlink(missing_ok=True)
        write_text(self.out / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def _method_file(self, rows: int) -> Path:
        """What the method remembers after so many rows."""
        return self.out / f"method-{rows}.safetensors"

    def _run_settings(self) -> dict[str, Any]:
        """The settings under the names that ``stream-ottt run --load`` knows, and all of them."""
        return {"network": self.settings["network"], "learner": self.settings["learner"], "replay": self.settings}

    def _alignment(self, bench: Workbench) -> dict[str, Any]:
        """Cosines of the gradients on the first training samples, not augmented."""
        items = bench.dataset.train[:: max(len(bench.dataset.train) // self.config.report.alignment, 1)]
        frames, targets = bench.loader.batch(items[: self.config.report.alignment])
        return measure_alignment(bench.plain_copy(), frames.cpu(), targets.cpu(), bench.learner_config)

    @staticmethod
    def _line(row: Row, i: int, length: int) -> str:
        shown = {k: v for k, v in row.items() if isinstance(v, (int, float)) and "accuracy" in k}
        return f"{i + 1}/{length} " + "  ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in shown.items())

    # --- end ---------------------------------------------------------------------------------------------------------

    def _finish(self, bench: Workbench, result: dict[str, Any], rows: list[Row]) -> None:
        c = self.config
        if c.report.activity:
            items = bench.dataset.test[:: max(len(bench.dataset.test) // c.report.activity, 1)][: c.report.activity]
            starts = range(0, len(items), TEST_BATCH)
            batches = (bench.loader.batch(items[at : at + TEST_BATCH])[0].cpu() for at in starts)
            result["activity"] = measure_activity(bench.plain_copy(), batches)
        aligned = [row["alignment"] for row in rows if "alignment" in row]
        if aligned:
            result["alignment"] = [rows[0]["alignment_at_start"], *aligned]
        names = dict(enumerate(bench.dataset.names))
        save_checkpoint(self.out / "model.safetensors", bench.learner, settings=self._run_settings(), class_names=names)
        if c.report.figures:
            from stream_ottt.replay.figures import draw_curves

            draw_curves(self.out / "curves.png", rows, result, self.settings)
        if c.report.tensorboard:
            write_tensorboard(self.out, rows)
        about = json.loads((self.out / "provenance.json").read_text())
        write_text(self.out / "row.md", table_row(self.settings, result, about))
        write_json(self.out / RESULT, result)


def differences(there: Any, wanted: Any, key: str = "") -> list[str]:
    """What differs between two nested tables, each as ``"table.key is 1 there, and 2 now"``."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        keys = [*there, *(k for k in wanted if k not in there)]
        return [d for k in keys for d in differences(there.get(k), wanted.get(k), f"{key}.{k}" if key else k)]
    if there == wanted:
        return []
    shown = ["nothing" if value is None else json.dumps(value, ensure_ascii=False) for value in (there, wanted)]
    return [f"{key or 'all'} is {shown[0]} there and {shown[1]} now"]


def _due(i: int, length: int) -> bool:
    """At most ten times over a run, the last time at its end."""
    every = -(-length // 10)
    return (i + 1) % every == 0 or i + 1 == length


def write_tensorboard(out: Path, rows: list[Row]) -> None:
    """Each number of each row as a scalar."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(out / "tensorboard")) as writer:
        for i, row in enumerate(rows):
            for key, value in row.items():
                if isinstance(value, (int, float)):
                    writer.add_scalar(key, value, i + 1)
