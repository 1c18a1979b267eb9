"""The compiled loops' machine code on disk: where it is kept, whom it is taken from, and what damage to it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.compiled_cache import cache_folder, is_safe
from stream_ottt.sources.reach import Reach

LOOPS = """
from stream_ottt.compiled import jit

@jit(exact=True)
def half(n):
    return n // 2

@jit(exact=True)
def total(values):
    s = 0
    for v in values:
        s += v
    return s + half(FACTOR)

FACTOR = 4
"""


class Package:
    """A module of two loops in a folder of its own, imported anew at each use."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "package"
        self.folder.mkdir(mode=0o755)
        self.caches = folder / "caches"
        (self.folder / "loops.py").write_text(LOOPS)
        self.kept = self.folder / "__pycache__"
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.caches))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def use(self) -> tuple[int, bool, str]:
        """The result, whether it was loaded, and the folder used."""
        cache_folder.cache_clear()
        spec = spec_from_file_location("loops", self.folder / "loops.py")
        assert spec and spec.loader
        loops = module_from_spec(spec)
        spec.loader.exec_module(loops)
        result = loops.total(np.arange(10))
        stats = loops.total.stats
        return int(result), bool(stats.cache_hits), str(stats.cache_path)

    def files(self) -> list[Path]:
        return sorted(self.kept.glob("loops.total*.nbc"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return Package(tmp_path, monkeypatch)


def test_it_is_kept_beside_the_source_and_loaded(package: Package) -> None:
    assert package.use() == (47, False, str(package.kept))
    assert len(package.files()) == 1
    assert package.use() == (47, True, str(package.kept))
    assert not package.caches.exists()


def test_of_an_installed_package_it_is_kept_among_the_users_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip would leave it behind, in a folder that hides a later install from a checkout."""
    site = tmp_path / "site-packages"
    site.mkdir()
    package = Package(site, monkeypatch)
    package.caches = tmp_path / "caches"
    monkeypatch.setenv("XDG_CACHE_HOME", str(package.caches))
    users = package.caches / "stream-ottt"
    assert package.use() == (47, False, str(users))
    assert package.use() == (47, True, str(users))
    assert not package.kept.exists()
    users.chmod(0o770)
    assert package.use() == (47, False, str(package.kept)), "better than none"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:-200] + bytes([data[-200] ^ 1]) + data[-199:],
        lambda data: bytes(len(data)),
        lambda data: b"#!/bin/sh\n" * 100,
    ],
)
def test_a_damaged_file_is_made_anew(package: Package, damage: Callable[[bytes], bytes]) -> None:
    package.use()
    (path,) = package.files()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert package.use()[:2] == (47, False)
    assert package.use()[:2] == (47, True)


@pytest.mark.parametrize(("old", "new", "result"), [("s = 0", "s = 1", 48), ("n // 2", "n // 4", 46)])
def test_a_changed_source_is_compiled_anew(package: Package, old: str, new: str, result: int) -> None:
    package.use()
    (package.folder / "loops.py").write_text(LOOPS.replace(old, new))
    assert package.use()[:2] == (result, False)
    assert len(package.files()) == 1  # the old one is replaced


def test_another_files_machine_code_is_not_taken_for_its_own(package: Package) -> None:
    package.use()
    (path,) = package.files()
    (other,) = package.kept.glob("loops.half*.nbc")
    path.write_bytes(other.read_bytes())
    assert package.use()[:2] == (47, False)


def test_a_folder_that_others_can_write_to_is_not_used(package: Package) -> None:
    package.kept.mkdir()
    package.kept.chmod(0o777)
    users = package.caches / "stream-ottt"
    assert package.use() == (47, False, str(users))
    assert users.stat().st_mode & 0o777 == 0o700 and not package.files()
    assert package.use() == (47, True, str(users))
    users.chmod(0o770)
    assert package.use() == (47, False, "None")  # compiled, and not kept


@pytest.mark.parametrize("taken", [True, False])
def test_where_nothing_can_be_kept_it_is_compiled(package: Package, taken: bool) -> None:
    for folder in (package.kept, package.caches / "stream-ottt") if taken else (package.kept, package.caches):
        folder.parent.mkdir(exist_ok=True)
        folder.write_text("a file, where a folder should be")
    assert package.use() == (47, False, "None")


def test_whose_folder_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_safe(tmp_path)
    assert not is_safe(tmp_path / "none")
    (tmp_path / "file").touch()
    assert not is_safe(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path)
    assert not is_safe(tmp_path / "link")
    for mode in (0o720, 0o702, 0o777):
        tmp_path.chmod(mode)
        assert not is_safe(tmp_path)
    tmp_path.chmod(0o755)
    assert is_safe(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert not is_safe(tmp_path)


def test_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__pycache__").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_folder(tmp_path) is None


def test_reach() -> None:
    reach = Reach()
    assert reach.within(1, 1)
    for values, within in (((33, 9, 5), True), ((34, 9, 5), False), ((33, 10, 5), False), ((0, 0, -1), False)):
        reach.values[:] = values
        assert reach.within(34, 10) is within
    reach.clear()
    assert not reach.values.any()


def test_reach_is_that_of_the_events() -> None:
    """Of each loop of words: what is said to be well-formed is, whatever the words."""
    from stream_ottt.sources.prophesee.kernels import dat, evt2, evt3, evt21
    from stream_ottt.sources.reach import WORDS
    from stream_ottt.sources.ros.kernel import libcaer_cmp

    rng = np.random.default_rng(3)
    cases = (
        (evt2, rng.integers(0, 2**32, 3000, "<u4") & 0x8FFFFFFF, [-1, 0, 0]),
        (evt3, rng.integers(0, 0x9000, 3000).astype("<u2"), [-1, 0, 0, -1, 0, 0, 0]),
        (evt21, rng.integers(-(2**63), 2**63, 3000) & 0x1FFFFFFF00000111, [1, 0, 0, 0]),
        (dat, rng.integers(-(2**63), 2**63, 3000), [0, 0]),
        (libcaer_cmp, rng.integers(0, 0x6000, 3000).astype("<u2"), [7, 0, 0, 0, 0, 0]),
    )
    for loop, words, state in cases:
        out, reach = np.zeros(3000, WORDS), np.zeros(3, np.int64)
        n, _, _ = loop(words, out, np.array(state), reach)
        events = out[:n].view([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")])
        assert n and min(reach[0], 0xFFFF) >= events["x"].max() and min(reach[1], 0xFFFF) >= events["y"].max()
        assert reach[2] < 0 or not (events["t"] < 0).any()
