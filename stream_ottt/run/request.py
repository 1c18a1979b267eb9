"""What a user asks of one run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.outputs import check_writable
from stream_ottt.run.presets import Tables

if TYPE_CHECKING:
    from stream_ottt.pipeline.sink import Sink
    from stream_ottt.run.checkpoint import SavedRun


@dataclass(slots=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        source: URI or path; None where all sources are in the settings.
        preset: name of a preset or path of a TOML file, or None.
        overrides: nested tables on top of it.
        sinks: sink URIs.
        load: model file to start from.
        save: model file to write at the end.
        summary: summary file to write at the end.
        learn: False only predicts and scores.
        force: True writes outputs anew that exist already.
        checkpoints: folder for checkpoints, or None.
        saved: the run to go on with, or None for a new one; its settings are all in ``overrides``.
    """

    source: str | None
    preset: str | None = None
    overrides: Tables = field(default_factory=dict)
    sinks: list[str] = field(default_factory=lambda: ["terminal"])
    load: Path | None = None
    save: Path | None = None
    summary: Path | None = None
    learn: bool = True
    force: bool = False
    checkpoints: Path | None = None
    saved: SavedRun | None = None

    def check_outputs(self, sinks: Iterable[Sink]) -> None:
        """Find out what of the outputs would be refused; a run that goes on has them already.

        Raises:
            StreamOtttError: an output cannot be written or would be lost, or an address is taken.
        """
        again = self.force or self.saved is not None
        if self.save is not None:
            check_writable(self.save, overwrite=again or self.save == self.load)
        if self.summary is not None:
            check_writable(self.summary, overwrite=again)
        if self.saved is None:
            for sink in sinks:
                sink.check(overwrite=self.force)

    def about(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, in plain JSON; the rest is in the settings."""
        return {
            "folder": str(Path.cwd()),
            "source": self.source,
            "sinks": self.sinks,
            "save": None if self.save is None else str(self.save),
            "summary": None if self.summary is None else str(self.summary),
            "learn": self.learn,
        }
