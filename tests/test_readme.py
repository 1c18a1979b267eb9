"""What the README says is run: its Python example, and that its commands and presets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) < 15
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    learner = names["learner"]
    assert learner.counts.updates == learner.counts.learned > 15  # type: ignore[attr-defined]
    again = names["load_model"]("model.safetensors")  # type: ignore[operator]
    assert again.optimizer.steps == learner.optimizer.steps  # type: ignore[attr-defined]


def test_every_command_it_names_exists() -> None:
    from stream_ottt.cli.app import app

    known = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    known |= {g.name for g in app.registered_groups}
    named = set(re.findall(r"stream-ottt ([a-z]+) ", README))
    assert named and named <= known


def test_every_long_option_it_names_is_an_option() -> None:
    from typer.main import get_command

    from stream_ottt.cli.app import app

    options = {
        o
        for command in get_command(app).commands.values()  # type: ignore[attr-defined]
        for sub in getattr(command, "commands", {"": command}).values()
        for p in sub.params
        for o in p.opts
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?![\w.-])", README))
    assert named and named <= options


@pytest.mark.parametrize("document", ["docs/summary.md", "docs/feed.md", "ARCHITECTURE.md", "benchmarks/README.md"])
def test_every_document_it_points_to_is_there(document: str) -> None:
    assert f"({document})" in README
    assert (Path(__file__).resolve().parents[1] / document).is_file()
