"""Whether a page that is kept open grows: the browser's heap, every few minutes, beside a run at the stream's pace.

    python benchmarks/page_heap.py [--minutes 60]

The page shows all that it can. Before each reading the browser collects its garbage.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time

RUN = ["run", "--source", "synthetic:?presentations=100000&classes=6&duration=500ms", "--config", "demo"]
READINGS = 12


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    command = [sys.executable, "-m", "stream_ottt", *RUN, "--speed", "1x", "--quiet", "--web", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run, sync_playwright() as playwright:
        try:
            assert run.stderr is not None
            url = next(line for line in run.stderr if "the page is at" in line).split()[-1]
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = chromium.new_page(viewport={"width": 1440, "height": 4000})
            page.goto(url)
            session = page.context.new_cdp_session(page)
            print("| minutes | timesteps | heap, kB | nodes |\n|---|---|---|---|")
            started = time.monotonic()
            for i in range(READINGS + 1):
                page.wait_for_timeout(max(0, 1000 * (started + 60 * minutes * i / READINGS - time.monotonic())))
                session.send("HeapProfiler.collectGarbage")
                heap = session.send("Runtime.getHeapUsage")["usedSize"]
                nodes = session.send("Memory.getDOMCounters")["nodes"]
                steps = page.locator("#timesteps").text_content()
                print(f"| {60 * minutes * i / READINGS / 60:g} | {steps} | {heap / 1e3:.0f} | {nodes} |", flush=True)
            chromium.close()
        finally:
            run.terminate()


if __name__ == "__main__":
    main()
