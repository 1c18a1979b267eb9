"""The settings of network and optimizer, apart from what needs torch, so that settings are checked without it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator

from stream_ottt.settings import Settings

if TYPE_CHECKING:
    from stream_ottt.network.neurons import NeuronModel


def _a_device(value: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", value):
        raise ValueError("expected cpu, cuda or cuda:1")
    return value


Device = Annotated[str, AfterValidator(_a_device)]
"""A setting that names a device."""

MAX_LAYERS = 1000
"""A stack of 1000 is built in two seconds. A damaged model file must not take hours."""


class NetworkConfig(Settings):
    """The network.

    Attributes:
        topology: ``layers``, ``vgg`` (9.2 M parameters), ``nf-resnet-18``, ``nf-resnet-34`` (22 M); ``layers-f`` and
            ``vgg-f`` have feedback.
        layers: the stack of a ``layers`` network: channels (3×3), ``"nCk"`` (k×k, k odd), ``"APk"``.
        weight_standardization: scaled weight standardization (sWS), and 2.74 after each spiking layer.
        readout: ``gap`` averages each channel over the image, ``flatten`` gives every pixel its own weight.
        decay: λ of membrane and trace.
        threshold: V_th.
        surrogate: the derivative of the spike function, ``sigmoid`` or ``rectangular``.
        surrogate_slope: k of the sigmoid.
        dropout: share of neurons silenced per sample while learning.
        input_trace: the first layer's presynaptic factor is the λ-filtered input instead of the input itself.
        input_scale: factor on the frames' counts.
        input_mass: each frame is multiplied so that its counts sum up to this, however many events a window holds; 0
            leaves them as they are.
    """

    topology: str = "layers"
    layers: tuple[int | str, ...] = Field((16, 32, "AP2", 64, "AP2", 64), max_length=MAX_LAYERS)
    weight_standardization: bool = True
    readout: Literal["gap", "flatten"] = "gap"
    decay: float = Field(0.5, ge=0, lt=1)
    threshold: float = Field(1.0, gt=0)
    surrogate: Literal["sigmoid", "rectangular"] = "sigmoid"
    surrogate_slope: float = Field(4.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    input_trace: bool = False
    input_scale: float = Field(1.0, gt=0)
    input_mass: float = Field(0.0, ge=0)

    @field_validator("layers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            parts: list[object] = [part for part in re.split(r"[-,\s\[\]\"']+", value) if part]
        elif isinstance(value, Sequence):
            parts = list(value)
        else:
            parts = [value]
        return tuple(int(p) if isinstance(p, str) and re.fullmatch("[0-9]{1,9}", p) else p for p in parts)

    @property
    def neuron(self) -> NeuronModel:
        """The neuron's constants."""
        from stream_ottt.network.neurons import NeuronModel

        return NeuronModel(self.decay, self.threshold, self.surrogate, self.surrogate_slope, self.dropout)


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Settings):
    """The optimizer and its learning rate.

    Attributes:
        optimizer: ``sgd`` (with momentum) or ``adam``.
        lr: learning rate.
        momentum: of SGD.
        weight_decay: L2 penalty, added to the gradient.
        betas: of Adam, each in [0, 1).
        schedule: ``constant``, or ``cosine`` from ``lr`` down to 0 over ``schedule_steps``.
        schedule_steps: optimizer steps until the cosine reaches 0; it stays there. 0 finds them from the length of what
            is learned, where that is known.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(0.02, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    schedule: Literal["constant", "cosine"] = "constant"
    schedule_steps: int = Field(0, ge=0, le=2**40)

    def with_known_end(self) -> Self:
        """These settings, but with a constant rate where the end of the cosine is not known."""
        if self.schedule != "cosine" or self.schedule_steps:
            return self
        return self.model_copy(update={"schedule": "constant"})
