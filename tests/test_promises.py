"""Each promise names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [
    line for line in PROMISES.splitlines() if line.startswith("| ") and "---" not in line and "promise |" not in line
]


@pytest.mark.parametrize("row", ROWS)
def test_a_promise_has_its_test(row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
    assert named, row
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (file, test)


def test_there_are_promises() -> None:
    assert len(ROWS) > 20
