"""No package imports one that stands after it, so that data and knowledge flow one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

ORDER = [
    "", "events", "filters", "labels", "network", "engine", "learning", "pipeline", "live", "scene", "images",
    "sources", "web", "metrics", "sinks", "run", "replay", "report", "export", "notebook", "plot", "cli", "testing",
]  # fmt: skip
"""Packages, each of which may import those before it; "" holds the files beside them, such as errors.py."""


def modules() -> Iterator[tuple[str, Path]]:
    """Module → file; ``sources/`` and ``sinks/`` are installed under ``stream_ottt``."""
    for file in sorted((ROOT / "stream_ottt").rglob("*.py")):
        yield ".".join(file.relative_to(ROOT / "stream_ottt").with_suffix("").parts), file
    for folder in ("sources", "sinks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield ".".join(file.relative_to(ROOT).with_suffix("").parts), file


def imported(file: Path) -> Iterator[str]:
    """The project's modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "stream_ottt":
            inner = (node.module or "").partition(".")[2]
            yield from [inner] if inner else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] for a in node.names if a.name.partition(".")[0] == "stream_ottt")


def rank(module: str) -> int:
    head = module.partition(".")[0]
    return ORDER.index(head) if head in ORDER else 0


def test_no_import_runs_upwards() -> None:
    found = {
        (module, other)
        for module, file in modules()
        if module.rpartition(".")[2] not in ("__init__", "__main__")
        for other in imported(file)
        if rank(other) > rank(module)
    }
    assert not found


def test_every_package_has_its_place() -> None:
    packages = {module.partition(".")[0] for module, _ in modules() if "." in module}
    assert packages <= set(ORDER)


def test_the_core_knows_no_source_and_no_sink() -> None:
    core = ORDER[: ORDER.index("sources")]
    found = chain.from_iterable(
        ((module, other) for other in imported(file) if other.partition(".")[0] in ("sources", "sinks"))
        for module, file in modules()
        if module.partition(".")[0] in core
    )
    assert not list(found)


def test_no_files_import_each_other_in_a_circle() -> None:
    """At import time, that is: not inside functions, nor for type checkers alone."""
    known = dict(modules())
    edges = {m: {o for o in _at_import(f) if o in known and o != m} for m, f in known.items() if m != "__init__"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in edges.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def _at_import(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stream_ottt."):
            yield (node.module or "").partition(".")[2]
