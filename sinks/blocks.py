"""Drawing with block characters: pictures at two pixels a cell, bars and charts to an eighth of a cell."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style


class Picture:
    """An event frame in half-block characters: two pixels a cell; dark ones show the terminal's background.

    Args:
        rgb: uint8 [height, width, 3].
        lit: bool [height, width], the pixels that hold an event.
    """

    def __init__(self, rgb: npt.NDArray[np.uint8], lit: npt.NDArray[np.bool_]) -> None:
        if len(rgb) % 2:
            rgb = np.concatenate([rgb, np.zeros_like(rgb[:1])])
            lit = np.concatenate([lit, np.zeros_like(lit[:1])])
        # 0 is dark; else a colour, in steps of 8 so that neighbours share a style, with a bit that says lit.
        coarse = (rgb & 0xF8).astype(np.int64)
        code = np.where(lit, coarse[..., 0] << 16 | coarse[..., 1] << 8 | coarse[..., 2] | 1, 0)
        self._rows = [list(zip(*pair, strict=True)) for pair in code.reshape(-1, 2, code.shape[1]).tolist()]
        self.width = code.shape[1]
        self.height = len(self._rows)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.width, self.width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for row in self._rows:
            for (top, bottom), cells in groupby(row):
                character, style = _half_block(top, bottom, console.color_system is not None)
                yield Segment(character * len(list(cells)), style)
            yield Segment.line()


@lru_cache(maxsize=4096)
def _half_block(top: int, bottom: int, coloured: bool) -> tuple[str, Style | None]:
    if not top and not bottom:
        return " ", None
    if not bottom:
        return "▀", _style(top)
    if not top:
        return "▄", _style(bottom)
    return ("▀", _style(top, bottom)) if coloured else ("█", None)


def _style(ink: int, paper: int | None = None) -> Style:
    return Style(color=_colour(ink), bgcolor=None if paper is None else _colour(paper))


def _colour(code: int) -> Color:
    return Color.from_rgb(code >> 16, code >> 8 & 0xFF, code & 0xF8)


def bar(share: float, width: int) -> str:
    """A bar of ``share`` in [0, 1] of ``width`` cells, to an eighth of a cell."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + ("" if eighths % 8 == 0 else " ▏▎▍▌▋▊▉"[eighths % 8])


def chart(values: list[float], rows: int) -> str:
    """Values in [0, 1] as columns of blocks, ``rows`` cells high, to an eighth; zero still shows."""
    eighths = [max(1, round(v * rows * 8)) for v in values]
    return "\n".join(
        "".join(" ▁▂▃▄▅▆▇█"[min(8, max(0, e - 8 * row))] for e in eighths) for row in reversed(range(rows))
    )
