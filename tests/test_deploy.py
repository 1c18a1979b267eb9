"""What deploy/ holds is right: options that there are, settings that load, and a start that goes on after a kill."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from resumed import SMALL
from typer.main import get_command

from stream_ottt.cli.app import app
from stream_ottt.cli.settings_text import as_toml
from stream_ottt.run.config import RunConfig, merge
from stream_ottt.sinks.opening import open_sink

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
UNIT = (DEPLOY / "stream-ottt@.service").read_text()


def directive(name: str) -> list[str]:
    return [line.partition("=")[2] for line in UNIT.splitlines() if line.startswith(f"{name}=")]


def environment() -> dict[str, str]:
    lines = (DEPLOY / "camera.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_units_options_are_options_of_run() -> None:
    command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    words = [w for w in shlex.split(directive("ExecStart")[0] + " " + environment()["OPTIONS"]) if w.startswith("--")]
    assert len(words) > 5 and set(words) <= known
    for word in environment()["OPTIONS"].split():
        if "?" in word:
            open_sink(word)


def test_the_containers_durations_are_ones_that_builders_read() -> None:
    """Go's: its minutes are ``m``."""
    health = next(line for line in (DEPLOY / "Containerfile").read_text().splitlines() if "HEALTHCHECK" in line)
    durations = re.findall(r"--(?:interval|start-period|timeout)=(\S+)", health)
    assert len(durations) == 3
    assert all(re.fullmatch(r"(\d+(ms|s|m|h))+", duration) for duration in durations)


def test_the_example_settings_load() -> None:
    assert RunConfig.load(tomllib.loads((DEPLOY / "camera.toml").read_text())).rehearsal.mode == "idle"


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / "stream-ottt@cam.service"
    unit.write_text(UNIT.replace("/opt/stream-ottt/bin/stream-ottt", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    overrides = (DEPLOY / "usb-camera.conf").read_text()
    unit.write_text(unit.read_text().replace("[Install]", overrides.partition("[Service]\n")[2] + "\n[Install]"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_same_start_goes_on_after_a_kill(tmp_path: Path) -> None:
    """What the unit starts, as systemd would: killed after a checkpoint, and started once more."""
    settings = merge(SMALL, {"stream": {"checkpoint_every": "20ms", "speed": "1x"}})
    (tmp_path / "cam.toml").write_text(as_toml(RunConfig.load(settings)))
    line = directive("ExecStart")[0].replace("/etc/stream-ottt/%i.toml", "cam.toml").replace("$OPTIONS", "")
    line = line.replace("${SOURCE}", "'synthetic:?presentations=3000&duration=100ms&pause=50ms&classes=3'")
    words = [sys.executable, "-m", "stream_ottt", *shlex.split(line)[1:]]

    def start(end: str) -> subprocess.Popen[str]:
        env = {**os.environ, "NOTIFY_SOCKET": end}
        return subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=env)

    def until(process: subprocess.Popen[str], event: str, beyond: int = 0) -> int:
        """The timesteps of the first such event that has more of them."""
        assert process.stderr is not None
        for line in process.stderr:
            if (found := json.loads(line))["event"] == event and found["timesteps"] > beyond:
                return found["timesteps"]
        raise AssertionError(f"no {event}")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(60)
        first = start(str(tmp_path / "notify"))
        try:
            written = until(first, "checkpoint")
            assert b"READY=1" in end.recv(4096)
        finally:
            first.kill()
            first.communicate()
        second = start(str(tmp_path / "notify"))
        try:
            gap = until(second, "gap")
            assert gap >= written and until(second, "checkpoint", beyond=gap) > gap
        finally:
            second.send_signal(signal.SIGTERM)
            _, rest = second.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert (last["event"], last["reason"], second.returncode) == ("end", "interrupted", 0)
