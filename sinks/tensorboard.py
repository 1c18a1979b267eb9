"""Event files for TensorBoard: the scores, firing rates, updates, memory and latency of a run, by timestep."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.curves import Curves, Every
from stream_ottt.sinks.textfile import FileTarget
from stream_ottt.state import State

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from stream_ottt.learning.session import Session
    from stream_ottt.pipeline.view import RunView

FILES = "events.out.tfevents.*"


class TensorBoardConfig(SinkConfig):
    """Options of TensorBoard's files.

    Attributes:
        target: the folder; it is made where there is none.
        every: timesteps from one point to the next.
    """

    target: FileTarget
    every: Every = 50


class TensorBoardSink(Sink):
    """Writes scalars for TensorBoard, and at the end the figures of the summary; needs tensorboard."""

    name = "tensorboard"
    Config = TensorBoardConfig
    config: TensorBoardConfig
    looks = True

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self.folder = Path(config.target)
        self._curves = Curves(self.config.every)
        self._writer: SummaryWriter | None = None
        self._step = -1  # of the last result
        self._first: int | None = None  # step from which on what was written before holds no longer

    def check(self, *, overwrite: bool) -> None:
        if find_spec("tensorboard") is None:
            raise UsageError("sink 'tensorboard' needs a package: pip install 'stream-ottt[report]'")
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder}: cannot hold TensorBoard's files: it is a file; name a folder")
        if not overwrite and any(self.folder.glob(FILES)):
            raise OutputError(f"{self.folder}: holds another run already; name another folder, or say --force")

    async def open(self, run: RunView) -> None:
        from torch.utils.tensorboard import SummaryWriter

        try:
            if self._first is None:
                for old in self.folder.glob(FILES):
                    old.unlink()
            self._writer = SummaryWriter(str(self.folder), purge_step=self._first)
        except OSError as e:
            raise OutputError(f"{self.folder}: cannot be written: {e.strerror}") from e

    def look(self, session: Session, result: StepResult) -> None:
        self._curves.look(session, result)

    async def consume(self, result: StepResult) -> None:
        self._step = result.timestep.index
        self._write_points(self._step)

    def _write_points(self, step: int | None) -> None:
        for point in self._curves.take(step):
            for key, value in point.items():
                if key not in ("step", "t"):
                    self._add(key, value, point["step"])

    def _add(self, name: str, value: Any, step: int) -> None:
        assert self._writer is not None
        if isinstance(value, Mapping):
            for key, one in value.items():
                self._add(f"{name}/{key}", one, step)
        elif isinstance(value, (int, float)):
            try:
                self._writer.add_scalar(name, value, step)
            except OSError as e:
                raise OutputError(f"{self.folder}: cannot be written: {e.strerror}") from e

    async def settle(self) -> State:
        if self._writer is not None:
            self._writer.flush()
        return {}

    def go_on(self, state: State | None, step: int) -> None:
        self._first = step

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._writer is None:
            return
        try:
            self._write_points(None)
            if summary is not None and self._step >= 0:
                for key in ("accuracy", "updates"):
                    self._add(key, summary[key], self._step)
        finally:
            self._writer.close()
