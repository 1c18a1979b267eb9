"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


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
