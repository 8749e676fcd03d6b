"""The notebook runs as it stands."""

import os

import pytest
from conftest import ROOT, golden

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def test_the_notebook_runs(days, tmp_path, monkeypatch):
    monkeypatch.setenv("DOLPHIN_DAYS", days)
    monkeypatch.setenv("DOLPHIN_EXPECTED", str(golden("days-champion.trades.jsonl")))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(ROOT / "python/examples/parity.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any("parity: yes" in o.get("text", "") for o in outputs)
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert os.environ["DOLPHIN_DAYS"] == days
