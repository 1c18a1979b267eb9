"""Tensors in safetensors files: written at once and summed, read into memory of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from stream_ottt.errors import ModelError
from stream_ottt.outputs import write_atomically

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write a safetensors file; returns its SHA-256. Raises OSError."""
    from safetensors.torch import save

    data = save({name: value.contiguous() for name, value in tensors.items()})
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, each in memory of its own. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: value.clone() for name, value in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as e:
        raise ModelError(f"{path}: cannot be read: {e}") from e
