"""A disk that is full: what every writer of event files makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import make_events
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sinks.writers.base import EventWriter

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("n", [10, 200_000])
@pytest.mark.parametrize("name", WRITERS.names())
def test_it_is_an_output_error_however_few_events_there_are(name: str, n: int) -> None:
    writer = cast("type[EventWriter]", WRITERS.get(name))
    i = np.arange(n)
    with pytest.raises(OutputError, match=r"cannot be written|No space left"), writer(FULL, 34, 34) as out:
        out.write(make_events(i * 7 % 34, i * 5 % 34, i, i % 3 == 0))
