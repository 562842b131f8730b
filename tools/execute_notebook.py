"""Execute the notebooks in `docs/` again, and store their outputs.

Run this after an edit of a notebook, or after a change of what kdbench prints. Results are
reproducible on one machine; on another, accuracies may differ slightly. Progress messages, warnings
and times are not stored.

Usage: python -m tools.execute_notebook
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
TIMEOUT = 600
"""Maximum seconds of one cell."""


def execute(notebook: NotebookNode) -> None:
    """Execute a notebook in place, in an empty folder, with the settings of no user.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Config()
        config.KernelManager.transport = "ipc"
        config.KernelManager.connection_file = f"{folder}/kernel.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "IPYTHONDIR": f"{folder}/ipython",
            "OMP_NUM_THREADS": "1",  # results depend on the number of threads
        }
        client = NotebookClient(
            notebook,
            config=config,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)


def clean(notebook: NotebookNode) -> None:
    """Remove from a notebook what differs each time, or belongs to one installation."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [item for item in cell.outputs if item.get("name") != "stderr"]


if __name__ == "__main__":
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        document = nbformat.read(path, as_version=4)
        execute(document)
        clean(document)
        nbformat.write(document, path)
