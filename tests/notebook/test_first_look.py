"""The notebook of the documents, executed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "first-look.ipynb"


@pytest.mark.filterwarnings("ignore")
def test_it_runs_from_top_to_bottom_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # as it is kept
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    assert sum("image/png" in found for found in data) == 2
    html = [found["text/html"] for found in data if "text/html" in found]
    assert len(html) == 2
    presentations = re.search(r'data-key="presentations">(\d+)<', html[0])
    assert presentations is not None and presentations[1] == "40"
    late, guess = (
        float(found[1])
        for key in ("accuracy.second_half", "accuracy.majority")
        if (found := re.search(rf'data-key="{key}">([\d.]+)<', html[0])) is not None
    )
    assert late > guess + 0.2  # one sees it learn
    assert "SpikingConv" in html[1] and "weight 8×2×3×3" in html[1]
    (text,) = [output["text"] for output in outputs if output["output_type"] == "stream" and "right:" in output["text"]]
    second = re.search(r"(\d+)% of the second", text)
    assert second is not None and int(second[1]) >= 90
    assert not [output for output in outputs if output.get("name") == "stderr"]
