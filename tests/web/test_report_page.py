"""The report of a run in a browser."""

from __future__ import annotations

import json
from pathlib import Path

from recorded import NASTY, record, write_stream

from stream_ottt.report.page import report


def test_it_opens_without_an_error_and_asks_for_nothing(visit, tmp_path: Path) -> None:
    assert record(tmp_path / "run", write_stream(tmp_path)) == 0
    path = tmp_path / "run" / "summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"classes": {str(k): v for k, v in NASTY.items()}}))
    (tmp_path / "page.html").write_bytes(report([tmp_path / "run"]))
    page = visit("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "page.html").as_uri()]
    assert page.evaluate("window.hacked") is None
    pictures = page.evaluate("[...document.images].map((i) => [i.complete, i.naturalWidth, i.alt])")
    assert len(pictures) >= 4 and all(complete and width > 100 and alt for complete, width, alt in pictures)
    accuracy = float(page.inner_text("[data-key='accuracy.steps']"))
    assert abs(accuracy - summary["accuracy"]["steps"]) < 1e-4
    assert NASTY[1] in page.inner_text("body")
    page.set_viewport_size({"width": 1200, "height": 800})
    assert page.evaluate("(table => table.scrollWidth <= table.clientWidth)(document.querySelector('table'))")


def test_nothing_of_several_seeds_is_cut_off(visit, tmp_path: Path) -> None:
    stream = write_stream(tmp_path)
    assert [record(tmp_path / f"run{seed}", stream, seed=seed) for seed in range(2)] == [0, 0]
    (tmp_path / "page.html").write_bytes(report([tmp_path / "run0", tmp_path / "run1"]))
    page = visit((tmp_path / "page.html").as_uri())
    cut = page.evaluate("[...document.querySelectorAll('table')].filter((t) => t.scrollWidth > t.clientWidth).length")
    assert cut == 0 and page.locator("text=over seeds, in %").count() == 1
