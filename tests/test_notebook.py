"""The notebook runs from top to bottom, and shows what it gave when it was run.

`.venv/bin/python tests/test_notebook.py` runs it and writes its outputs anew: after runs were
recorded, or the words of the report changed.
"""

import base64
import os
import re
import tempfile

import nbformat
import pytest
from command_line import REPOSITORY
from nbclient import NotebookClient
from nbformat import NotebookNode

from degradation.config import RECORDED
from degradation.records.files import write_atomically
from degradation.report import find_runs

NOTEBOOK = REPOSITORY / "notebooks" / "degradation.ipynb"
REFRESH = ".venv/bin/python tests/test_notebook.py"


def execute() -> NotebookNode:
    """Run the notebook as Jupyter would, from its folder; a cell that fails raises its error."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        # Nothing of the user's: neither start-up files nor a history or connection files.
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, os.path.join(scratch, name.lower()))
        client = NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        return client.execute()


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: NotebookNode) -> list[str]:
    """What a cell printed, and its last value as text."""
    return [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]


@pytest.fixture(scope="module")
def committed() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.slow
def test_it_runs_and_gives_what_is_committed(committed, request):
    """But for what depends on the machine: there the network that it trains has its two rows."""
    executed = execute()
    (trained,) = (cell for cell in executed.cells if cell.id == "train")
    (text,) = texts(trained)
    rows = [line.split() for line in text.splitlines()[-2:]]
    assert [(int(row[0]), float(row[1])) for row in rows] == [(4, 0.1), (8, 0.001)]
    (errors,) = (cell for cell in committed.cells if cell.id == "errors")
    runs = set(re.findall(r"^(\S+/seed\d+) ", "\n".join(texts(errors)), re.MULTILINE))
    if {run.path.relative_to(RECORDED).as_posix() for run in find_runs(RECORDED)} != runs:
        request.getfixturevalue("all_committed")
        pytest.fail(f"other runs are recorded than the notebook shows: {REFRESH}")
    for now, then in zip(code_cells(executed), code_cells(committed), strict=True):
        if "machine-dependent" not in now.metadata.get("tags", ()):
            assert texts(now) == texts(then), f"{REFRESH} writes the outputs anew"


def test_it_was_run_once_from_top_to_bottom_and_names_no_machine(committed):
    """Each cell shows one thing and no warning; one is a picture, of modest size."""
    nbformat.validate(committed)
    assert committed.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata.keys() <= {"tags"} for cell in committed.cells)
    pictures = []
    for number, cell in enumerate(code_cells(committed), start=1):
        assert cell.execution_count == number, REFRESH
        (output,) = cell.outputs
        assert output.output_type in ("stream", "execute_result"), cell.source
        assert output.get("name", "stdout") == "stdout"
        shown = {"text": output.get("text", "")} | output.get("data", {})
        pictures += [shown.pop("image/png")] if "image/png" in shown else []
        for text in shown.values():
            assert not re.search(r"/(home|tmp|root|usr|var|Users)/", text)
    (picture,) = pictures
    assert 20_000 < len(base64.b64decode(picture)) < 300_000


if __name__ == "__main__":
    notebook = execute()
    notebook.metadata["language_info"] = {"name": "python"}  # not its version as well
    write_atomically(NOTEBOOK, (nbformat.writes(notebook) + "\n").encode())
