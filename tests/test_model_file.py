"""Model files: what was saved is loaded, and nothing is taken that does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SIZE, intervals, labelled_events, timesteps
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import stream_ottt
from stream_ottt.errors import ModelError, OutputError
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.run.model_file import METADATA_KEY, load_checkpoint

NETWORK = NetworkConfig(layers=(4,), readout="flatten")
ADAM = LearnerConfig(optimizer="adam", lr=0.01)


def learned(config: LearnerConfig | None = None, *, presentations: int = 2) -> OnlineLearner:
    """A learner that has learned a little."""
    network = stream_ottt.build_network(NETWORK, input_shape=(2, SIZE, SIZE), classes=2)
    learner = stream_ottt.build_learner(network, config=config or LearnerConfig(lr=0.1), classes=[1, 2])
    timeline = LabelTimeline(intervals(presentations))
    for timestep in timesteps(labelled_events(0, presentations), timeline):
        learner.step(timestep)
        shown = timeline.at(timestep.t_start)
        assert shown is not None
        learner.feedback(timestep.index, shown.label)
    return learner


@pytest.fixture
def model(tmp_path: Path) -> Path:
    stream_ottt.save_model(tmp_path / "m.safetensors", learned(), network=NETWORK, class_names={1: "left"})
    return tmp_path / "m.safetensors"


def changed(path: Path, *, facts: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None) -> Path:
    """A copy with other metadata or tensors; None takes one out."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as f:
        said = json.loads(f.metadata()[METADATA_KEY])
    said = {k: v for k, v in {**said, **(facts or {})}.items() if v is not ABSENT}
    held = {k: v for k, v in {**load_file(path), **(tensors or {})}.items() if v is not ABSENT}
    save_file(held, path.with_name("changed"), {METADATA_KEY: json.dumps(said)})
    return path.with_name("changed")


ABSENT = object()


@pytest.mark.parametrize("config", [LearnerConfig(lr=0.1), ADAM], ids=["sgd", "adam"])
def test_goes_on_as_if_it_had_never_stopped(config: LearnerConfig, tmp_path: Path) -> None:
    learner = learned(config)
    stream_ottt.save_model(tmp_path / "m", learner, network=NETWORK)
    loaded = stream_ottt.load_model(tmp_path / "m")
    assert loaded.classes == [1, 2] and loaded.config == config
    for timestep in timesteps(labelled_events(1, 2), LabelTimeline(intervals(2))):
        said = [one.step(timestep).logits for one in (learner, loaded)]
        np.testing.assert_allclose(said[0], said[1], atol=1e-5)
        for one in (learner, loaded):
            one.feedback(timestep.index, 1)


def test_a_loaded_model_keeps_its_weights_to_the_bit_when_it_predicts(tmp_path: Path) -> None:
    path, how = tmp_path / "m.safetensors", NetworkConfig(layers=(16, 16))
    network = stream_ottt.build_network(how, input_shape=(2, SIZE, SIZE), classes=2)
    learner = stream_ottt.build_learner(network, classes=[1, 2])
    learner.step(timesteps(labelled_events(0, 1))[0])
    stream_ottt.save_model(path, learner, network=how)
    loaded = stream_ottt.load_model(path)
    loaded.step(timesteps(labelled_events(0, 1))[0])
    saved = load_file(path)
    assert all(torch.equal(value, saved[f"weights/{name}"]) for name, value in loaded.network.parameters.items())


def deep(levels: int) -> dict[str, Any]:
    return {} if levels == 0 else {"x": deep(levels - 1)}


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"format": "other/1"}, "no model of this program"),
        ({"format": ABSENT}, "no model of this program"),
        ({"classes": "abc"}, "metadata.classes"),
        ({"classes": []}, "metadata.classes"),
        ({"classes": [1, 1]}, "named twice"),
        ({"classes": [1.5, 2]}, "metadata.classes"),
        ({"classes": [1, 2, 3]}, "another network: 'readout"),
        ({"settings": None}, "metadata.settings"),
        ({"settings": []}, "metadata.settings"),
        ({"settings": {"network": 5}}, "none of this program"),
        ({"settings": {"network": {"topology": "vggg"}}}, "vggg"),
        ({"settings": {"network": {"layers": [100000, 100000]}}}, "GiB"),
        ({"settings": {"learner": {"lr": -1}}}, "learner.lr"),
        ({"settings": deep(20)}, "nested deeper"),
        ({"class_names": {"a": "b"}}, "metadata.class_names"),
        ({"class_names": ABSENT}, "metadata.class_names"),
        ({"input_shape": [2, 8]}, "metadata.input_shape"),
        ({"input_shape": [2, 8, 10**9]}, "metadata.input_shape"),
        ({"input_shape": [2, 16, 16]}, "another network"),
        ({"optimizer_steps": -1}, "metadata.optimizer_steps"),
        ({"optimizer_steps": 1e300}, "metadata.optimizer_steps"),
        ({"surprise": 1}, "unknown key 'metadata.surprise'"),
    ],
)
def test_wrong_metadata_are_one_line(facts: dict[str, Any], complaint: str, model: Path) -> None:
    with pytest.raises(ModelError) as e:
        stream_ottt.load_model(changed(model, facts=facts))
    assert complaint in str(e.value) and "\n" not in str(e.value) and str(model.parent) in str(e.value)


def nan(shape: tuple[int, ...]) -> torch.Tensor:
    value = torch.zeros(shape)
    value.view(-1)[-1] = float("nan")
    return value


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({"weights/conv1.bias": torch.zeros(4, dtype=torch.float64)}, "'conv1.bias' holds F64; expected torch.float32"),
        ({"weights/conv1.bias": torch.zeros(4, dtype=torch.int32)}, "holds I32"),
        ({"weights/conv1.bias": torch.zeros(5)}, "is 5 in the file and 4 in the network"),
        ({"weights/conv1.bias": nan((4,))}, "not finite"),
        ({"weights/conv1.bias": torch.full((4,), float("inf"))}, "not finite"),
        ({"weights/conv1.bias": ABSENT}, "'conv1.bias' is absent"),
        ({"weights/conv9.bias": torch.zeros(4)}, "no parameter 'conv9.bias'"),
        ({"surprise": torch.zeros(4)}, "no parameter 'surprise'"),
        ({"optimizer/momentum/conv1.bias": torch.zeros(3)}, "is 3 in the file and 4 in the network"),
        ({"optimizer/momentum/conv1.bias": torch.zeros(4, dtype=torch.float16)}, "holds F16"),
        ({"optimizer/momentum/conv1.bias": nan((4,))}, "not finite"),
        ({"optimizer/first/conv1.bias": torch.zeros(4)}, "no state of the optimizer 'sgd'"),
        ({"optimizer/momentum/conv9.bias": torch.zeros(4)}, "no state of the optimizer"),
    ],
)
def test_tensors_that_do_not_fit_change_nothing(tensors: dict[str, Any], complaint: str, model: Path) -> None:
    wrong, learner = changed(model, tensors=tensors), learned(presentations=1)
    before = {k: v.clone() for k, v in learner.network.parameters.items()}
    with pytest.raises(ModelError) as e:
        load_checkpoint(wrong).restore(learner)
    assert complaint in str(e.value) and "\n" not in str(e.value)
    assert all(torch.equal(v, before[k]) for k, v in learner.network.parameters.items())


@given(data=st.data())
@settings(max_examples=60)
def test_a_damaged_file_is_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever bytes of the header are changed, or wherever the file is cut."""
    path = tmp_path_factory.getbasetemp() / "whole"
    if not path.exists():
        stream_ottt.save_model(path, learned(presentations=1), network=NETWORK)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, 1200))] = data.draw(st.integers(0, 255))
    wrong = path.with_name("wrong")
    wrong.write_bytes(whole[: data.draw(st.sampled_from([len(whole), 4, 100, 2000]))])
    try:
        stream_ottt.load_model(wrong)
    except ModelError as e:
        assert str(wrong) in str(e) and "\n" not in str(e)


def test_a_model_that_failed_does_not_replace_a_good_one(model: Path) -> None:
    good, learner = model.read_bytes(), learned(presentations=1)
    learner.network.parameters["conv1.bias"][0] = float("nan")
    with pytest.raises(OutputError, match=r"not saved: weights/conv1\.bias"):
        stream_ottt.save_model(model, learner, network=NETWORK)
    assert model.read_bytes() == good and [p.name for p in model.parent.iterdir()] == [model.name]


def test_the_header_is_read_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, stream_ottt.run.model_file; assert not {'torch', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
