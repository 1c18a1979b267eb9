"""A search for hyperparameters: Optuna says what to try, an executor makes the runs, a journal keeps what came."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import InputError, OutputError, UsageError
from stream_ottt.replay.check import check
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.executors import make_run, open_executor
from stream_ottt.replay.files import write_json
from stream_ottt.run.config import merge, parse_overrides
from stream_ottt.run.presets import Tables

if TYPE_CHECKING:
    from optuna import Study, Trial

Say = Callable[[str], None]
At = Callable[[float], None]
RANGE = re.compile(r"(?P<low>[-+.\de]+)\.\.(?P<high>[-+.\de]+?)(?P<log>:log)?")


@dataclass(frozen=True, slots=True)
class Vary:
    """What values a setting may have.

    Attributes:
        key: ``table.key``.
        choices: the values, as on the command line; none for a range.
        low, high: bounds of a range, both whole for whole numbers.
        log: drawn evenly over the logarithm.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    @classmethod
    def parse(cls, word: str) -> Vary:
        """``learner.lr=0.001..1:log``, ``learner.time_steps=2..10`` or ``learner.optimizer=sgd,adam``.

        Raises:
            UsageError: none of these.
        """
        key, equals, text = word.partition("=")
        wrong = f"--vary {word!r}: expected table.key=LOW..HIGH, table.key=LOW..HIGH:log or table.key=A,B,C"
        if not equals or "." not in key or not text:
            raise UsageError(wrong)
        found = RANGE.fullmatch(text)
        if found is None:
            return cls(key, choices=tuple(text.split(",")))
        try:
            low, high = (float(found[side]) if _fraction(text) else int(found[side]) for side in ("low", "high"))
        except ValueError as e:
            raise UsageError(wrong) from e
        if not low < high or not math.isfinite(high - low) or (found["log"] and low <= 0):
            raise UsageError(f"{wrong}, with LOW below HIGH, and above 0 for :log")
        return cls(key, low=low, high=high, log=bool(found["log"]))

    def suggest(self, trial: Trial) -> str:
        """A value for this trial, as a word."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return str(trial.suggest_int(self.key, self.low, self.high, log=self.log))
        return repr(trial.suggest_float(self.key, self.low, self.high, log=self.log))


def _fraction(text: str) -> bool:
    """Whether a range has bounds that are written as fractions."""
    return any("." in side or "e" in side for side in text.removesuffix(":log").split(".."))


def search(
    base: Tables,
    space: Iterable[Vary],
    out: Path,
    *,
    trials: int,
    jobs: int,
    scheduler: str | None = None,
    seed: int = 0,
    say: Say = print,
    at: At = lambda share: None,
) -> dict[str, Any]:
    """Make runs until ``trials`` have ended, those of an earlier search in the same folder counted.

    Args:
        base: settings of all runs.
        space: what varies.
        out: folder; holds ``journal.log``, ``best.json`` and a folder for each trial.
        trials: how many.
        jobs: runs at once; on a cluster, too.
        scheduler: as of :func:`stream_ottt.replay.executors.open_executor`.
        seed: of Optuna's sampler.
        say: takes a line a trial.
        at: told after each trial how much of the search is done, 0 … 1.

    Returns:
        What ``best.json`` holds: ``accuracy``, ``settings`` as varied, ``folder``.

    Raises:
        UsageError: Optuna is not installed, or wrong settings.
        InputError: no run succeeded.
        OutputError: the folder cannot be written.
    """
    space = list(space)
    if not space:
        raise UsageError("nothing varies: give --vary table.key=LOW..HIGH at least once")
    study = _study(out, seed)
    ended = _ended(study)
    running: dict[Future[Any], tuple[Trial, Path]] = {}
    with open_executor(jobs, scheduler) as executor:
        while ended + len(running) < trials or running:
            if ended + len(running) < trials and len(running) < jobs:
                trial = study.ask()
                folder = out / str(trial.user_attrs.get("folder", f"trial-{trial.number}"))
                trial.set_user_attr("folder", folder.name)
                config = _config(base, {vary.key: vary.suggest(trial) for vary in space})
                future = executor.submit(make_run, config.model_dump_json(), str(folder.absolute()))
                running[future] = trial, folder
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                trial, folder = running.pop(future)
                ended += 1
                _tell(study, trial, folder, future, say)
                at(min(ended / trials, 1.0))
    return _best(study, out)


def _study(out: Path, seed: int) -> Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as e:
        raise UsageError("a search needs Optuna: pip install 'stream-ottt[cluster]'") from e
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        out.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(out / "journal.log")))
    except OSError as e:
        raise OutputError(f"{out}: cannot be written: {e.strerror}") from e
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(
        storage=storage, study_name="search", sampler=sampler, direction="maximize", load_if_exists=True
    )


def _ended(study: Study) -> int:
    """How many trials have ended; those that were under way when an earlier search ended go on in their folders."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        folder = trial.user_attrs.get("folder", f"trial-{trial.number}")
        study.enqueue_trial(trial.params, user_attrs={"folder": folder})
    begun = study.get_trials(deepcopy=False)
    waiting = {t.user_attrs["folder"] for t in begun if t.state == TrialState.WAITING}
    return len({t.user_attrs["folder"] for t in begun if t.state.is_finished() and "folder" in t.user_attrs} - waiting)


def _config(base: Tables, varied: Mapping[str, str]) -> ReplayConfig:
    words = [word for key, value in varied.items() for word in (f"--{key}", value)]
    config = ReplayConfig.load(merge(base, parse_overrides(words)))
    check(config)
    return config


def _tell(study: Study, trial: Trial, folder: Path, future: Future[Any], say: Say) -> None:
    """What became of a trial: its accuracy, or that it failed."""
    from optuna.trial import TrialState

    what = ", ".join(f"{key} {value}" for key, value in trial.params.items())
    try:
        future.result()
        accuracy = float(json.loads((folder / "result.json").read_text())["accuracy"])
    except Exception as e:  # whatever ended that run; the others go on
        study.tell(trial, state=TrialState.FAIL)
        say(f"{folder.name}: {what}: FAILED: {(str(e).strip() or type(e).__name__).splitlines()[-1]}")
        return
    study.tell(trial, accuracy)
    say(f"{folder.name}: {what}: accuracy {accuracy:.4f}")


def _best(study: Study, out: Path) -> dict[str, Any]:
    try:
        trial = study.best_trial
    except ValueError as e:
        raise InputError("no run succeeded; error.txt in each trial's folder says why", path=out) from e
    found = {"accuracy": trial.value, "settings": trial.params, "folder": trial.user_attrs["folder"]}
    write_json(out / "best.json", found)
    return found
