"""Data sets of the package tonic that are on disk already, as one labelled stream.

``tonic:DVSGesture?root=/data&train=false`` reads ``/data/DVSGesture`` through ``tonic.datasets.DVSGesture``. Nothing is
downloaded: the constructors of tonic's classes would, so here they find either files or an error. One sample is in
memory at a time (all of POKERDVS, a few MB: its class reads them when it is made).

What comes from tonic is put right where that is certain: samples stand in the order of their paths, numbers in them by
value (tonic leaves that of most to the file system); the columns of ASLDVS become one-dimensional; polarities -1 and 1
become OFF and ON. What stays as tonic gives it: DVSGesture is cut into gestures and its times are whole milliseconds;
NCALTECH101 is moved so that each recording touches the left and the upper edge; CIFAR10DVS is a conversion of the
authors' AEDAT 2.0. Times of ASLDVS and DVSLip are taken for µs: that is what their cameras' software writes, and no
file says it.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from stream_ottt.errors import InputError, StreamOtttError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket, make_events
from stream_ottt.sources.nmnist import RECORD
from stream_ottt.sources.npy import open_array
from stream_ottt.sources.samples import LabelledStream, SampleConfig, SampleSource


@dataclass(frozen=True, slots=True)
class TonicSet:
    """What must be known of one of tonic's classes beside what it says itself.

    Attributes:
        ending: of its files, one a sample.
        published: where its authors publish it.
        parts: whether it keeps training and test samples apart.
        size: (width, height) where the class names none.
    """

    ending: str
    published: str
    parts: bool = False
    size: tuple[int, int] = (1, 1)


SETS = {
    "ASLDVS": TonicSet(".mat", "https://github.com/PIX2NVS/NVS2Graph"),
    "CIFAR10DVS": TonicSet(".aedat4", "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"),
    "DVSGesture": TonicSet(".npy", "https://research.ibm.com/interactive/dvsgesture", parts=True),
    "DVSLip": TonicSet(".npy", "https://sites.google.com/view/event-based-lipreading", parts=True),
    "NCALTECH101": TonicSet(".bin", "https://www.garrickorchard.com/datasets/n-caltech101", size=(240, 180)),
    "NMNIST": TonicSet(".bin", "https://www.garrickorchard.com/datasets/n-mnist", parts=True),
    "POKERDVS": TonicSet(".npy", "http://www2.imse-cnm.csic.es/caviar/POKERDVS.html", parts=True),
}
"""The classes whose samples are events (x, y, t, p) of a camera with one label."""


class TonicConfig(SampleConfig):
    """Options of tonic's data sets, besides those of all labelled collections.

    Attributes:
        path: root and name; not an option.
        address: ``tonic:`` with the name of the class in ``tonic.datasets``.
        root: the folder that tonic calls ``save_to``; the data set lies in it, in a folder of its name.
        train: the training samples, or the test samples, where there are such; tonic's default is the former.
        limit: the first so many samples of each class.
    """

    path: Path = Path()
    address: str = ""
    root: Path
    train: bool | None = None
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _path_of_root(cls, values: Any) -> Any:
        if "path" in values:
            raise UsageError("unknown key 'source.path'; did you mean 'root'?")
        root = Path(str(values.get("root", ""))).expanduser()
        return {**values, "path": root / _name(str(values.get("address", "")))}

    @field_validator("address")
    @classmethod
    def _is_streamed(cls, address: str) -> str:
        if (name := _name(address)) not in SETS:
            near = difflib.get_close_matches(name.casefold(), [n.casefold() for n in SETS], n=1, cutoff=0.5)
            meant = next((f"did you mean {n!r}? " for n in SETS if near and n.casefold() == near[0]), "")
            raise ValueError(f"no data set {name!r} of tonic can be streamed; {meant}supported: {', '.join(SETS)}")
        return address

    @field_validator("train")
    @classmethod
    def _has_parts(cls, train: bool | None, info: ValidationInfo) -> bool | None:
        name = _name(info.data.get("address", ""))
        if train is not None and name in SETS and not SETS[name].parts:
            raise ValueError(f"{name} has no training and test part; say which samples with samples=start:stop")
        return train


class TonicSource(SampleSource):
    """The samples of one of tonic's data sets, one after another, each with its label.

    Iterating raises UsageError when tonic, or a package that it reads the files with, is not installed. Of a damaged
    sample nothing is yielded.
    """

    name = "tonic"
    schemes = ("tonic",)
    Config = TonicConfig
    config: TonicConfig

    def __init__(self, config: TonicConfig) -> None:
        super().__init__(config)
        self._data: Any = None
        self._order: list[int] = []
        self._size = (1, 1)

    def open_stream(self) -> LabelledStream:
        config, name = self.config, _name(self.config.address)
        cls = offline_class(name)
        with _tonic_at_work(config.path):
            self._data = cls(str(config.root), **({} if config.train is None else {"train": config.train}))
        size = self._data.sensor_size
        self._size = SETS[name].size if size is None else (int(size[0]), int(size[1]))
        targets = list(self._data.targets)
        classes = getattr(cls, "classes", None) or sorted(set(targets))
        self._names = dict(enumerate(classes))  # a dictionary of them stands in the order of its numbers
        number = {name: i for i, name in self._names.items()}
        labels = [number[target] if isinstance(target, str) else int(target) for target in targets]
        if unknown := sorted(set(labels) - set(self._names)):
            raise InputError(f"a sample of class {unknown[0]}; {name} has 0 to {len(classes) - 1}", path=config.path)
        seen = dict.fromkeys(self._names, 0)
        for i in sorted(range(len(labels)), key=lambda i: _place(self._data.data[i], labels[i])):
            seen[labels[i]] += 1
            if config.limit is None or seen[labels[i]] <= config.limit:
                self._order.append(i)
        return LabelledStream([labels[i] for i in self._order], self._read, self._fail, config, self._size)

    def _read(self, i: int) -> Iterator[EventPacket]:
        path = self._path(i)
        with _tonic_at_work(path):
            if path != self.config.path:
                check_file(path)
            events = make_event_array(self._data[self._order[i]][0], path)
        for at in range(0, len(events), PACKET_EVENTS):
            yield EventPacket(events[at : at + PACKET_EVENTS], *self._size)

    def _fail(self, i: int, message: str) -> InputError:
        return InputError(f"sample {i}: {message}", path=self._path(i))

    def _path(self, i: int) -> Path:
        """The file of a sample; the data set's folder where tonic forgets it."""
        where = self._data.data[self._order[i]]
        return Path(where) if isinstance(where, str) else self.config.path


def offline_class(name: str) -> type[Any]:
    """A class of ``tonic.datasets`` that takes the files that are there for complete, and never downloads any.

    Raises:
        UsageError: tonic cannot be imported, or this version of it has no such class.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what tonic's own imports say
            import tonic
    except ImportError as e:
        fix = "pip install tonic" if e.name == "tonic" else f"tonic cannot be imported: {e}"
        raise UsageError(f"the source 'tonic' needs the package tonic: {fix}") from e
    cls = getattr(tonic.datasets, name, None)
    if cls is None:
        raise UsageError(f"tonic {tonic.__version__} has no data set {name}: pip install --upgrade tonic")
    known = SETS[name]

    def missing(data: Any) -> InputError:
        return InputError(
            f"no files *{known.ending}; expected tonic's copy of {name} (root is the folder that holds {name}/); "
            f"its authors publish it at {known.published}, and nothing is downloaded here",
            path=Path(data.location_on_system, data.folder_name),
        )

    def check_exists(data: Any) -> bool:
        files = Path(data.location_on_system, data.folder_name).rglob(f"*{known.ending}")
        first = next(files, None)
        if first is None:
            raise missing(data)
        if name == "POKERDVS":  # read as soon as it is made
            for file in (first, *files):
                check_file(file)
        return True

    def download(data: Any) -> None:
        raise missing(data)

    # tonic names the folder after the class.
    return type(name, (cls,), {"_check_exists": check_exists, "download": download})


def check_file(path: Path) -> None:
    """What tonic's readers do not look at: that the file holds what its size or its header promises.

    Raises:
        InputError: it does not.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if path.suffix == ".bin" and size % RECORD:
        raise InputError(
            f"the last record has {size % RECORD} of its {RECORD} bytes; the file is truncated",
            path=path,
            offset=size - size % RECORD,
        )
    if path.suffix == ".npy":
        with path.open("rb") as file:

            def read_at(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(count)

            array = open_array(read_at, path)
        if array.data + array.nbytes != size:
            raise InputError(
                f"the header promises {array.data + array.nbytes} bytes, the file has {size}", path=path, offset=size
            )


def make_event_array(events: Any, path: Path) -> EventArray:
    """tonic's structured array, [n] or [n, 1], as one of ours. ``path`` is for messages.

    Raises:
        InputError: polarities that are neither 0 and 1 nor -1 and 1.
    """
    events = events.reshape(-1)
    p = events["p"]
    if len(p) and p.dtype != bool and not -1 <= p.min() <= p.max() <= 1:
        raise InputError(f"polarities from {p.min()} to {p.max()}; expected 0 and 1, or -1 and 1", path=path)
    return make_events(events["x"], events["y"], events["t"], p > 0)


@contextmanager
def _tonic_at_work(path: Path) -> Iterator[None]:
    """Whatever tonic makes of files that are not as they should be becomes an InputError about ``path``."""
    try:
        with np.errstate(invalid="raise"):  # NaN would become a coordinate
            yield
    except (StreamOtttError, KeyboardInterrupt):
        raise
    except ImportError as e:
        raise UsageError(f"tonic reads these files with {e.name}, which is not installed: pip install {e.name}") from e
    except BaseException as e:  # some call exit(), and panics of the AEDAT4 reader are no Exception
        said = " ".join(str(e).split())[:200]
        raise InputError(f"tonic cannot read this: {type(e).__name__}: {said}", path=path) from e


def _name(address: str) -> str:
    return address.removeprefix("tonic:").strip("/")


def _place(where: Any, label: int) -> list[Any]:
    """Where a sample stands among the others: by its path, numbers in it by their value."""
    if not isinstance(where, str):
        return [label]  # tonic gives no path; those of a class stand in their order
    words = [re.split(r"([0-9]+)", part) for part in Path(where).parts]
    return [*([int(word) if i % 2 else word for i, word in enumerate(part)] for part in words), [where]]
