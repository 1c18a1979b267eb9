"""What the commands share: versions, types of options, near misses, and how fast a wrong word is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import stream_ottt
from stream_ottt.cli import main

HEAVY = ("torch", "numba", "scipy", "cv2", "tonic", "h5py")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run a command line in this process, in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["stream-ottt", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"stream-ottt {stream_ottt.__version__}\n", "")
    assert re.fullmatch(r"\d+\.\d+\.\d+", stream_ottt.__version__)


def test_options_say_what_they_take(call: Call) -> None:
    assert "--passes INTEGER" in call("run", "--help")[1] and "--device DEVICE" in call("bench", "--help")[1]


def test_a_shell_can_complete(call: Call) -> None:
    assert "--install-completion" in call("--help")[1]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("run --source synthetic: --lr 0.1", "did you mean '--learner.lr'?"),
        ("run --source synthetic: --learner.lrr 0.1", "did you mean 'lr'?"),
        ("run --source synthetic: --binning.window 20", "needs its unit"),
        ("run --source synthetic: --passes x", "stream.passes"),
        ("run --source synthetic: --seed -1", "stream.seed"),
        ("run --source synthetic: --config objcts", "did you mean 'objects'?"),
        ("run --source synthtic:", "did you mean 'synthetic'?"),
        ("run --source synthetic: --sink jsnl:x", "did you mean 'jsonl'?"),
        ("run --source synthetic: --load absent", "no such model file"),
        ("replay --method bppt", "did you mean 'bptt'?"),
        ("replay --config nmnist-60", "did you mean 'nmnist-600'?"),
        ("bench nmnst", "did you mean 'nmnist-small'?"),
        ("config show objct", "did you mean 'objects'?"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_heavy_is_imported(words: str, complaint: str, tmp_path: Path) -> None:
    """And it leaves nothing behind."""
    script = (
        "import sys; from stream_ottt.cli import main\n"
        "try: main()\n"
        f"finally: assert not set({HEAVY!r}) & set(sys.modules), set({HEAVY!r}) & set(sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert complaint in ended.stderr and ended.stderr.count("\n") == 1, ended.stderr
    assert ended.returncode in (2, 4) and not any(tmp_path.iterdir())


# --- config ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "nmnist-600", "replay/nmnist", "precision-small"])
def test_any_name_is_shown(call: Call, name: str) -> None:
    code, out, _ = call("config", "show", name)
    assert code == 0 and tomllib.loads(out)


def test_every_key_is_shown_with_what_it_means(call: Call, tmp_path: Path) -> None:
    out = call("config", "show", "demo", "--learner.lr", "0.125")[1]
    assert "# learning rate. (number ≥ 0)\nlr = 0.125\n" in out
    assert '# largest value of a pixel; `"none"` for no limit. (whole number ≥ 1 or "none")\nclamp = 4\n' in out
    (tmp_path / "mine.toml").write_text(out)
    assert call("config", "show", "mine.toml")[1] == out == call("config", "show", "mine")[1]
    assert 'clamp = "none"' in call("config", "show", "mine", "--binning.clamp", "none")[1]


def test_all_presets_are_listed_with_what_they_are(call: Call) -> None:
    out = call("config", "list")[1]
    assert re.search(r"^  demo +The built-in scene", out, re.MULTILINE)
    assert re.search(r"^  nmnist-600 +800 samples", out, re.MULTILINE)
    assert re.search(r"^  paper-2 +ImageNet", out, re.MULTILINE)


def test_a_table_of_ones_own_is_found_by_its_name(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mytable.toml").write_text(
        'title = "Mine"\n[[rows]]\nname = "a"\nsettings = { method = { name = "bppt" } }\n'
    )
    code, _, err = call("bench", "mytable", "--device", "cpu", "--out", "out")
    assert code == 2 and "did you mean 'bptt'" in err and not (tmp_path / "out").exists()
