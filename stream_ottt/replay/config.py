"""The settings of a replay, table by table, and the presets that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from stream_ottt.engine.config import Precision
from stream_ottt.labels.evaluation import EvaluationConfig
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.network.config import Device, NetworkConfig
from stream_ottt.settings import Duration, Pixels, Settings, Threads, Unit


class DataConfig(Settings):
    """Which data, how they are split, and how a sample becomes T frames.

    Attributes:
        name: the data set, one of ``stream_ottt.replay.datasets``.
        path: its file or folder; for ``stream`` any source's URI.
        test_path: where the test samples are, for data that are split by file or session.
        labels: CSV of label intervals, for a ``stream`` whose source has none.
        split: of data without a published split: ``order`` tests on the last samples, ``time`` on the last
            ``test_share`` of each sample's own time, cut into pieces of T windows.
        test_share: share of samples, or of time, that is tested on.
        train: at most so many training samples, the first of each class in turn; None for all.
        test: at most so many test samples, likewise.
        classes: only these labels, renumbered in this order; None for all.
        time_steps: T.
        binning: ``equal-count`` cuts a sample into T frames of as many events each, as the paper does, which no live
            stream can; ``duration`` (T windows of ``window``) and ``count`` (T frames of ``count`` events) are causal.
        window: duration of a frame.
        count: events in a frame.
        width: of the frames, pixels; ``none`` keeps that of the data.
        height: of the frames, pixels; ``none`` keeps that of the data.
        transforms: of events, tonic's (docs/replay.md): what is done to a sample's events before they become frames, in
            this order; each as ``NAME``, ``NAME:?argument=value`` or a table with the key ``uri``.
        keep_aspect: images of a folder keep their size here, for ``transform.resized_crop`` to cut the frame's from.
        cache: folder of decoded samples; ``auto`` for one under the user's cache folder, ``off`` for none.
    """

    name: str = "stream"
    path: str = ""
    test_path: str | None = None
    labels: str | None = None
    split: Literal["order", "time"] = "order"
    test_share: float = Field(0.2, gt=0, lt=1)
    train: int | None = Field(None, ge=1, le=2**31)
    test: int | None = Field(None, ge=1, le=2**31)
    classes: tuple[int, ...] | None = None
    time_steps: int = Field(10, ge=1, le=100_000)
    binning: Literal["equal-count", "duration", "count"] = "duration"
    window: Duration = Field(20_000, ge=1)
    count: int = Field(1000, ge=1, le=2**31)
    width: Pixels | None = None
    height: Pixels | None = None
    transforms: tuple[str | dict[str, Any], ...] = ()
    keep_aspect: bool = False
    cache: str = "auto"

    @field_validator("transforms", mode="before")
    @classmethod
    def _one_transform(cls, value: object) -> object:
        return (value,) if isinstance(value, (str, Mapping)) else value


class TransformConfig(Settings):
    """What is done to a sample's frames on their way to the network; all its frames alike.

    Attributes:
        crop: pad by so many pixels on each side, then cut out the old size at a random place; 0 for none. Training
            only.
        resized_crop: cut out a random 8…100 % of the image at a random aspect and scale it to the size; tested on the
            middle of the image scaled to 8/7 of the size. For images of many sizes, as in ImageNet.
        flip: mirror left and right, every second time. Training only.
        cutout: edge of a square set to 0 at a random place; 0 for none. Training only.
        scale: factor on counts or pixel values, before the mean is taken off.
        mean: taken off each channel, after ``scale``; empty for no normalization.
        std: each channel is divided by it, after ``mean`` was taken off.
    """

    crop: Annotated[int, Unit("pixels")] = Field(0, ge=0, le=32767)
    resized_crop: bool = False
    flip: bool = False
    cutout: Annotated[int, Unit("pixels")] = Field(0, ge=0, le=32767)
    scale: float = Field(1.0, gt=0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _pairs(self) -> TransformConfig:
        if len(self.mean) != len(self.std) or any(s <= 0 for s in self.std):
            raise ValueError("transform.mean and transform.std must be equally long, and std above 0")
        return self


OWN_MEMORY = ("er", "derpp", "gdumb", "ncm", "slda")
"""Methods that take whole samples, each once."""


class MethodConfig(Settings):
    """The learning method.

    Attributes:
        name: ``ottt_o``, ``ottt_a``, ``bptt``, ``sltt``, ``ndot``, ``stllr``, ``obgd``, ``cbp``, ``er``, ``derpp``,
            ``gdumb``, ``ncm``, ``slda``, ``frozen``, one of another package, or a class in a file, ``rule.py:MyRule``.
        truncation: of ``bptt``: gradients reach back over so many timesteps; None for all of a sample.
        precision: of the fast engine's matrix products, for the ottt methods at batch size 1.
        compiled: the forward pass of the ottt methods is compiled by torch, which pays for long runs with batches.
        alpha_pre: of ``stllr``: weight of a presynaptic spike after postsynaptic activity.
        post_decay: of ``stllr``: decay of the postsynaptic trace per timestep.
        kappa: of ``obgd``: how far below the largest step that does not overshoot it stays.
        renew: of ``cbp``: share of the channels that is drawn anew after a sample.
        maturity: of ``cbp``: samples that a channel is left alone for.
        memory: of ``er``, ``derpp`` and ``gdumb``: samples remembered at most.
        der_alpha: of ``derpp``: weight of the remembered logits.
        der_beta: of ``derpp``: weight of the remembered labels.
    """

    name: str = "ottt_o"
    truncation: int | None = Field(None, ge=1, le=100_000)
    precision: Precision = "float32"
    compiled: bool = False
    alpha_pre: float = Field(-1.0, ge=-100, le=100)
    post_decay: float = Field(0.2, ge=0, lt=1)
    kappa: float = Field(2.0, gt=0)
    renew: float = Field(1e-3, ge=0, le=1)
    maturity: int = Field(100, ge=0, le=2**31)
    memory: int = Field(200, ge=1, le=2**31)
    der_alpha: float = Field(0.1, ge=0)
    der_beta: float = Field(0.5, ge=0)


class ProtocolConfig(Settings):
    """In what order samples come and what is scored.

    Attributes:
        name: ``epochs``, ``prequential``, ``class-incremental``, ``drift``, ``real-time`` or ``sessions``.
        batch_size: samples learned at once, per process.
        epochs: passes over the training samples (of each block, in ``class-incremental``).
        order: of a stream: ``shuffled``, or as ``recorded``.
        interval: samples between two checkpoints in the streaming protocols.
        block: classes that arrive together, in ``class-incremental``.
        drift: what changes at half-time: ``contrast`` keeps ``drift_share`` of the events, ``polarity`` swaps ON and
            OFF, ``orientation`` turns the image by 90°, ``session`` goes on with the samples of ``data.test_path``.
        drift_share: share of the events left by a drift of contrast.
        recovered: share of the accuracy before a drift at which it counts as overcome.
        label_delay: of a stream: a sample's label becomes known after so many more samples.
        near_future: of a stream: samples this far ahead are classified too; 0 for none.
        evaluations: of ``class-incremental``: tests on all blocks during each, the last at its end.
        speed: of ``real-time``: how many times faster than it was recorded the stream is shown.
        predict_cost: of ``real-time``: time to classify a sample; ``none`` measures it.
        learn_cost: of ``real-time``: time to learn a sample; ``none`` measures it.
        test_time_steps: test with these numbers of timesteps too; static images only.
    """

    name: Literal["epochs", "prequential", "class-incremental", "drift", "real-time", "sessions"] = "epochs"
    batch_size: int = Field(1, ge=1, le=100_000)
    epochs: int = Field(1, ge=1, le=1_000_000)
    order: Literal["shuffled", "recorded"] = "shuffled"
    interval: int = Field(100, ge=1, le=2**31)
    block: int = Field(2, ge=1, le=100_000)
    drift: Literal["contrast", "polarity", "orientation", "session"] = "contrast"
    drift_share: float = Field(0.3, gt=0, le=1)
    recovered: float = Field(0.95, gt=0, le=1)
    label_delay: int = Field(0, ge=0, le=2**31)
    near_future: int = Field(0, ge=0, le=2**31)
    evaluations: int = Field(1, ge=1, le=10_000)
    speed: float = Field(1.0, gt=0, le=1e9)
    predict_cost: Duration | None = None
    learn_cost: Duration | None = None
    test_time_steps: tuple[int, ...] = ()


class ReportConfig(Settings):
    """What is measured beside accuracy.

    Attributes:
        activity: test samples over which firing rates and synaptic operations are counted; 0 for none.
        alignment: training samples over which the gradients of OTTT, BPTT and the spike representation are compared,
            before training and at most ten times during it; 0 for none.
        figures: draw the curves as PNG; needs matplotlib.
        tensorboard: write event files for TensorBoard; needs tensorboard.
    """

    activity: int = Field(50, ge=0, le=2**31)
    alignment: int = Field(0, ge=0, le=2**31)
    figures: bool = True
    tensorboard: bool = False


class ComputeConfig(Settings):
    """Where and with which seed.

    Attributes:
        seed: of weights, order, transforms, dropout and rehearsal.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        threads: of torch.
    """

    seed: int = Field(0, ge=0, lt=2**31)
    device: Device = "cpu"
    threads: Threads = 1


class ReplayConfig(Settings):
    """All settings of a replay. ``learner.time_steps``, T of the loss, is ``data.time_steps`` where it is not given;
    ``learner.rule`` is the method's. Rehearsal cuts samples into stretches, as in a live stream."""

    data: DataConfig = DataConfig()
    transform: TransformConfig = TransformConfig()
    network: NetworkConfig = NetworkConfig()
    method: MethodConfig = MethodConfig()
    learner: LearnerConfig = LearnerConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    rehearsal: RehearsalConfig = RehearsalConfig(mode="off")
    evaluation: EvaluationConfig = EvaluationConfig(window=100)
    report: ReportConfig = ReportConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="before")
    @classmethod
    def _loss_over_a_sample(cls, tables: Any) -> Any:
        """Fill in ``learner.time_steps``, so that the settings that are written down say what it was."""
        data, learner = (tables.get(key, {}) for key in ("data", "learner")) if isinstance(tables, dict) else ({}, None)
        if isinstance(learner, LearnerConfig):
            learner = learner.model_dump(exclude_unset=True)
        if not isinstance(learner, dict):
            return tables
        steps = data.get("time_steps") if isinstance(data, dict) else getattr(data, "time_steps", None)
        return {**tables, "learner": {"time_steps": steps or DataConfig().time_steps, **learner}}

    @model_validator(mode="after")
    def _consistent(self) -> ReplayConfig:
        if self.protocol.name == "drift" and self.protocol.drift == "session" and self.data.test_path is None:
            raise ValueError("protocol.drift = 'session' needs data.test_path, the other session")
        if self.protocol.name == "sessions" and self.data.test_path is None:
            raise ValueError("protocol.name = 'sessions' needs data.test_path, the other session")
        if self.transform.resized_crop != self.data.keep_aspect:
            raise ValueError("data.keep_aspect and transform.resized_crop go together: set both or neither")
        if self.transform.resized_crop and not (self.data.width and self.data.height):
            raise ValueError("transform.resized_crop needs data.width and data.height, the size that it cuts")
        if self.learner.rule != "ottt_o" and self.learner.rule != self.method.name:
            raise ValueError(f"learner.rule is the method's here: use method.name = {self.learner.rule!r}")
        if self.rehearsal.mode not in ("off", "ratio"):
            raise ValueError(f"rehearsal.mode = {self.rehearsal.mode!r} is for streams; here use 'ratio'")
        if self.rehearsal.mode != "off" and self.method.name in OWN_MEMORY:
            raise ValueError(f"method {self.method.name!r} remembers by itself: use rehearsal.mode = 'off'")
        if self.learner.average:
            raise ValueError("learner.average is for streams; a replay compares rules by the weights that they learn")
        if self.learner.perturb:
            raise ValueError("learner.perturb is for streams; here method.name = 'cbp' renews channels")
        return self
