"""Other packages that read a CSV of events into columns; none of them checks a value."""

from __future__ import annotations

from pathlib import Path


def pyarrow_csv(path: Path) -> int:
    """Read with pyarrow, in all threads that it wants."""
    from pyarrow import csv

    return int(csv.read_csv(path).num_rows)


def polars_csv(path: Path) -> int:
    """Read with polars, in all threads that it wants."""
    import polars

    return int(polars.read_csv(path).height)


def pandas_csv(path: Path) -> int:
    """Read with pandas' fastest parser of its own, in one thread."""
    import pandas

    return len(pandas.read_csv(path, engine="c"))


def numpy_loadtxt(path: Path) -> int:
    """Read with NumPy alone, in one thread."""
    import numpy as np

    return len(np.loadtxt(path, np.int64, delimiter=",", skiprows=1))


TEXT = (pyarrow_csv, polars_csv, pandas_csv, numpy_loadtxt)
