"""The device that a network's tensors are on."""

from __future__ import annotations

import torch

from stream_ottt.errors import UsageError


def find_device(name: str, *, key: str) -> torch.device:
    """The device ``cpu``, ``cuda`` or ``cuda:1``.

    On a GPU float32 then means float32: convolutions and products in TF32, which cuDNN may take by itself, are off.

    Args:
        name: of the device.
        key: the setting that it comes from, for the message.

    Raises:
        UsageError: it is not here.
    """
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = "no CUDA device" if not count else f"no CUDA device {device.index}, only 0 to {count - 1},"
            raise UsageError(f"{key}: there is {there} here; use cpu")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return device
