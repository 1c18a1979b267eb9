"""The documents name everything that there is, and nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import stream_ottt
from stream_ottt import errors
from stream_ottt.cli import document
from stream_ottt.cli.settings_text import keys_of
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets import DATASETS
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.protocols import PROTOCOLS
from stream_ottt.run.config import RunConfig
from stream_ottt.run.presets import REPLAYS, RUNS, TABLES
from stream_ottt.settings import model_of
from stream_ottt.sinks import SINKS
from stream_ottt.sources import SOURCES
from stream_ottt.testing import check_source

ROOT = Path(__file__).resolve().parents[1]


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def test_the_page_of_settings_is_what_the_classes_say() -> None:
    assert text("docs/settings.md") == document.settings(), "run `make settings`"


def test_the_page_of_formats_is_what_the_sources_say() -> None:
    assert text("docs/formats.md") == document.formats(), "run `make settings`"


def test_each_format_says_what_is_not_read_and_what_others_read_wrong() -> None:
    page = text("docs/formats.md")
    for section in page.split("\n## ")[1:]:
        assert "\nNot read: " in section and "\nTraps of other readers: " in section, section.splitlines()[0]
    assert page.count("\n## ") == sum(SOURCES.get(name).reads_files for name in SOURCES.names())


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    assert text("docs/commands.md") == document.commands(), "run `make settings`"


@pytest.mark.parametrize("model", [RunConfig, ReplayConfig])
def test_every_setting_is_explained(model: type[RunConfig]) -> None:
    for table in model.model_fields:
        own = model_of(model, table)
        assert own is not None
        for key in keys_of(own):
            assert key.meaning.endswith(".") and key.values and key.default, f"{table}.{key.name}"


@pytest.mark.parametrize(
    ("documents", "names"),
    [
        (["docs/settings.md"], SOURCES.names()),
        (["docs/formats.md"], [n for n in SOURCES.names() if SOURCES.get(n).reads_files]),
        (["docs/settings.md"], SINKS.names()),
        (["docs/replay.md"], DATASETS.names()),
        (["docs/replay.md"], METHODS.names()),
        (["docs/replay.md"], PROTOCOLS.names()),
    ],
)
def test_everything_with_a_name_is_named(documents: list[str], names: list[str]) -> None:
    said = text(*documents)
    assert [n for n in names if not re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", said)] == []


def test_every_exit_code_is_in_the_table_and_no_other() -> None:
    section = text("docs/summary.md").partition("## Exit codes")[2]
    said = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.StreamOtttError)]
    assert said == {0, errors.INTERRUPTED, *(c.exit_code for c in classes)}


@pytest.mark.parametrize("kind", [RUNS, REPLAYS, TABLES], ids=["runs", "replays", "tables"])
def test_every_preset_says_what_it_is(kind: type[RUNS]) -> None:  # type: ignore[valid-type]
    for name in kind.names():
        assert len(kind.title(name)) > 10, name


def test_every_page_that_is_pointed_to_is_there() -> None:
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page)):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_public_names() -> None:
    """Adding one is a decision, and so is taking one away."""
    names = [
        "Binner", "BinningConfig", "EngineConfig", "EventPacket", "InputError", "LabelInterval", "LabelTimeline",
        "LearnerConfig", "Ledger", "ModelError", "NetworkConfig", "OnlineLearner", "OutputError", "Prediction",
        "RecordedRun", "StepResult", "StreamOtttError", "Timestep", "UsageError", "__version__", "build_learner",
        "build_network", "learn", "load_model", "open_sink", "open_source", "plot", "read_label_csv", "read_run",
        "save_model",
    ]  # fmt: skip
    assert sorted(names) == sorted(stream_ottt.__all__) == sorted(dir(stream_ottt))
    for name in names:
        assert getattr(stream_ottt, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stream_ottt.nothing


def test_the_table_of_packages_is_the_folder_listing() -> None:
    said = re.findall(r"^\| `(\w+)/` \|", text("ARCHITECTURE.md"), re.MULTILINE)
    there = sorted(p.parent.name for p in (ROOT / "stream_ottt").glob("*/__init__.py"))
    assert sorted(said) == there


def test_the_source_in_the_contributors_guide_keeps_its_promises() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", text("CONTRIBUTING.md"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "lamp"}
    exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    check_source(lambda: names["LampSource"].from_options(blinks=3))
