"""Write the generated pages of the site to docs/generated: references, gallery, and the notebooks with their outputs.

`make docs` runs it. Everything shown is simulated; nothing is downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import reference_pages  # noqa: E402
import simulated_data  # noqa: E402

NOTEBOOKS = ("first-look", "your-own-images")
SECONDS_PER_CELL = 600
GALLERY = (
    # file, title, what it shows, command
    ("plate.png", "What is on a plate", "Wells of a plate as `cytoimagenet images` understands them: one row per well.",
     "images plate --pattern 'Channel(?P<channel>\\d)-\\d+-(?P<row>[A-H])-(?P<column>\\d+)' --out plate.png"),
    ("montage.png", "Classes of a dataset", "One row of images per class.",
     "preview cytoimagenet --classes 6 --images 8 --out montage.png"),
    ("composition.png", "Where the images come from", "Images and classes by category, database and source.",
     "explore composition cytoimagenet --out composition.png"),
    ("thresholds.png", "How many classes a threshold gives",
     "The number of labels that have at least a number of images; the paper chose 287.",
     "label cytoimagenet.build/catalog.parquet --min-images 4 --out selection.parquet --plot thresholds.png"),
    ("qc.png", "Quality control by eye", "Kept images with the least detail, a sample of the kept, and rejected ones.",
     "qc cytoimagenet.build/curated --raw raw --out qc.png"),
)  # fmt: skip


def gallery(data: Path, out: Path) -> str:
    """Make the pictures with the commands that are shown; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    parts = ["# Gallery", "Pictures that the commands write, from simulated cells. Each has the command below it."]
    for file, title, text, command in GALLERY:
        if not (out / file).exists():
            run = f"{sys.executable} -m cytoimagenet {command}"
            subprocess.run(["bash", "-ec", run], cwd=data, check=True, capture_output=True)
            (data / file).replace(out / file)
        parts += [f"## {title}", text, f"![{title}, simulated cells](gallery/{file})"]
        parts.append(f"```sh\ncytoimagenet {command}\n```")
    return "\n\n".join(parts) + "\n"


def run_notebook(name: str, data: Path) -> Any:
    """Run a notebook from top to bottom in the folder of the data; return it with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    notebook = nbformat.read(HERE / "notebooks" / f"{name}.ipynb", as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources={"metadata": {"path": str(data)}}
    )
    client.execute()
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        shown = [_plain(output, str(data)) for output in cell["outputs"] if output.get("name") != "stderr"]
        cell["outputs"] = [output for output in shown if output.get("text", "x").strip()]
    return notebook


def _plain(output: Any, folder: str) -> Any:
    """Return an output without the lines of progress bars, and without the path of this machine."""
    if "text" in output:
        lines = output["text"].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        output["text"] = "\n".join(line for line in lines if "\x1b[" not in line).replace(folder, "data")
    return output


def main() -> None:
    """Write all pages."""
    import nbformat

    out, data = HERE / "generated", HERE / "generated" / "work"
    simulated_data.write(data)
    (out / "commands.md").write_text(reference_pages.commands(), encoding="utf-8")
    (out / "python.md").write_text(reference_pages.python(), encoding="utf-8")
    (out / "gallery.md").write_text(gallery(data, out / "gallery"), encoding="utf-8")
    for name in NOTEBOOKS:
        nbformat.write(run_notebook(name, data), out / f"{name}.ipynb")


if __name__ == "__main__":
    main()
