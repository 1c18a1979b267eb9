"""A checkpoint of the paper authors' released code, read without running anything in it, and understood."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stream_ottt.errors import ModelError
from stream_ottt.export.released import A_CONVOLUTION, FEEDBACK, FIRST, READ_OUT

Group = dict[str, Tensor]
"""The parameters of one connection by the last part of their names."""


@dataclass(frozen=True, slots=True)
class Released:
    """A state dict of the released code, understood.

    Attributes:
        topology: ``layers`` or ``layers-f``.
        layers: as in ``network.layers``.
        planes: of the input.
        pooled: edge, in pixels of the last layer, of the image that the read-out reads; 1 for each channel's mean.
        classes: number of classes.
        parameters: by this package's names.
    """

    topology: str
    layers: tuple[int | str, ...]
    planes: int
    pooled: int
    classes: int
    parameters: dict[str, Tensor]


def read_released(path: Path) -> Released:
    """Read a file of ``torch.save``: a state dict, or a checkpoint that holds one as ``net``.

    Raises:
        ModelError: no such file, or not of this kind.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # of a hostile or damaged file, torch's reader raises almost anything
        if isinstance(e, MemoryError):
            raise
        line = str(e).partition("\n")[0]
        raise ModelError(
            f"{path}: not read: {line[:200]}; expected tensors and plain values alone: "
            "save {'net': net.state_dict()} with torch.save"
        ) from e
    state = found.get("net", found) if isinstance(found, dict) else found
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) and isinstance(k, str) for k, v in state.items()):
        raise ModelError(f"{path}: expected a state dict, or one under 'net'")
    try:
        return understand({k.removeprefix("module."): v for k, v in state.items()})
    except ValueError as e:
        raise ModelError(f"{path}: no VGG of the released code: {e}") from e


def understand(state: dict[str, Tensor]) -> Released:
    """What network a state dict is of.

    Raises:
        ValueError: a name or a shape that the released code's VGGs have not.
    """
    groups = _grouped(state)
    with_feedback = FIRST in groups
    layers: list[int | str] = []
    parameters: dict[str, Tensor] = {}
    channels = planes = 0
    expected = -1 if with_feedback else 0
    for number, (place, prefix) in enumerate(_convolutions(groups), start=1):
        pools = place - expected
        if pools < 0 or (pools and not layers):
            raise ValueError(f"{prefix!r} is no place of a convolution")
        own = groups[prefix]
        weight = own.get("weight", torch.empty(0))
        if weight.dim() != 4:
            raise ValueError(f"{prefix}.weight has {weight.dim()} dimensions; expected a convolution")
        planes = planes or weight.shape[1]
        out = weight.shape[0]
        _check(prefix, own, weight=(out, channels or planes, 3, 3), bias=(out,), gain=(out, 1, 1, 1))
        layers += [*["AP2"] * pools, out]
        parameters |= {f"conv{number}.{key}": value for key, value in own.items()}
        # The sequence of a network with feedback begins with the neurons of its first convolution.
        channels, expected = out, place + A_CONVOLUTION
    if with_feedback:
        first = parameters["conv1.bias"].numel()
        _check(FEEDBACK, groups[FEEDBACK], weight=(first, channels, 3, 3), bias=(first,))
        parameters |= {f"conv1.feedback.{key}": value for key, value in groups[FEEDBACK].items()}
    own = groups[READ_OUT]
    weight = own.get("weight", torch.empty(0))
    classes, features = weight.shape if weight.dim() == 2 else (0, 0)
    edge = max(math.isqrt(features // channels), 1)
    _check(READ_OUT, own, weight=(classes, channels * edge * edge), bias=(classes,))
    parameters |= {f"readout.{key}": value for key, value in own.items()}
    return Released("layers-f" if with_feedback else "layers", tuple(layers), planes, edge, classes, parameters)


def _grouped(state: dict[str, Tensor]) -> dict[str, Group]:
    """The parameters of each connection, in float32."""
    groups: dict[str, Group] = {}
    for key, value in state.items():
        prefix, _, last = key.rpartition(".")
        prefix = prefix.removesuffix(".op")
        if not re.fullmatch(rf"features\.\d{{1,4}}|{READ_OUT}|{FEEDBACK}|{FIRST}", prefix):
            raise ValueError(f"{key!r} is unknown; batch normalization and the large classifier are not supported")
        if not value.is_floating_point() or not bool(value.isfinite().all()):
            raise ValueError(f"{key!r} holds numbers that are not finite, or no floats")
        groups.setdefault(prefix, {})[last] = value.float()
    for prefix in (READ_OUT, *((FIRST, FEEDBACK) if FIRST in groups or FEEDBACK in groups else ())):
        if prefix not in groups:
            raise ValueError(f"{prefix!r} is absent")
    return groups


def _convolutions(groups: dict[str, Group]) -> list[tuple[int, str]]:
    """(place in the sequence, prefix) of each, in order; -1 of the one before the sequence."""
    found = sorted((int(p.partition(".")[2]), p) for p in groups if p.startswith("features."))
    found = [(-1, FIRST), *found] if FIRST in groups else found
    if not found:
        raise ValueError("it has no convolution")
    return found


def _check(prefix: str, own: Group, **shapes: tuple[int, ...]) -> None:
    for key in sorted(own.keys() | shapes.keys()):
        found, wanted = tuple(own[key].shape) if key in own else None, shapes.get(key)
        if found != wanted or 0 in (found or ()):
            raise ValueError(f"{prefix}.{key} is {found}; expected {wanted}")
