"""Tensors in safetensors files that are told by their sums."""

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


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """All tensors of a file, in memory.

    Raises:
        ModelError: it cannot be read, or its sum is another one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ModelError(f"{path}: is damaged: its sum is wrong")
        return load(data)
    except OSError as e:
        raise ModelError(f"{path}: cannot be read: {e.strerror}") from e
    except (SafetensorError, ValueError) as e:
        raise ModelError(f"{path}: cannot be read: {e}") from e
