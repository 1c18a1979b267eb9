"""Files of a run's folder: states, JSON and text, each whole or not there.

A file that was there is replaced only once the new one is complete; what writes raises OutputError.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stream_ottt.errors import InputError, OutputError
from stream_ottt.outputs import write_atomically
from stream_ottt.state import State, join, split


def save_state(path: Path, state: State) -> None:
    """Write a state; :func:`load_state` reads it."""
    from safetensors.torch import save

    tree, tensors = split(state)
    _write(path, save({k: v.contiguous() for k, v in tensors.items()}, {"tree": json.dumps(tree)}))


def load_state(path: Path) -> State:
    """What :func:`save_state` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as f:
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - no mapping
            state: State = join(json.loads(f.metadata()["tree"]), tensors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
        raise InputError(f"cannot be read: {e}; remove the run's folder and start it anew", path=path) from e
    return state


def write_json(path: Path, value: Any) -> None:
    """Write JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text."""
    _write(path, text.encode())


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror}") from e
