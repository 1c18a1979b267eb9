"""Every setting of a replay has an effect that can be seen. A new key needs a line here."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay.helpers import write_collection
from test_settings import keys

from stream_ottt.errors import StreamOtttError, UsageError
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.loader import Loader
from stream_ottt.replay.runs import replay
from stream_ottt.run.config import merge

BASE: dict[str, Any] = {
    "data.name": "stream", "data.path": "{here}/c.npz", "data.window": "10ms", "data.time_steps": 4, "data.test": 8,
    "data.cache": "off", "network.layers": [4], "network.readout": "flatten", "learner.lr": 0.1, "protocol.epochs": 2,
    "report.figures": False, "report.activity": 0,
}  # fmt: skip
CIFAR = {"data.name": "cifar10", "data.path": "{here}/cifar", "data.test": 4}
IMAGES = {"data.name": "folder", "data.path": "{here}/images", "data.test": None, "data.width": 8, "data.height": 8}
SCALED = {"data.keep_aspect": False, "transform.resized_crop": False}
CUT = {"data.keep_aspect": True, "transform.resized_crop": True}
REHEARSED = {"rehearsal.mode": "ratio", "rehearsal.stretch": 2}
DRIFT = {"protocol.name": "drift", "data.train": 16, "protocol.interval": 4, "evaluation.window": 4}
REAL_TIME = {"protocol.name": "real-time", "protocol.predict_cost": "5ms", "protocol.learn_cost": "5ms"}

Tables = dict[str, Any]
Seen = Callable[[Tables, Path], object]


def tables(settings: Tables, here: Path) -> Tables:
    """Nested tables from ``table.key`` → value; None leaves the key out."""
    out: Tables = {}
    for key, value in settings.items():
        table, name = key.split(".")
        if value is not None:
            out = merge(out, {table: {name: value.replace("{here}", str(here)) if isinstance(value, str) else value}})
    return out


# --- what can be seen ------------------------------------------------------------------------------------------------


def items(settings: Tables, out: Path) -> object:
    config = ReplayConfig.load(settings)
    data = open_dataset(config.data)
    return [(i.label, i.key) for i in data.train], [(i.label, i.key) for i in data.test], data.names


def frames(settings: Tables, out: Path) -> object:
    """Of a few training samples, with augmentation."""
    config = ReplayConfig.load(settings)
    data = open_dataset(config.data)
    few = data.train[:6]
    x, y = Loader(data, config).batch(few, augment=[(0, i) for i in range(len(few))])
    return x.shape, x.numpy().tobytes(), y.tolist()


def weights(settings: Tables, out: Path) -> object:
    from safetensors.numpy import load_file

    replay(ReplayConfig.load(settings), out, say=lambda line: None)
    return {k: v.tobytes() for k, v in load_file(out / "model.safetensors").items() if k.startswith("weights/")}


def result(*path: str) -> Seen:
    def read(settings: Tables, out: Path) -> object:
        replay(ReplayConfig.load(settings), out, say=lambda line: None)
        found = {k: v for k, v in json.loads((out / "result.json").read_text()).items() if "seconds" not in k}
        return reduce(lambda value, key: value[key], path, found)

    return read


def rows(settings: Tables, out: Path) -> object:
    """Figures of each interval, without times."""
    replay(ReplayConfig.load(settings), out, say=lambda line: None)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]


def written(settings: Tables, out: Path) -> object:
    replay(ReplayConfig.load(settings), out, say=lambda line: None)
    return sorted(p.name for p in out.iterdir())


def cached(settings: Tables, out: Path) -> object:
    config = ReplayConfig.load(settings)
    data = open_dataset(config.data)
    data.raw(data.train[0])
    return any(Path(config.data.cache).rglob("*.*"))


def refused(settings: Tables, out: Path) -> object:
    try:
        replay(ReplayConfig.load(settings), out, say=lambda line: None)
    except UsageError as e:
        return str(e)
    return None


EFFECTS: dict[str, tuple[Any, Any, Seen, Tables]] = {
    "data.name": ({"data.name": "cifar10"} | CIFAR, {}, items, {}),
    "data.path": ("{here}/c.npz", "{here}/d.npz", items, {}),
    "data.test_path": (None, "{here}/d.npz", items, {}),
    "data.labels": (None, "{here}/labels.csv", items, {}),
    "data.split": ("order", "time", items, {"data.time_steps": 1, "data.test_share": 0.5}),
    "data.test_share": (0.2, 0.5, items, {"data.test": None}),
    "data.train": (None, 5, items, {}),
    "data.test": (8, 3, items, {}),
    "data.classes": (None, [1, 0], items, {}),
    "data.time_steps": (4, 3, frames, {}),
    "data.binning": ("duration", "equal-count", frames, {}),
    "data.window": ("10ms", "5ms", frames, {}),
    "data.count": (10, 20, frames, {"data.binning": "count"}),
    "data.width": (None, 4, frames, {}),
    "data.height": (None, 4, frames, {}),
    "data.transforms": ([], ["MergePolarities"], frames, {}),
    "data.keep_aspect": (SCALED, CUT, frames, IMAGES),
    "data.cache": ("off", "{here}/cached", cached, {}),
    "transform.crop": (0, 3, frames, {}),
    "transform.resized_crop": (SCALED, CUT, frames, IMAGES),
    "transform.flip": (False, True, frames, {}),
    "transform.cutout": (0, 4, frames, {}),
    "transform.scale": (1.0, 2.0, frames, {}),
    "transform.mean": ([0, 0], [1, 1], frames, {"transform.std": [1, 1]}),
    "transform.std": ([1, 1], [2, 2], frames, {"transform.mean": [0, 0]}),
    "network.topology": ("layers", "layers-f", weights, {}),
    "network.layers": ([4], [5], weights, {}),
    "network.weight_standardization": (True, False, weights, {}),
    "network.readout": ("flatten", "gap", weights, {}),
    "network.decay": (0.5, 0.9, weights, {}),
    "network.threshold": (1.0, 0.5, weights, {}),
    "network.surrogate": ("sigmoid", "rectangular", weights, {}),
    "network.surrogate_slope": (4.0, 2.0, weights, {}),
    "network.dropout": (0.0, 0.5, weights, {}),
    "network.input_trace": (False, True, weights, {}),
    "network.input_scale": (1.0, 2.0, weights, {}),
    "network.input_mass": (0.0, 20.0, weights, {}),
    "method.name": ("ottt_o", "bptt", weights, {}),
    "method.truncation": (None, 1, weights, {"method.name": "bptt"}),
    "method.alpha_pre": (-1.0, 1.0, weights, {"method.name": "stllr"}),
    "method.post_decay": (0.2, 0.9, weights, {"method.name": "stllr"}),
    "method.kappa": (2.0, 4.0, weights, {"method.name": "obgd", "learner.lr": 10}),
    "method.renew": (0.0, 0.1, weights, {"method.name": "cbp", "method.maturity": 5}),
    "method.maturity": (5, 100, weights, {"method.name": "cbp", "method.renew": 0.1}),
    "method.memory": (200, 1, weights, {"method.name": "er"}),
    "method.der_alpha": (0.1, 1.0, weights, {"method.name": "derpp"}),
    "method.der_beta": (0.5, 1.0, weights, {"method.name": "derpp"}),
    "learner.rule": ("ottt_o", "ottt_a", refused, {}),
    "learner.optimizer": ("sgd", "adam", weights, {}),
    "learner.lr": (0.1, 0.2, weights, {}),
    "learner.momentum": (0.9, 0.0, weights, {}),
    "learner.weight_decay": (0.0, 0.1, weights, {}),
    "learner.betas": ([0.9, 0.999], [0.5, 0.9], weights, {"learner.optimizer": "adam"}),
    "learner.schedule": ("constant", "cosine", weights, {}),
    "learner.schedule_steps": (50, 200, weights, {"learner.schedule": "cosine"}),
    "learner.time_steps": (4, 5, weights, {}),
    "learner.alpha": (0.05, 0.5, weights, {}),
    "learner.error_delay": (0, 2, weights, {}),
    "learner.delay_mode": ("paper", "snapshot", weights, {"learner.error_delay": 2}),
    "learner.average": (0, 100, refused, {}),
    "learner.perturb": (0.0, 2e-4, refused, {}),
    "protocol.name": ("epochs", "prequential", rows, {}),
    "protocol.batch_size": (1, 4, weights, {}),
    "protocol.epochs": (2, 1, rows, {}),
    "protocol.order": ("shuffled", "recorded", rows, {"protocol.name": "prequential"}),
    "protocol.interval": (100, 5, rows, {"protocol.name": "prequential"}),
    "protocol.block": (1, 2, rows, {"protocol.name": "class-incremental"}),
    "protocol.drift": ("contrast", "orientation", rows, DRIFT),
    "protocol.drift_share": (0.3, 0.01, rows, DRIFT),
    "protocol.recovered": (1.0, 0.01, result(), DRIFT | {"protocol.drift": "orientation"}),
    "protocol.label_delay": (0, 4, rows, {"protocol.name": "prequential"}),
    "protocol.near_future": (0, 4, rows, {"protocol.name": "prequential"}),
    "protocol.evaluations": (1, 2, rows, {"protocol.name": "class-incremental"}),
    "protocol.speed": (1.0, 9.0, rows, REAL_TIME),
    "protocol.predict_cost": ("1ms", "1s", rows, REAL_TIME),
    "protocol.learn_cost": ("1ms", "1s", rows, REAL_TIME),
    "protocol.test_time_steps": ([], [2], result(), CIFAR | {"data.train": 20, "transform.scale": 0.004}),
    "rehearsal.mode": ("off", "ratio", weights, {}),
    "rehearsal.ratio": (3, 1, weights, REHEARSED),
    "rehearsal.stretch": (2, 3, weights, REHEARSED),
    "rehearsal.max_bytes": (1_000_000, 1000, weights, REHEARSED),
    "rehearsal.shift": (0, 3, weights, REHEARSED),
    "rehearsal.zoom": (1.0, 2.0, weights, REHEARSED),
    "rehearsal.zoom_half": (0, 4, weights, REHEARSED | {"rehearsal.zoom": 2.0}),
    "evaluation.fading": (1.0, 0.5, result("prequential", "faded"), {"protocol.name": "prequential"}),
    "evaluation.window": (100, 3, result("prequential", "windowed"), {"protocol.name": "prequential"}),
    "report.activity": (0, 4, result(), {}),
    "report.alignment": (0, 4, result(), {}),
    "report.figures": (False, True, written, {}),
    "report.tensorboard": (False, True, written, {}),
    "compute.seed": (0, 1, weights, {}),
    "compute.device": ("cpu", "cuda:99", refused, {}),
}

ELSEWHERE = {
    "method.precision": ("test_precision.py", "test_what_gains_nothing_is_not_done_and_said"),
    "method.compiled": ("test_learner.py", "test_compiled_forward_pass_agrees"),
    "compute.threads": ("replay/test_replay_settings.py", "test_threads_are_those_of_the_settings"),
}
"""Keys whose effect needs more than two small replays, each with the test that sees it."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of each kind: two collections, a CSV of labels, CIFAR-10 in its binary form, a folder of images."""
    import cv2

    folder = tmp_path_factory.mktemp("data")
    write_collection(folder / "c.npz")
    write_collection(folder / "d.npz", 12, seed=1)
    lines = [f"{k % 3},{k * 10_000},{k * 10_000 + 9000}" for k in range(20)]
    (folder / "labels.csv").write_text("class,startTime_usec,endTime_usec\n" + "\n".join(lines) + "\n")
    rng = np.random.default_rng(0)
    (folder / "cifar").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (10, 3073), np.uint8)
        records[:, 0] = np.arange(10)
        records.tofile(folder / "cifar" / f"{name}.bin")
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(6):
            image = cv2.resize(rng.integers(0, 256, (4, 3, 3), np.uint8), (18, 24))
            assert cv2.imwrite(str(folder / "images" / name / f"{i}.png"), image)
    return folder


def test_every_key_has_its_line() -> None:
    known = set(keys(ReplayConfig))
    assert known == EFFECTS.keys() | ELSEWHERE.keys() and not EFFECTS.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("key", EFFECTS)
def test_every_key_has_an_effect(key: str, here: Path, tmp_path: Path) -> None:
    *values, seen, settings = EFFECTS[key]
    found = []
    for name, value in zip("ab", values, strict=True):
        config = tables(BASE | settings | (value if isinstance(value, dict) else {key: value}), here)
        found.append(seen(config, tmp_path / name))
    assert found[0] != found[1]


@pytest.mark.parametrize("key", ELSEWHERE)
def test_the_tests_that_see_the_others_are_there(key: str) -> None:
    file, name = ELSEWHERE[key]
    text = (Path(__file__).parents[1] / file).read_text(encoding="utf-8")
    assert f"def {name}" in text and key.partition(".")[2] in text


def test_threads_are_those_of_the_settings(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before, asked = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    replay(ReplayConfig.load(tables(BASE | {"compute.threads": 3}, here)), tmp_path / "run", say=lambda line: None)
    assert 3 in asked
    monkeypatch.undo()
    torch.set_num_threads(before)


def test_static_images_have_the_size_of_the_settings(here: Path) -> None:
    config = ReplayConfig.load(tables(BASE | CIFAR | {"data.width": 16, "data.height": 12}, here))
    data = open_dataset(config.data)
    assert Loader(data, config).shape() == (3, 12, 16)
    whole = open_dataset(config.data.model_copy(update={"width": None, "height": None})).raw(data.train[0])
    mean = data.raw(data.train[0]).mean((0, 2, 3))
    np.testing.assert_allclose(mean, whole.mean((0, 2, 3)), atol=1)


# --- what is refused leaves nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"method.name": "bppt"}, "did you mean 'bptt'"),
        ({"data.name": "nmnst"}, "did you mean 'nmnist'"),
        ({"network.topology": "vggg"}, "did you mean 'vgg'"),
        ({"network.layers": ["AQ2"]}, "AQ2"),
        ({"network.layers": [4, *["AP2"] * 6]}, "meets an image"),
        ({"compute.device": "cuda:99"}, "compute.device"),
        ({"data.path": "{here}/absent.npz"}, "absent.npz"),
    ],
)
def test_a_refused_request_leaves_nothing(settings: Tables, complaint: str, here: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamOtttError, match=complaint):
        replay(ReplayConfig.load(tables(BASE | settings, here)), tmp_path / "run", say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_other_settings_are_named(here: Path, tmp_path: Path) -> None:
    def run(settings: Tables) -> None:
        replay(ReplayConfig.load(tables(BASE | settings, here)), tmp_path / "run", say=lambda line: None)

    run({})
    with pytest.raises(UsageError) as e:
        run({"learner.lr": 0.2, "data.window": "5ms", "data.train": 9})
    assert str(e.value) == (
        f'{tmp_path / "run"}: holds a run with other settings: data.window is "10ms" there and "5ms" now, '
        "data.train is nothing there and 9 now, learner.lr is 0.1 there and 0.2 now; choose another folder with --out"
    )
