"""Frames beside counts, as a binner makes them and a session stores them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import SIZE, WINDOW, labelled_events

from stream_ottt.errors import UsageError
from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import Ledger
from stream_ottt.run.config import RunConfig

EVENTS = labelled_events(3, 4)
TAU = 2_000


@pytest.mark.parametrize("cut", [1, 37, len(EVENTS)])
def test_a_decaying_frame_forgets_at_a_boundary_and_nowhere_else(cut: int) -> None:
    boundary = 15 * WINDOW
    config = BinningConfig(window=WINDOW, width=SIZE, height=SIZE, frame=f"decay:?tau={TAU}us")
    binner = Binner(config, SIZE, SIZE, Ledger(), boundaries=[boundary])
    made = [s for at in range(0, len(EVENTS), cut) for s in binner.feed(EVENTS[at : at + cut])] + [*binner.flush()]
    for step in made:
        since = boundary if step.t_start >= boundary else 0
        seen = EVENTS[(EVENTS["t"] >= since) & (EVENTS["t"] < step.t_end)]
        want = np.zeros((2, SIZE, SIZE))
        np.add.at(want, (seen["p"].astype(int), seen["y"], seen["x"]), np.exp((seen["t"] - step.t_end) / TAU))
        np.testing.assert_allclose(step.frame, want, rtol=1e-5, atol=1e-6)
        assert not step.counts
    assert len(made) > 30


def test_two_bins_are_two_planes_for_each_polarity_and_add_up_to_counts() -> None:
    config = BinningConfig(window=WINDOW, width=SIZE, height=SIZE, frame="voxel-2")
    assert config.frame_shape(SIZE, SIZE) == (4, SIZE, SIZE)
    counting = config.model_copy(update={"frame": "counts"})
    bins, counts = (
        [*b.feed(EVENTS), *b.flush()] for b in (Binner(c, SIZE, SIZE, Ledger()) for c in (config, counting))
    )
    for two, one in zip(bins, counts, strict=True):
        np.testing.assert_allclose(two.picture(), one.frame, rtol=1e-5, atol=1e-6)


def test_a_frame_that_is_none_names_the_near_miss() -> None:
    with pytest.raises(UsageError, match="voxel-2"):
        RunConfig.load({"binning": {"frame": "voxel-3"}})
