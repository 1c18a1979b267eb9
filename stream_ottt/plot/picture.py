"""A picture of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stream_ottt.events.packet import EventPacket, split_well_formed
from stream_ottt.plot.course import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def events(packet: EventPacket, *, ax: Axes | None = None) -> Axes:
    """Draw the events of a packet: per pixel, ON minus OFF.

    Args:
        packet: the events; those outside the sensor are left out.
        ax: where to; None for a new figure of pyplot.
    """
    found, _ = split_well_formed(packet)
    balance = np.zeros((packet.height, packet.width), np.int64)
    np.add.at(balance, (found["y"], found["x"]), np.where(found["p"] > 0, 1, -1))
    most = max(int(np.abs(balance).max(initial=0)), 1)
    ax = ax or new_axes(4.5, 4)
    image = ax.imshow(balance, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="ON − OFF")
    span = f", {(int(found['t'][-1]) - int(found['t'][0])) / 1e3:.1f} ms" if len(found) else ""
    ax.set(title=f"{len(found):,} events{span}", xlabel="x", ylabel="y")
    return ax
