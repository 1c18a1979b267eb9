"""The pages of docs/ and the README: they build as a site, and what they say to type is what there is to type."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_ottt.cli import main
from stream_ottt.cli.app import _with_web_address, app
from stream_ottt.filters.chain import parse_filter
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.run.config import RunConfig, merge, parse_overrides
from stream_ottt.run.presets import REPLAYS, RUNS, TABLES
from stream_ottt.sinks.opening import open_sink

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = [page for page in PAGES if page.name != "commands.md"]
"""Pages that are not made from the commands themselves."""
NOT_ALONE = {"feed.md", "replay.md", "export.md", "report.md"}
"""Pages whose Python is run by tests of their own, or only shows a shape."""
SHORT = ["--max-steps", "12", "--quiet", "--force"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The words of each line that calls stream-ottt, without prompts and comments."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"^(?: {4})?(?:\$ )?(stream-ottt .*)$", joined, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in found if "…" not in line]


def of_pages() -> list[Any]:
    """All commands of all pages."""
    found = {(page.name, *words) for page in WRITTEN for words in commands(page.read_text(encoding="utf-8"))}
    return [pytest.param(name, words, id=f"{name}: {' '.join(words)[:60]}") for name, *words in sorted(found)]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """A page that is not in any table of contents, and a link that leads nowhere, is one."""
    pytest.importorskip("myst_parser", reason="the extra docs is not installed")
    pytest.importorskip("furo")
    words = ["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    built = subprocess.run(
        [sys.executable, *words, str(ROOT / "docs"), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "site" / f"{page.stem}.html").is_file()
    assert "Threads" in (tmp_path / "site" / "architecture.html").read_text()  # the stub shows the file


@pytest.mark.parametrize(("page", "words"), of_pages())
def test_a_command_of_a_page_is_one(page: str, words: list[str]) -> None:
    """Its name, its options, its settings and its preset; what it names of files need not be there."""
    from typer.main import get_command

    command: Any = get_command(app)
    words = _with_web_address(words)
    if words[0] not in command.commands:
        pytest.fail(f"no command {words[0]}")
    command = command.commands[words.pop(0)]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words)
    given = context.params
    if command.name == "run":
        preset = {} if given["config"] is None else RUNS.read(given["config"])
        named = {"labels": {"delay": given["label_delay"]}, "stream": {"speed": given["speed"], "seed": given["seed"]}}
        asked = {t: {k: v for k, v in keys.items() if v is not None} for t, keys in named.items()}
        RunConfig.load(merge(preset, asked, parse_overrides(context.args)))
        for sink in given["sink"] or []:
            open_sink(sink)
        for spec in given["filter_"] or []:
            parse_filter(spec)
    elif command.name == "replay":
        preset = {} if given["config"] is None else REPLAYS.read(given["config"])
        ReplayConfig.load(merge(preset, parse_overrides(context.args)))
    elif command.name == "bench" and given["table"] is not None:
        assert given["table"] in TABLES.names()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")], ids=lambda p: p.name)
def test_the_commands_of_a_tutorial_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each as it is written, but for a few timesteps only."""
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "text"):
        if text.startswith("class,"):
            Path("labels.csv").write_text(text)
    for words in [words for block in blocks(page, "sh") for words in commands(block)]:
        monkeypatch.setattr(sys, "argv", ["stream-ottt", *words, *(SHORT if words[0] == "run" else [])])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, (words, capsys.readouterr().err)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python") and p.name not in NOT_ALONE], ids=lambda p: p.name
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec", dont_inherit=True), names)
