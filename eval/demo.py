"""The complete pipeline on small simulated data: raw sources -> dataset -> training -> scores -> report.

Nothing is downloaded. Six sources with simulated cells are written in the layouts of their publishers. The evaluation
sets have other cell styles, so that what is learnt on the sources has to transfer.

Gains over random weights show only that the pipeline works. In a first version of the single cells, which differed only
in the place of the protein, random weights did as well as trained ones; more variation between cells was added after
that was seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..builder import console, storage
from ..builder.build import Recipe, build
from ..builder.dataset.manifest import Manifest
from ..builder.errors import CytoImageNetError
from ..builder.progress import track
from ..builder.simulate.cells import Style, draw_field, style_of
from ..builder.simulate.source import layouts, simulate_source
from .simulate.bbbc021 import simulate_bbbc021
from .simulate.coos7 import simulate_coos7
from .simulate.cyclops import simulate_cyclops

if TYPE_CHECKING:
    from .report.page import Section

FIELDS = {"rec_rxrx1": 144, "idr0080": 96, "idr0037": 64, "bbbc017": 64, "kag_leukemia": 80, "bbbc041": 32}
"""Sources and number of fields: PNG of 6 channels, IDR TIFF, Cellomics .DIB, BMP, and brightfield with boxes."""

FIELD_SIDE = 160  # pixels; large enough for four crops of 80 pixels
MIN_IMAGES = 14  # labels are rare in a small set
INPUT_SIDE = 64  # pixels; the image size of the recipe quick
COOS7_CELLS = {"train": 80, "test": 50}  # per class, of 7; a test set then has a standard error of about 2 %
CYCLOPS_CELLS = 90  # per class
CLASS_COLUMNS = ("sirna", "gene", "compound", "phenotype", "cell_type")
"""The look of a field depends on the first of these columns that has a value."""

CLASSES_SHOWN = 5
UNTREATED = ("", "EMPTY", "none", "NONE", "Chr2")


@dataclass
class Step:
    """A step of the demo: its name, duration and printed lines."""

    step: str
    seconds: float = 0.0
    printed: list[str] = field(default_factory=list)


def demo(
    out: str | PathLike[str] = "demo",
    *,
    seed: int = 0,
    epochs: int | None = None,
    real: str | PathLike[str] | None = None,
) -> Path:
    """Run the complete pipeline on simulated sources.

    Parameters
    ----------
    out : path
        Folder for all files: `raw/`, `cytoimagenet/`, `runs/quick/`, `evaldata/`, `results/`, `report.html`. A rerun
        resumes an interrupted one.
    seed : int
        Random seed of the simulated images, labels, crops and training.
    epochs : int, optional
        Number of training epochs; by default that of the recipe quick.
    real : path, optional
        Folder with `tasks/mitocheck.zip`: features are also scored on some of its images, which are real. By default
        `demo_real.FOLDER` if it exists.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    UsageError
        If `real` does not contain the zip.
    """
    from ..training.train import train
    from .demo_real import find_real, score_real

    real_task = find_real(real)

    folder = Path(out).resolve()
    steps: list[Step] = []
    with _step(steps, f"simulate {len(FIELDS)} raw sources"):
        simulate_raw(folder / "raw", seed=seed)
    with _step(steps, "build the dataset"):
        recipe = Recipe(min_images=MIN_IMAGES, seed=seed)
        manifest, _ = build(folder / "raw", folder / "cytoimagenet", recipe, workers=2)
    with _step(steps, 'load_dataset("cytoimagenet")') as step:
        step.printed = load_as_a_user_would(folder)
    with _step(steps, "train EfficientNet-B0, recipe quick"):
        changes: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
        run = train(folder / "cytoimagenet", folder / "runs" / "quick", recipe="quick", seed=seed, **changes)
    with _step(steps, "simulate BBBC021, COOS-7 and CYCLoPs"):
        simulate_evaldata(folder / "evaldata", seed=seed + 1)
    with _step(steps, "python eval/run_all.py"):
        results = score(folder, run.folder)
    real_sections = []
    if real_task:
        with _step(steps, "score real cells"):
            real_sections = [score_real(real_task, folder / "real", seed=seed)]
    return write_page(folder, manifest, run.folder, results, steps, real_sections)


def simulate_raw(raw: Path, *, seed: int) -> None:
    """Write the sources of `FIELDS` below `raw`, in the layouts of their publishers."""
    done = raw / ".simulated"
    settings = f"{seed} {sorted(FIELDS.items())}"
    if done.exists() and done.read_text() == settings:
        return
    for name, count in track(FIELDS.items(), "simulate", len(FIELDS), "sources"):
        layout = layouts()[name]
        if min(layout.shape) < FIELD_SIDE and name != "kag_leukemia":  # its images show one cell each
            layout = replace(layout, shape=(FIELD_SIDE, FIELD_SIDE))
        simulate_source(name, raw, seed=seed, fields=count, draw=draw, layout=layout)
    storage.write_atomic(done, settings.encode())


def simulate_evaldata(root: Path, *, seed: int) -> None:
    """Write the three evaluation sets, with cell styles that no training class has."""
    done = root / ".simulated"
    settings = f"{seed} {sorted(COOS7_CELLS.items())} {CYCLOPS_CELLS}"
    if done.exists() and done.read_text() == settings:
        return
    simulate_bbbc021(root / "bbbc021", seed=seed)
    simulate_coos7(root / "coos7", seed=seed, train=COOS7_CELLS["train"], test=COOS7_CELLS["test"])
    simulate_cyclops(root / "cyclops", seed=seed, cells=CYCLOPS_CELLS)
    storage.write_atomic(done, settings.encode())


def draw(info: dict[str, Any], stain: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Simulate one channel of a field; the cells are the same in all channels of the field."""
    if "objects" in info:
        return _smear(info, shape)
    name = next((str(info[c]) for c in CLASS_COLUMNS if str(info.get(c, "")) not in UNTREATED), "untreated")
    return _field(info["seed"], style_of(f"train {name}"), shape, _pattern_of(stain), stain)


def _pattern_of(stain: str) -> str:
    """Return the stain pattern: a treatment changes the place of every stain except the nuclear one."""
    return stain if stain in ("nucleus", "brightfield") else "protein"


@lru_cache(maxsize=8)
def _field(seed: int, style: Style, shape: tuple[int, int], pattern: str, stain: str) -> NDArray[np.float32]:
    # the cells are the same for all channels of a field; camera noise is different for each stain
    cells = draw_field(np.random.default_rng(seed), style, shape, [pattern])[pattern]
    noise = np.random.default_rng([seed, zlib.crc32(stain.encode())]).normal(0, 0.01, shape)
    return np.clip(cells + noise, 0, 1).astype(np.float32)


def _smear(info: dict[str, Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Simulate a blood smear: one cell in each box, on a grey background."""
    rng = np.random.default_rng(info["seed"])
    image = 0.62 + rng.normal(0, 0.012, shape)
    for cell in info["objects"]:
        low, high = cell["bounding_box"]["minimum"], cell["bounding_box"]["maximum"]
        size = (high["r"] - low["r"], high["c"] - low["c"])
        style = style_of(f"train {cell['category']}")
        image[low["r"] : high["r"], low["c"] : high["c"]] = draw_field(rng, style, size, ["brightfield"], cells=1)[
            "brightfield"
        ]
    return np.clip(image, 0, 1).astype(np.float32)


def load_as_a_user_would(folder: Path) -> list[str]:
    """Run `load_dataset("cytoimagenet")` in the folder of the dataset, in a separate Python; return what it printed."""
    code = textwrap.dedent(
        """
        import cytoimagenet
        from datasets import load_dataset

        print(load_dataset("cytoimagenet", split="train"))
        first = next(iter(load_dataset("cytoimagenet", split="validation", streaming=True)))
        width, height = first["image"].size
        print(f"First image of validation: {width} x {height} pixels, class {first['label']}")
        """
    )
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    environment["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise CytoImageNetError(
            "load_dataset failed", where=folder / "cytoimagenet", next=done.stderr.strip().splitlines()[-1]
        )
    console.out.print(done.stdout.strip(), markup=False)
    return done.stdout.strip().splitlines()


def score(folder: Path, run: Path) -> dict[str, Any]:
    """Run the evaluation script as a user would; return its results."""
    script = Path(__file__).with_name("run_all.py")
    command = [sys.executable, str(script), "--data", str(folder / "evaldata"), "--out", str(folder / "results")]
    command += ["--models", f"random,imagenet,{run},fusion", "--input-size", str(INPUT_SIDE)]
    command += ["--preprocess", "concat-norm", "--no-probe"]  # the published preprocessing; the probe is slow
    done = subprocess.run(command, cwd=folder)
    if done.returncode:
        raise CytoImageNetError("The evaluation failed", where=script, next="Its error message is printed above")
    return json.loads((folder / "results" / "results.json").read_text())


def write_page(
    folder: Path,
    manifest: Manifest,
    run: Path,
    results: dict[str, Any],
    steps: list[Step],
    real_sections: Sequence[Section] = (),
) -> Path:
    """Write `report.html`: dataset, training, scores, and what was scored on real cells."""
    from .report.write import command_line, today, write_report

    return write_report(
        results,
        folder / "report.html",
        title="CytoImageNet: from raw sources to transfer scores, on simulated cells",
        extra_sections=[
            *real_sections,
            _dataset_section(folder, manifest, steps[2].printed),
            _training_section(manifest, run),
        ],
        notes=[
            "All data is simulated, and one training run was made: the scores show that the pipeline works, not how "
            "good the model is. Variation between the single cells of a class was added after a first, more uniform "
            "version on which random weights did as well as trained ones.",
            *(f"The section {one.title} is the exception: its images are real." for one in real_sections),
        ],
        steps=[{"step": step.step, "seconds": step.seconds, "peak_gb": None} for step in steps],
        facts={"written": today(), "command": command_line()},
        links={name: name for name in ("cytoimagenet", f"runs/{run.name}", "results/results.json", "results")},
    )


def _dataset_section(folder: Path, manifest: Manifest, printed: list[str]) -> Section:
    import io

    from ..builder.pages.preview import montage
    from .report.page import Figure, Section, Table

    buffer = io.BytesIO()
    montage(folder / "cytoimagenet", classes=CLASSES_SHOWN, images=14).save(buffer, "PNG")
    images = sum(c["train"] + c["validation"] for c in manifest.classes)
    classes = Table(
        ["class", "category", "training images", "validation images"],
        [[c["label"], c["category"], c["train"], c["validation"]] for c in manifest.classes],
    )
    text = [
        f"{images:,} images of {len(manifest.classes)} classes, built from {len(FIELDS)} simulated sources "
        f"({', '.join(FIELDS)}) in the layouts of their publishers. Labels are weak: the images of a class share an "
        "entry of their metadata."
    ]
    shown = min(CLASSES_SHOWN, len(manifest.classes))
    figure = Figure(
        buffer.getvalue(),
        f"Images of {shown} of {len(manifest.classes)} classes",
        "Sampled at random; one row per class. The cells are simulated.",
    )
    parts = [
        Section(f"All {len(manifest.classes)} classes", tables=[classes]),
        Section('What load_dataset("cytoimagenet") returned', [" ".join(printed)]),
    ]
    return Section("The dataset", text, figures=[figure], parts=parts)


def _training_section(manifest: Manifest, run: Path) -> Section:
    import pandas as pd

    from .report.page import Figure, Section

    history = pd.read_csv(run / "history.csv")
    last = history.iloc[-1]
    text = (
        f"EfficientNet-B0 from random weights, {len(history)} epochs at {INPUT_SIDE} pixels: loss "
        f"{history.iloc[0]['train_loss']:.2f} to {last['train_loss']:.2f}; "
        f"{100 * last['validation_accuracy']:.0f} % of the validation images correct, whose source images are not in "
        f"the training set (chance: {100 / len(manifest.classes):.0f} %)."
    )
    figures = [
        Figure(run / name, title)
        for name, title in (("loss.png", "Loss"), ("accuracy.png", "Accuracy"))
        if (run / name).exists()
    ]
    return Section("The training", [text], parts=[Section("Loss and accuracy", figures=figures)])


@contextmanager
def _step(steps: list[Step], name: str) -> Iterator[Step]:
    number = len(steps) + 1
    console.out.print(f"Step {number}: {name}", style="bold", markup=False)
    step = Step(name)
    start = time.monotonic()
    yield step
    step.seconds = time.monotonic() - start
    steps.append(step)
    console.out.print(f"    {step.seconds:.0f} s", markup=False)
