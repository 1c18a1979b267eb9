"""Pictures of the page for the docs: a run of the built-in scene, in Chromium, light, dark and on a phone.

python benchmarks/page_png.py docs/
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PRESENTATIONS = 70
"""Presentations that have been scored when the pictures are taken."""

VIEWS: dict[str, dict[str, Any]] = {
    "page-light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
}
RUN = ["run", "--source", "synthetic:?presentations=400&classes=6&duration=500ms&seed=3", "--config", "demo"]
ENOUGH = f"() => parseInt(document.getElementById('presentations').textContent) >= {PRESENTATIONS}"


def main() -> None:
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    command = [sys.executable, "-m", "stream_ottt", *RUN, "--speed", "0.5x", "--quiet", "--web", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run, sync_playwright() as playwright:
        try:
            assert run.stderr is not None
            url = next(line for line in run.stderr if "the page is at" in line).split()[-1]
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            pages = {name: chromium.new_context(**view).new_page() for name, view in VIEWS.items()}
            for name, page in pages.items():
                page.goto(url)
                page.wait_for_function(ENOUGH, timeout=600_000)
                for panel in (".memory", ".raster"):  # asked for once it is seen
                    page.locator(panel).scroll_into_view_if_needed()
                    page.wait_for_timeout(6000)
                page.evaluate("scrollTo(0, 0)")
                page.wait_for_timeout(500)
                page.screenshot(path=folder / f"{name}.png", full_page=name != "page-phone", animations="disabled")
                print(folder / f"{name}.png")
            chromium.close()
        finally:
            run.terminate()


if __name__ == "__main__":
    main()
