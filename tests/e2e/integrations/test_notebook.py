"""The notebook of the tour runs from top to bottom in a kernel of Jupyter."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.integrations
TOUR = Path(__file__).parents[3] / "examples" / "tour.ipynb"


def test_tour_when_run_then_tells_a_method_from_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(TOUR, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [_text(cell) for cell in notebook.cells if cell.cell_type == "code"]

    assert [cell.outputs for cell in nbformat.read(TOUR, as_version=4).cells if cell.get("outputs")] == []
    trained, averaged, warned, leaderboard, verdict, plot, by_class, checked, best = outputs
    assert "classified correctly" in trained
    assert averaged.startswith("'Not shown: no ranking finds units of layer 1")
    assert "cancel in the mean" in warned
    robust = re.findall(r"better than random \| robust \| (\S+)", leaderboard)
    assert "conductance" in robust
    assert "Not shown to be better than random, so do not rely on: gradient." in verdict
    assert "image/png" in plot
    assert by_class.startswith("'Yes: the units of layer 1 that gradient ranks highest")
    assert "over only the first 32 of 400 examples" in checked
    assert best.split()[0] == repr(robust[0])
    assert (tmp_path / "tour-result.npz").exists()


def _text(cell: nbformat.NotebookNode) -> str:
    """The texts of a cell's outputs, and the media types of its results."""
    texts = [output.get("text", "") or "".join(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return "\n".join([*texts, *(kind for output in cell.outputs for kind in output.get("data", {}))])
