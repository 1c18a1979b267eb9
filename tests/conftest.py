"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# What is installed is tested. The checkout, where `python -m pytest` is called, holds only a part of the package:
# sources/ and sinks/ are in it once it is installed.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture(autouse=True)
def denormals_are_numbers() -> Iterator[None]:
    """The fast engine flushes denormal numbers in the thread that it runs in; the next test wants them back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command line in this process; gives exit code, stdout and stderr."""
    from stream_ottt.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stream-ottt", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def golden_dir() -> Path:
    """Where the recorded truth of the learning rule lies."""
    return ROOT / "tests" / "golden"


@pytest.fixture
def recordings() -> Path:
    """Real recordings, which are not part of the project; without them the test is left out."""
    folder = SHARED / "recordings"
    if not folder.is_dir():
        pytest.skip("no folder of real recordings beside the repository")
    return folder


@pytest.fixture
def real_data() -> Path:
    """Real labelled data, which are not part of the project; without them the test is left out."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("no folder of real data beside the repository")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors: torch's threads would only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
