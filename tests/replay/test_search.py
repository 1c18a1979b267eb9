"""A search for hyperparameters: what it tries, what it keeps, and that it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replay.helpers import small_config, write_collection

from stream_ottt.errors import InputError, UsageError
from stream_ottt.replay.search import Vary, search


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("learner.lr=0.001..1:log", Vary("learner.lr", low=0.001, high=1.0, log=True)),
        ("learner.lr=1e-3..1e-1:log", Vary("learner.lr", low=0.001, high=0.1, log=True)),
        ("learner.time_steps=2..10", Vary("learner.time_steps", low=2, high=10)),
        ("learner.optimizer=sgd,adam", Vary("learner.optimizer", choices=("sgd", "adam"))),
    ],
)
def test_what_varies(word: str, found: Vary) -> None:
    parsed = Vary.parse(word)
    assert parsed == found and type(parsed.low) is type(found.low)


@pytest.mark.parametrize("word", ["lr=1..2", "a.b", "a.b=", "a.b=2..1", "a.b=0..1:log", "a.b=1e999..2", "a.b=e..2"])
def test_what_cannot_vary_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--vary"):
        Vary.parse(word)


def test_a_search_keeps_the_best_and_goes_on(tmp_path: Path) -> None:
    """A second search makes only what is missing, a third nothing."""
    base = small_config(write_collection(tmp_path / "c.npz")).model_dump(mode="json", exclude_none=True)
    space, out, said = [Vary.parse("learner.lr=0.1,1e-30")], tmp_path / "out", list[str]()
    first = search(base, space, out, trials=1, jobs=1, say=said.append)
    shares: list[float] = []
    found = search(base, space, out, trials=3, jobs=2, say=said.append, at=shares.append)
    assert shares == [2 / 3, 1.0]
    assert len(said) == 3 and all("accuracy" in line for line in said)
    assert found == json.loads((out / "best.json").read_text()) and found["accuracy"] >= first["accuracy"]
    results = [json.loads(path.read_text())["accuracy"] for path in out.glob("trial-*/result.json")]
    assert len(results) == 3 and found["accuracy"] == max(results)
    settings = json.loads((out / found["folder"] / "settings.json").read_text())
    assert settings["learner"]["lr"] == float(found["settings"]["learner.lr"])
    assert search(base, space, out, trials=3, jobs=1, say=said.append) == found and len(said) == 3


def test_a_search_that_was_killed_makes_its_trial_again(tmp_path: Path) -> None:
    from stream_ottt.replay.search import _study

    base = small_config(write_collection(tmp_path / "c.npz")).model_dump(mode="json", exclude_none=True)
    space, out, said = [Vary.parse("learner.lr=0.05..0.2")], tmp_path / "out", list[str]()
    trial = _study(out, 0).ask()  # and then nothing more was heard of it
    trial.set_user_attr("folder", "trial-0")
    asked = space[0].suggest(trial)
    found = search(base, space, out, trials=1, jobs=1, say=said.append)
    assert (found["folder"], repr(found["settings"]["learner.lr"])) == ("trial-0", asked)
    assert [path.name for path in out.glob("trial-*")] == ["trial-0"] and len(said) == 1


def test_nothing_succeeded(tmp_path: Path) -> None:
    base = small_config(tmp_path / "missing.npz").model_dump(mode="json", exclude_none=True)
    said: list[str] = []
    with pytest.raises(InputError, match="no run succeeded"):
        search(base, [Vary.parse("learner.lr=1..2")], tmp_path / "out", trials=1, jobs=1, say=said.append)
    assert "FAILED" in said[0] and "missing.npz" in said[0]
    with pytest.raises(UsageError, match="nothing varies"):
        search(base, [], tmp_path / "out", trials=1, jobs=1)
