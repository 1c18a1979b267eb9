"""What the commands share: versions, types of options, near misses, and how fast a wrong word is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import stream_ottt
from stream_ottt.cli import main
from stream_ottt.errors import UsageError
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.opening import open_source

HEAVY = ("torch", "numba", "scipy", "cv2", "tonic", "h5py", "zmq", "rich", "starlette")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run a command line in this process, in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)  # as the script, not as `python -m pytest`

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


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("convert", "SOURCE TARGET"),
        ("control", "ADDRESS COMMAND [VALUE]"),
        ("report", "RUN..."),
        ("config show", "[NAME|FILE]"),
    ],
)
def test_arguments_are_named_as_in_the_documents(call: Call, words: str, arguments: str) -> None:
    shown = call(*words.split(), "--help")[1]
    assert shown.startswith(f"Usage: stream-ottt {words} [OPTIONS] {arguments}\n")
    for name in re.findall("[A-Z|]+", arguments):
        assert re.search(rf"^  {re.escape(name)}  ", shown, re.MULTILINE), shown


def test_the_list_of_commands_cuts_no_sentence(call: Call) -> None:
    listed = call("--help")[1].partition("Commands:\n")[2].splitlines()
    assert len(listed) > 10 and all(line.rstrip().endswith(".") and "..." not in line for line in listed if line)


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
        ("run --source synthetic: --device gpu", "key 'engine.device': expected cpu, cuda or cuda:1 (found 'gpu')"),
        ("replay --config scene --device cuda:", "key 'compute.device': expected cpu, cuda or cuda:1"),
        ("run --source synthetic: --config objcts", "did you mean 'objects'?"),
        ("run recording.aedat4", "'recording.aedat4' belongs to no option; did you mean --source recording.aedat4?"),
        ("replay nmnist-600", "did you mean --config nmnist-600?"),
        ("run -q", "unknown option '-q'; options are shown by 'stream-ottt run --help'"),
        ("run --source udp://[::1]:1 --source.idle 1s", "behind its address: --source 'ADDRESS?idle=…'"),
        ("run --source synthetic: --filter rotate", "is required; write rotate:?degrees=…"),
        ("run --source synthetic: --binning.frame counts:?a=1", "unknown key 'frame:counts.a'; there are none"),
        ("run --sorce synthetic:", "did you mean '--source'?"),
        ("run --source synthetic: --lerner.lr 1", "did you mean 'learner'?"),
        ("run --source synthetic: --labels absent.csv", "absent.csv"),
        ("run --source synthtic:", "did you mean 'synthetic'?"),
        ("run --source aedat4:x", "x?format=aedat4"),
        ("run --source synthetic: --sink jsnl:x", "did you mean 'jsonl'?"),
        ("run --source synthetic: --load absent", "no such model file"),
        ("replay --method bppt", "did you mean 'bptt'?"),
        ("replay --config nmnist-60", "did you mean 'nmnist-600'?"),
        ("run --source synthetic: --config nmnist-600", "'nmnist-600' is a replay preset: stream-ottt replay --config"),
        ("replay --config nmnist-small", "'nmnist-small' is a table: stream-ottt bench nmnist-small"),
        ("bench nmnst", "did you mean 'nmnist-small'?"),
        ("bench nmnist-small --data nmnist=absent", "nmnist=absent: no such file or folder"),
        ("config show objct", "did you mean 'objects'?"),
        ("config show zzzz", "stream-ottt config list shows all"),
        ("config show nmnist-600 --learner.lrr 1", "did you mean 'lr'?"),
        ("config show streams-tiny --learner.lr 1", "streams-tiny is a table of runs, which is shown as it is"),
        ("config shw", "unknown config command 'shw'; did you mean 'show'?"),
        ("config list x", "unexpected extra argument(s) (x); usage: stream-ottt config list"),
        ("rn", "unknown command 'rn'; did you mean 'run'?"),
        ("--versoin", "did you mean '--version'?"),
        ("run --source", "'--source' requires an argument"),
        ("run --source synthetic: --zzzz 1", "options are shown by 'stream-ottt run --help'"),
        ("info", "info: SOURCE is missing; expected: recording, folder or address"),
        ("info x --jsn", "did you mean '--json'?"),
        ("bench --jobs x", "invalid value for '--jobs': should be a valid integer"),
        ("publish x --too y", "did you mean '--to'?"),
        ("publish x", "publish: --to is missing; expected: zmq+pub://HOST:PORT"),
        ("control x lable mug", "unknown command 'lable'; did you mean 'label'?"),
        ("control x label", "label needs a class, by its name or number"),
        ("control x pause mug", "pause takes no value (found 'mug')"),
        ("run --source synthetic: --control tcp://127.0.0.1:1", "commands go to zmq+rep://HOST:PORT"),
        ("run --source synthetic: --save absent/m.safetensors", "there is no folder absent; make it first"),
        ("run --source synthetic: --web 192.0.2.1:80 --quiet", "--web: cannot serve at 192.0.2.1:80"),
        ("export absent.safetensors pt", "absent.safetensors: no such model file"),
        (f"export {__file__} nir", "no readable model file: it does not begin with a safetensors header"),
        (f"run --source synthetic: --labels {__file__}", "line 1: expected the header 'class,startTime_usec"),
        ("import absent.pt", "absent.pt: no such model file"),
        ("resume absent", "absent: there is no such folder of checkpoints"),
        (f"resume {Path(__file__).parent}", "there is no checkpoint; begin anew with `stream-ottt run --checkpoint`"),
        ("report", "report: RUN is missing; expected: folders of `run --record`"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_heavy_is_imported(words: str, complaint: str, tmp_path: Path) -> None:
    """And it leaves nothing behind."""
    script = (
        "import sys; from stream_ottt.cli import main; sys.argv[0] = 'stream-ottt'\n"
        "try: main()\n"
        f"finally: assert not set({HEAVY!r}) & set(sys.modules), set({HEAVY!r}) & set(sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert complaint in ended.stderr and ended.stderr.count("\n") == 1, ended.stderr
    assert ended.returncode in (2, 4, 5) and not any(tmp_path.iterdir())
    assert not (Path(__file__).parent / "lock").exists()


def test_an_unknown_scheme_is_answered_with_those_of_its_kind() -> None:
    with pytest.raises(UsageError, match=r"unknown source 'zmq\+sbu'; did you mean 'zmq\+sub'\?"):
        open_source("zmq+sbu://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"unknown sink 'zmq\+pbu'; did you mean 'zmq\+pub'\?"):
        open_sink("zmq+pbu://127.0.0.1:1")


@pytest.mark.parametrize("words", ["--version", "--help", "run --help", "config list", "completion", "replay --list"])
def test_what_needs_no_settings_imports_little(words: str, tmp_path: Path) -> None:
    heavy = {*HEAVY, "numpy", "asyncio", "stream_ottt.settings"}  # typer itself takes pydantic
    script = (
        "import sys; sys.argv[0] = 'stream-ottt'; from stream_ottt.cli import main\n"
        "try: main()\n"
        f"finally: print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    completing = {"_STREAM_OTTT_COMPLETE": "complete_bash", "COMP_WORDS": "stream-ottt run --sou", "COMP_CWORD": "2"}
    ended = subprocess.run(
        [sys.executable, "-c", script, *([] if words == "completion" else words.split())],
        env=os.environ | (completing if words == "completion" else {}),
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "\n") and ended.stdout, ended.stderr
    assert words != "completion" or ended.stdout.split() == ["--source"]


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


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_the_list_of_presets_breaks_between_words() -> None:
    from on_terminal import on_terminal

    with on_terminal("-m", "stream_ottt", "config", "list", columns=76, rows=120) as run:
        assert run.end() == 0
        lines = [line for line in run.screen.splitlines() if line]
    assert len(lines) > 40 and all(re.match(r"presets|replay presets|tables|  \S| {21}\S", line) for line in lines)
    objects = lines.index("  objects            Objects before a DVS128, one shown after the other for")
    assert lines[objects + 1] == " " * 21 + "seconds, on a CPU."


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_what_takes_seconds_to_load_says_so_on_a_terminal(tmp_path: Path) -> None:
    from on_terminal import on_terminal

    (tmp_path / "m").write_bytes(b"no model")
    with on_terminal("-m", "stream_ottt", "import", tmp_path / "m", "-o", tmp_path / "m.safetensors") as run:
        run.until(f"loading {tmp_path}"[:40])
        assert run.end() == 4 and "m: not read: " in run.screen.replace("\n", "")
