"""A folder of recordings as one labelled stream: ``CLASS/*.ext``, or one recording a class, ``CLASS.ext``.

Class names in alphabetical order are the labels 0, 1, 2, …. The recordings may be in any file format that is read
here, each recognised by its content. They are read one after the other, so memory stays bounded; but where each
begins and ends must be known before the first packet. So every selected recording is decoded once beforehand, and
what was learned is kept for later passes, unless ``duration``, ``width`` and ``height`` are all given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.samples import LabelledStream, SampleConfig, SampleSource


class FolderConfig(SampleConfig):
    """Options of folders, besides those of all labelled collections.

    Attributes:
        pattern: which files are recordings, such as ``*.aedat``.
        limit: the first so many recordings of each class.
        width: sensor width in pixels; None takes the widest of the recordings.
        height: sensor height in pixels; None takes the highest of the recordings.
    """

    pattern: str = Field(default="*", pattern=r"^[^/\\]+$")
    limit: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1, le=2**15)
    height: int | None = Field(default=None, ge=1, le=2**15)


class FolderSource(SampleSource, FileSource):
    """All recordings of a folder, one after another, each labelled with its class."""

    name = "folder"
    Config = FolderConfig
    config: FolderConfig

    def __init__(self, config: FolderConfig) -> None:
        super().__init__(config)
        self._files: list[Path] = []

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """Any folder; tried last."""
        return path.is_dir()

    def open_stream(self) -> LabelledStream:
        config = self.config
        if not self.path.is_dir():
            raise self.fail("no folder; expected one with recordings in CLASS/*.ext or CLASS.ext")
        classes = self._classes()
        self._names = dict(enumerate(classes))
        labels: list[int] = []
        for label, files in enumerate(classes.values()):
            self._files += files[: config.limit]
            labels += [label] * len(files[: config.limit])
        size = (config.width, config.height) if config.width and config.height else None
        return LabelledStream(
            labels, self._read, lambda i, message: InputError(message, path=self._files[i]), config, size
        )

    def _classes(self) -> dict[str, list[Path]]:
        """Class name → its recordings, both in alphabetical order."""
        inside = {d.name: self._recordings(d) for d in sorted(self.path.iterdir()) if _shown(d) and d.is_dir()}
        classes = {name: files for name, files in inside.items() if files}
        if not classes:
            # Without class folders each file is a class of its own.
            classes = {f.stem: [f] for f in self._recordings(self.path)}
        files = [f for group in classes.values() for f in group]
        if not files:
            raise self.fail(f"no recordings {self.config.pattern} in this folder; expected CLASS/*.ext or CLASS.ext")
        endings = sorted({f.suffix.lower() or "none" for f in files})
        if len(endings) > 1:
            raise UsageError(
                f"{self.path}: files of several kinds ({', '.join(endings)}); say which are recordings, "
                f"such as pattern=*{endings[0]}"
            )
        return classes

    def _recordings(self, folder: Path) -> list[Path]:
        return sorted(f for f in folder.glob(self.config.pattern) if _shown(f) and f.is_file())

    def _read(self, i: int) -> Iterator[EventPacket]:
        from stream_ottt.sources.opening import open_source

        config = self.config
        source = open_source(self._files[i])
        if not isinstance(source, FileSource):
            raise InputError(f"the source {source.name!r} is none for recordings in a folder", path=self._files[i])
        known = type(source.config).model_fields
        size = {k: v for k, v in (("width", config.width), ("height", config.height)) if v and k in known}
        if size:
            source = type(source).from_options(path=self._files[i], **size)
        yield from source.excerpt()


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")
