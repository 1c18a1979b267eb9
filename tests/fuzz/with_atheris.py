"""Coverage-guided fuzzing of every target by atheris: ``make fuzz``.

    python -P -m fuzz.with_atheris [TARGET…] [--runs N]

Each target runs in a process of its own. Its log, the inputs that it found to take new ways through the program and the
input of a fault are left in build/fuzz. A fault is what a reader raises that is no refusal in one line, an input that
takes longer than TIMEOUT_S, or one with which the process's memory comes to exceed MOST_MIB.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path("build") / "fuzz"
TIMEOUT_S = 20
MOST_MIB = 1500
"""Of memory in use; torch, for the targets that need it, takes a third of it."""
RUNS = 20_000


def compiled_modules() -> list[str]:
    """Modules with loops that numba compiles: it cannot compile what atheris has put between their instructions."""
    out = []
    for package in ("stream_ottt", "stream_ottt.sources", "stream_ottt.sinks"):
        spec = find_spec(package)
        assert spec is not None and spec.submodule_search_locations is not None
        for folder in map(Path, spec.submodule_search_locations):
            for file in folder.rglob("*.py"):
                if re.search(r"^@jit\b", file.read_text(encoding="utf-8"), re.MULTILINE):
                    out.append(".".join((package, *file.relative_to(folder).with_suffix("").parts)))
    return out


def fuzz(name: str, runs: int) -> None:
    """Fuzz one target in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["stream_ottt"], exclude=compiled_modules()):
        from fuzz.targets import TARGETS, refuses

        found, seeds = FOLDER / "found" / name, FOLDER / "seeds" / name
        for folder in (found, seeds):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as made:
            inputs = TARGETS[name].inputs(name, Path(made))
        for number, data in enumerate(inputs):
            (seeds / str(number)).write_bytes(data)
        with tempfile.TemporaryDirectory() as folder, TARGETS[name].reader(Path(folder)) as read:
            for data in inputs:  # what is imported and compiled at the first use belongs to no input
                refuses(read, data)

            def one(data: bytes) -> None:
                refuses(read, data)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                assert peak <= MOST_MIB, f"{peak} MiB of memory, where at most {MOST_MIB} are to be used"

            options = [f"-runs={runs}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MOST_MIB}"]
            options += [f"-artifact_prefix={FOLDER}/{name}-", "-print_final_stats=1", "-verbosity=1"]
            atheris.Setup([sys.argv[0], *options, str(found), str(seeds)], one)
            atheris.Fuzz()


def supervise(name: str, runs: int) -> bool:
    """Fuzz one target in a process of its own, and say in one line how that ended."""
    log = FOLDER / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with log.open("wb") as file:
        words = [sys.executable, "-P", "-m", "fuzz.with_atheris", name, "--runs", str(runs), "--here"]
        code = subprocess.run(words, stdout=file, stderr=file, check=False).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    states = re.findall(r"^#(\d+)\s.*cov: (\d+) ft: \d+ corp: (\d+)", text, re.MULTILINE)
    peak = re.findall(r"peak_rss_mb:\s+(\d+)", text)
    if code or not states or not peak:
        print(f"{name}: a fault; {log} says which, and names the input", flush=True)
        return False
    done, ways, kept = states[-1]
    took = f"{done} runs in {time.monotonic() - begun:.0f} s"
    print(f"{name}: {took}, {ways} branches seen, {kept} inputs kept, {peak[-1]} MB", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each target")
    parser.add_argument("--here", action="store_true", help="one target, in this process")
    asked = parser.parse_args()
    if asked.here:
        fuzz(asked.targets[0], asked.runs)
        return
    from fuzz.targets import TARGETS

    unknown = set(asked.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    results = [supervise(name, asked.runs) for name in asked.targets or TARGETS]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
