"""Whether every runtime dependency has a wheel for other machines, at the versions of constraints.txt.

    python scripts/wheels.py

Asks the package index that pip is set to, and downloads nothing but metadata where the index has them apart. Exits with
1 when a wheel is missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
MACHINES = {
    "Linux on ARM64": [f"manylinux_2_{minor}_aarch64" for minor in range(28, 16, -1)] + ["manylinux2014_aarch64"],
    "macOS on Apple silicon": [f"macosx_{major}_0_arm64" for major in range(14, 10, -1)] + ["macosx_10_9_universal2"],
}
PYTHON = "3.11"
COMPILED_BELOW = ["llvmlite", "pydantic-core", "markupsafe"]
"""What dependencies of ours need that is not Python alone."""


def wheels(platforms: list[str], wanted: list[str]) -> dict[str, str]:
    """Package → wheel of those that can be installed there; raises CalledProcessError when one cannot."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", "--target", "nowhere"]
    command += [word for platform in platforms for word in ("--platform", platform)]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--report", "-", *wanted]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)["install"]
    return {x["metadata"]["name"]: x["download_info"]["url"].rpartition("/")[2] for x in found}


def main() -> int:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] + COMPILED_BELOW
    missing = 0
    for machine, platforms in MACHINES.items():
        print(f"{machine}, Python {PYTHON}:")
        try:
            found = wheels(platforms, dependencies)
        except subprocess.CalledProcessError:
            found = {}
            for wanted in dependencies:
                try:
                    found |= wheels(platforms, [wanted])
                except subprocess.CalledProcessError as e:
                    missing += 1
                    print(f"  {wanted}: NO WHEEL: {e.stderr.strip().splitlines()[-1]}")
        for name, wheel in found.items():
            print(f"  {name}: {wheel}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
