"""A folder of checkpoints: each is the whole state of a run, checked by its sums, and the newest good one is found.

    checkpoint-000007.json         what there is: the run, its plain state, and each file's SHA-256
    checkpoint-000007.safetensors  arrays and tensors of the state
    stretches-000005.safetensors   remembered stretches, which never change: written once, named by later checkpoints
    finished.json                  how the run ended, once there is nothing left to resume
    lock                           held by the run that writes here

The JSON file comes last, so that a checkpoint is there as a whole or not at all. It has two lines: the SHA-256 of the
second, and the second.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import ModelError, OutputError, UsageError
from stream_ottt.outputs import sync_folder, write_atomically
from stream_ottt.run.checkpoint import LEARNER, Gap, Manifest, SavedRun
from stream_ottt.run.tensor_files import read_tensors, write_tensors
from stream_ottt.state import State, join, split

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

FORMAT = "stream-ottt/checkpoint/1"
STRETCHES = "learning/session/memory/stretch/"
WEIGHTS = (f"{LEARNER}/weights/", f"{LEARNER}/optimizer/")
FINISHED = "finished.json"


@dataclass(slots=True)
class Segment:
    """A file of remembered stretches.

    Attributes:
        sha256: its sum.
        ids: the stretches in it.
    """

    sha256: str
    ids: set[int] = field(default_factory=set)


class CheckpointFolder:
    """Writes the checkpoints of one run, one after the other, and reads them.

    Args:
        path: the folder; made when it is opened.
        keep: how many checkpoints stay.

    Attributes:
        gaps: times in which the run did not run.
    """

    def __init__(self, path: Path, keep: int = 3) -> None:
        self.path = path
        self.keep = keep
        self.gaps: tuple[Gap, ...] = ()
        self._lock: int | None = None
        self._number = 0  # of the last one that was begun
        self._segments: dict[str, Segment] = {}

    # --- the folder ------------------------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """Of the checkpoints that seem to be there, the newest first."""
        found = (f.stem.partition("-")[2] for f in self.path.glob("checkpoint-*.json"))
        return sorted((int(number) for number in found if number.isdecimal()), reverse=True)

    def is_used(self) -> bool:
        """Whether a run has left checkpoints."""
        return bool(self.numbers()) or (self.path / FINISHED).exists()

    def check_empty(self) -> None:
        """Raise UsageError where another run has left checkpoints."""
        if self.is_used():
            raise UsageError(
                f"{self.path}: holds the checkpoints of a run; go on with `stream-ottt resume {self.path}`, "
                "name another folder, or say --force to remove them"
            )

    def open(self) -> None:
        """Make the folder, and be the only one that writes there.

        Raises:
            OutputError: it cannot be made or written.
            UsageError: another run writes there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as e:
            raise OutputError(f"{self.path}: checkpoints cannot be written there: {e.strerror}") from e
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise UsageError(f"{self.path}: another run writes its checkpoints there; name another folder") from None

    def close(self) -> None:
        """Let others write there."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def go_on(self, saved: SavedRun, *, lost: bool) -> None:
        """The run goes on now.

        Args:
            saved: the checkpoint from which it does.
            lost: whether the stream has gone on meanwhile.
        """
        before = saved.manifest
        self.gaps = (*before.gaps, Gap(timesteps=before.timesteps, since=before.written, until=now(), lost=lost))

    def clear(self) -> None:
        """Remove what another run has left. Raises OutputError."""
        try:
            for file in self._own_files():
                file.unlink()
        except OSError as e:
            raise OutputError(f"{self.path}: an old checkpoint cannot be removed: {e.strerror}") from e

    def _own_files(self) -> list[Path]:
        patterns = ("checkpoint-*.json", FINISHED, "checkpoint-*.safetensors", "stretches-*.safetensors", "*.partial")
        return [file for pattern in patterns for file in sorted(self.path.glob(pattern))]

    def _file(self, number: int, ending: str) -> Path:
        return self.path / f"checkpoint-{number:06}.{ending}"

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(self, state: State, sinks: dict[str, State | None], about: dict[str, Any]) -> Path:
        """Write one more checkpoint, and remove the oldest; returns its JSON file.

        Args:
            state: of the run; remembered stretches that were written before are not written again.
            sinks: what each sink needs to go on.
            about: fields of the manifest: ``run``, ``timesteps``, ``classes`` and ``class_names``.

        Raises:
            OSError: it cannot be written; those before are as they were.
            ModelError: a weight is not a finite number.
        """
        self._number += 1  # also after a failure: its files may be needed
        number = self._number
        ids = {int(key.removeprefix(STRETCHES)) for key in state if key.startswith(STRETCHES)}
        where = self._write_stretches(number, {i: state[f"{STRETCHES}{i}"] for i in ids})
        tree, tensors = split({key: value for key, value in state.items() if not key.startswith(STRETCHES)})
        wrong = next((k for k, v in tensors.items() if k.startswith(WEIGHTS) and not bool(v.isfinite().all())), None)
        if wrong is not None:
            raise ModelError(f"no checkpoint is written: {wrong} holds numbers that are not finite")
        files = {file: self._segments[file].sha256 for file in set(where.values())}
        own = self._file(number, "safetensors")
        files[own.name] = write_tensors(own, tensors)
        manifest = {
            "format": FORMAT,
            "number": number,
            "written": now(),
            "gaps": [gap.model_dump() for gap in self.gaps],
            "files": files,
            "stretches": where,
            "sinks": sinks,
            "state": tree,
            **about,
        }
        text = json.dumps(manifest, separators=(",", ":"), default=_plain).encode(errors="backslashreplace")
        write_atomically(self._file(number, "json"), hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n")
        with suppress(OSError):  # the next one tries again
            self._remove_old()
        return self._file(number, "json")

    def _write_stretches(self, number: int, stretches: dict[int, npt.NDArray[np.uint8]]) -> dict[int, str]:
        """Stretch → file. New stretches go to a file of their own, with those of files that hold mostly others."""
        import torch

        for name, segment in list(self._segments.items()):
            if 2 * len(segment.ids & stretches.keys()) < len(segment.ids):
                del self._segments[name]
        where = {i: name for name, segment in self._segments.items() for i in segment.ids & stretches.keys()}
        new = stretches.keys() - where.keys()
        if new:
            file = self.path / f"stretches-{number:06}.safetensors"
            sha256 = write_tensors(file, {str(i): torch.from_numpy(stretches[i]) for i in sorted(new)})
            self._segments[file.name] = Segment(sha256, set(new))
            where |= dict.fromkeys(new, file.name)
        return where

    def _remove_old(self) -> None:
        kept = self.numbers()[: self.keep]
        needed = {self._file(number, "json").name for number in kept}
        for number in kept:
            with suppress(ModelError):
                needed |= set(self._read_manifest(number).files)
        for file in self._own_files():
            if file.name not in needed:
                file.unlink()
        sync_folder(self.path)

    def finish(self, how: dict[str, Any]) -> None:
        """Note that the run has ended, and how. Raises OSError."""
        write_atomically(self.path / FINISHED, json.dumps(how).encode() + b"\n")

    # --- reading ---------------------------------------------------------------------------------------------------

    def finished(self) -> dict[str, Any] | None:
        """How the run has ended; None while there is something left to resume."""
        try:
            found = json.loads((self.path / FINISHED).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def newest(self) -> tuple[SavedRun, list[str]]:
        """The newest good checkpoint, and why newer ones are not good, a line each.

        Raises:
            ModelError: there is none.
        """
        wrong: list[str] = []
        for number in self.numbers():
            try:
                saved = self.read(number)
            except ModelError as e:
                wrong.append(str(e))
                continue
            self._number = self.numbers()[0]
            return saved, wrong
        self.close()
        why = f"no checkpoint is good: {wrong[0]}" if wrong else "there is no checkpoint"
        raise ModelError(f"{self.path}: {why}; begin anew with `stream-ottt run --checkpoint`")

    def read(self, number: int) -> SavedRun:
        """A checkpoint, every sum checked. Raises ModelError where it is damaged or something is missing."""
        manifest, own = self._read_manifest(number), self._file(number, "safetensors")
        tensors = {name: self._read_tensors(name, sha256) for name, sha256 in manifest.files.items()}
        try:
            state: State = join(manifest.state, tensors.pop(own.name, {}))
        except ModelError as e:
            raise ModelError(f"{own}: {e}") from e
        self._segments = {name: Segment(manifest.files[name], set(map(int, held))) for name, held in tensors.items()}
        for i, name in manifest.stretches.items():
            if (held := tensors.get(name, {}).get(str(i))) is not None:
                state[f"{STRETCHES}{i}"] = held.numpy()
        return SavedRun(self, manifest, state)

    def _read_manifest(self, number: int) -> Manifest:
        path = self._file(number, "json")
        try:
            sha256, _, text = path.read_bytes().rstrip(b"\n").partition(b"\n")
            if hashlib.sha256(text).hexdigest().encode() != sha256:
                raise ModelError(f"{path}: is damaged: its sum is wrong")
            return Manifest.load(json.loads(text), where="checkpoint")
        except (OSError, ValueError, RecursionError, UsageError) as e:
            raise ModelError(f"{path}: is no checkpoint of this program: {e}") from e

    def _read_tensors(self, name: str, sha256: str) -> dict[str, Tensor]:
        if Path(name).name != name:
            raise ModelError(f"{self.path}: {name!r} is no name of a file in it")
        return read_tensors(self.path / name, sha256)


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _plain(value: Any) -> Any:
    """What JSON knows in place of NumPy's numbers."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be saved")
