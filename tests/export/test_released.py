"""The released code's checkpoints: its names, both ways, and nothing in a file is run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export.networks import network_of, run, save, scene
from replay.helpers import small_residual

from stream_ottt.cli import main
from stream_ottt.cli.export import export, import_
from stream_ottt.errors import ModelError, OutputError, UsageError
from stream_ottt.export.checkpoint import read_released
from stream_ottt.export.importing import import_released
from stream_ottt.export.model import load_network
from stream_ottt.export.released import to_released, write_released
from stream_ottt.run.models import load_model

GOLDEN = {
    "vgg_ottt_o": {"layers": (6, 8, "AP2", 8)},
    "vggf_ottt_o": {"layers": (6, 8, "AP2", 8), "topology": "layers-f"},
}


def recorded(golden_dir: Path, case: str) -> dict[str, np.ndarray]:
    with np.load(golden_dir / "ottt_released_code.npz") as z:
        return {k.removeprefix(f"{case}/"): z[k] for k in z.files if k.startswith(f"{case}/")}


@pytest.mark.parametrize("case", GOLDEN)
def test_the_released_codes_weights_come_in_and_give_its_logits(case: str, golden_dir: Path, tmp_path: Path) -> None:
    truth = recorded(golden_dir, case)
    state = {k.removeprefix("init/"): torch.from_numpy(v) for k, v in truth.items() if k.startswith("init/")}
    torch.save({"net": state, "epoch": 3, "max_test_acc": 0.5}, tmp_path / "c.pth")
    assert import_(tmp_path / "c.pth", None, {"binning": {"width": 8, "height": 8}}, force=False) == 0
    network, checkpoint = load_network(tmp_path / "c.safetensors")
    logits, _ = network.forward(torch.from_numpy(truth["x"][:1]).float(), learn=False)
    np.testing.assert_allclose(logits.numpy()[0], truth["logits"][0], rtol=0, atol=1e-5)
    # And out again, under the same names, to the bit.
    again = to_released(network)
    assert again.keys() == state.keys() and len(checkpoint.classes) == 4
    for key, value in state.items():
        torch.testing.assert_close(again[key], value.float(), rtol=0, atol=0)
    assert load_model(tmp_path / "c.safetensors").classes == [0, 1, 2, 3]


@pytest.mark.parametrize("settings", [{"layers": (4, "AP2", 6, 6)}, {"topology": "layers-f", "layers": (4, "AP2", 6)},
                                      {"layers": (4, "AP2", 6, "AP2", 4), "readout": "flatten"}])  # fmt: skip
def test_a_model_goes_out_and_comes_back(settings: dict[str, Any], tmp_path: Path) -> None:
    network = save(tmp_path / "m.safetensors", **settings)
    export(tmp_path / "m.safetensors", "pt", None, pooling="average", force=False)
    import_released(tmp_path / "m.pt", tmp_path / "n.safetensors", {"binning": {"width": 16, "height": 16}})
    back, _ = load_network(tmp_path / "n.safetensors")
    frames = scene(5)
    for ours, theirs in zip(run(network, frames)[1], run(back, frames)[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_wrappers_and_from_several_gpus_it_is_the_same(tmp_path: Path) -> None:
    state = to_released(network_of(layers=(4, "AP2", 6)))
    torch.save({f"module.{k.replace('.op', '')}": v for k, v in state.items()}, tmp_path / "c.pth")
    found = read_released(tmp_path / "c.pth")
    assert found.layers == (4, "AP2", 6) and found.planes == 2 and found.pooled == 1 and found.classes == 3


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    torch.save({"net": Hostile(tmp_path / "made")}, tmp_path / "c.pth")
    with pytest.raises(ModelError, match="not read"):
        read_released(tmp_path / "c.pth")
    assert not (tmp_path / "made").exists()


def changed(**changes: Any) -> dict[str, Any]:
    state: dict[str, Any] = to_released(network_of(layers=(4, "AP2", 6)))
    for key, value in changes.items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (lambda: [1, 2], "expected a state dict"),
        (lambda: {}, "'classifier.0' is absent"),
        (lambda: changed(**{"features.4.op.gain": None}), r"features\.4\.gain is None; expected \(6, 1, 1, 1\)"),
        (lambda: changed(**{"features.4.op.weight": torch.zeros(6, 5, 3, 3)}), r"expected \(6, 4, 3, 3\)"),
        (lambda: changed(**{"features.4.op.weight": torch.zeros(0)}), "0 dimensions|1 dimensions"),
        (lambda: changed(**{"features.0.bias": torch.full((4,), torch.nan)}), "not finite"),
        (lambda: changed(**{"features.1.running_mean": torch.zeros(4)}), r"features\.1"),
        (lambda: changed(**{"classifier.3.weight": torch.zeros(4)}), "unknown"),
        (lambda: changed(**{"classifier.0.op.weight": torch.zeros(3, 7)}), r"expected \(3, 6\)"),
        (lambda: changed(**{"conv1.weight": torch.zeros(4, 2, 3, 3)}), "'fb_conv' is absent"),
    ],
)
def test_what_is_no_such_network_is_said_by_name(state: Any, said: str, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "c.pth")
    with pytest.raises(ModelError, match=said) as e:
        read_released(tmp_path / "c.pth")
    assert "c.pth" in str(e.value) and "\n" not in str(e.value)


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    torch.save(changed(), tmp_path / "c.pth")
    data = (tmp_path / "c.pth").read_bytes()
    for i, wrong in enumerate([b"", b"nothing", data[: len(data) // 2], b"\x80\x02c" + data[:50]]):
        path = tmp_path / f"d{i}.pth"
        path.write_bytes(wrong)
        with pytest.raises(ModelError, match="not read"):
            read_released(path)
    with pytest.raises(ModelError, match="no such model file"):
        read_released(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": ("4C5",)}, "3×3"),
        ({"layers": (4, "AP4", 4)}, "pools by 2"),
        ({"layers": (4,), "weight_standardization": False}, "weight_standardization"),
        ({"layers": (4,), "input_scale": 0.5}, "input_scale"),
    ],
)
def test_what_the_released_code_has_not_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        to_released(network_of(**settings))


def test_residual_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="only VGGs"):
        to_released(small_residual())


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    torch.save(changed(), tmp_path / "c.pth")
    with pytest.raises(UsageError, match=r"network\.layers: the checkpoint says"):
        import_released(tmp_path / "c.pth", tmp_path / "m.safetensors", {"network": {"layers": [4, 6]}})
    with pytest.raises(UsageError, match="frames' size"):
        import_released(tmp_path / "c.pth", tmp_path / "m.safetensors", {"binning": {"width": "sensor"}})
    assert not (tmp_path / "m.safetensors").exists()


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["stream-ottt", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    model = tmp_path / "m.safetensors"
    save(model, layers=(4, "AP2", 6))
    assert call("export", model, "pt", "-o", tmp_path / "c.pth")[0] == 0
    code, err = call("export", model, "pt", "-o", tmp_path / "c.pth")
    assert code == OutputError.exit_code and "--force" in err
    code, err = call("export", model, "onx")
    assert code == 2 and "did you mean 'onnx'" in err
    code, err = call("export", model, "pt", "--pooling", "fold")
    assert code == 2 and "only nir" in err
    assert call("export", tmp_path / "nothing", "pt")[0] == ModelError.exit_code
    code, err = call(
        "import", tmp_path / "c.pth", "--binning.width", "20", "--binning.height=20", "--network.decay", "0.7"
    )
    assert code == 0 and "4-AP2-6, 3 classes" in err
    network, checkpoint = load_network(tmp_path / "c.safetensors")
    assert network.input_shape == (2, 20, 20) and checkpoint.settings["network"]["decay"] == 0.7


def test_a_checkpoint_that_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "c.pt"
    with pytest.raises(OutputError, match=f"{path}: cannot be written: No such file"):
        write_released(path, network_of(layers=(4,)))
