"""Everything once, small: raw sources -> dataset -> load_dataset -> training -> scores -> one page to look at.

Nothing is downloaded. Five sources are written as their publishers ship them, with drawn cells; the evaluation sets
are drawn from styles of their own, so that what training learns about the ones has to carry over to the others.

What the gains over random weights show is that the road works, no more: a first drawing of the single cells, alike but
for the protein's place, was as easy for random weights, and the cells were made to vary after that was seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..builder import console, storage
from ..builder.build import Recipe, build
from ..builder.dataset.manifest import Manifest
from ..builder.errors import CytoImageNetError
from ..builder.progress import track
from ..builder.simulate.cells import Style, draw_field, style_of
from ..builder.simulate.source import layouts, simulate_source
from .simulate import bbbc021 as simulate_bbbc021
from .simulate import coos7 as simulate_coos7
from .simulate import cyclops as simulate_cyclops

FIELDS = {"rec_rxrx1": 144, "idr0080": 96, "idr0037": 64, "bbbc017": 64, "kag_leukemia": 80, "bbbc041": 32}
"""Sources and how many fields of each: 6-channel PNG, IDR TIFF, Cellomics .DIB, BMP, and brightfield with boxes."""

FIELD_SIDE = 160  # pixels; large enough for four crops of 80 pixels
MIN_IMAGES = 14  # labels are rare in a small set
INPUT = 64  # pixels; what the quick recipe trains at
COOS7_CELLS = {"train": 80, "test": 50}  # of each of 7 classes; a test set then has a standard error near 2 %
CYCLOPS_CELLS = 90  # of each class
CLASS_COLUMNS = ("sirna", "gene", "compound", "phenotype", "cell_type")  # what a field looks like, first known one
UNTREATED = ("", "EMPTY", "none", "NONE", "Chr2")


@dataclass
class Step:
    """What took how long; `peak_gb` is left to the steps that know."""

    step: str
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)


def demo(out: str | PathLike[str] = "demo", *, seed: int = 0, epochs: int | None = None) -> Path:
    """Run the whole road on simulated sources.

    Parameters
    ----------
    out : path
        Folder for everything: `raw/`, `cytoimagenet/`, `runs/quick/`, `evaldata/`, `results/`, `report.html`. A rerun
        goes on where it stopped.
    seed : int
        Of the drawing, the labelling, the crops and the training.
    epochs : int, optional
        Instead of the quick recipe's.

    Returns
    -------
    Path
        The report.
    """
    from ..training.train import train

    folder = Path(out).resolve()
    steps: list[Step] = []
    with _step(steps, f"simulate {len(FIELDS)} raw sources"):
        simulate_raw(folder / "raw", seed=seed)
    with _step(steps, "build the dataset"):
        recipe = Recipe(min_images=MIN_IMAGES, seed=seed)
        manifest, _ = build(folder / "raw", folder / "cytoimagenet", recipe, workers=2)
    with _step(steps, 'load_dataset("cytoimagenet")') as step:
        step.said = load_as_a_user_would(folder)
    with _step(steps, "train EfficientNet-B0, recipe quick"):
        changes: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
        run = train(folder / "cytoimagenet", folder / "runs" / "quick", recipe="quick", seed=seed, **changes)
    with _step(steps, "simulate BBBC021, COOS-7 and CYCLoPs"):
        simulate_evaldata(folder / "evaldata", seed=seed + 1)
    with _step(steps, "python eval/run_all.py"):
        results = score(folder, run.folder)
    return write_page(folder, manifest, run.folder, results, steps)


def simulate_raw(raw: Path, *, seed: int) -> None:
    """Write the sources of `FIELDS` below `raw`, in their publishers' layouts."""
    done = raw / ".simulated"
    told = f"{seed} {sorted(FIELDS.items())}"
    if done.exists() and done.read_text() == told:
        return
    for name, count in track(FIELDS.items(), "simulate", len(FIELDS), "sources"):
        layout = layouts()[name]
        if min(layout.shape) < FIELD_SIDE and name != "kag_leukemia":  # its images are one cell each
            layout = replace(layout, shape=(FIELD_SIDE, FIELD_SIDE))
        simulate_source(name, raw, seed=seed, fields=count, draw=draw, layout=layout)
    storage.write_atomic(done, told.encode())


def simulate_evaldata(root: Path, *, seed: int) -> None:
    """Write the three evaluation sets, drawn from styles that no training class has."""
    done = root / ".simulated"
    told = f"{seed} {sorted(COOS7_CELLS.items())} {CYCLOPS_CELLS}"
    if done.exists() and done.read_text() == told:
        return
    simulate_bbbc021.simulate_bbbc021(root / "bbbc021", seed=seed)
    simulate_coos7.simulate_coos7(root / "coos7", seed=seed, train=COOS7_CELLS["train"], test=COOS7_CELLS["test"])
    simulate_cyclops.simulate_cyclops(root / "cyclops", seed=seed, cells=CYCLOPS_CELLS)
    storage.write_atomic(done, told.encode())


def draw(info: dict[str, Any], stain: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Draw one channel of a field of a simulated source; the cells are the same in all channels of the field."""
    if "objects" in info:
        return _smear(info, shape)
    name = next((str(info[c]) for c in CLASS_COLUMNS if str(info.get(c, "")) not in UNTREATED), "untreated")
    return _field(info["seed"], style_of(f"train {name}"), shape, _drawn_as(stain), stain)


def _drawn_as(stain: str) -> str:
    """A treatment moves every stain but the nuclear one to a place of its own."""
    return stain if stain in ("nucleus", "brightfield") else "protein"


@lru_cache(maxsize=8)
def _field(seed: int, style: Style, shape: tuple[int, int], drawn_as: str, stain: str) -> NDArray[np.float32]:
    # the first generator places the cells, equal for all channels; the stain's own camera noise comes on top
    drawn = draw_field(np.random.default_rng(seed), style, shape, [drawn_as])[drawn_as]
    noise = np.random.default_rng([seed, zlib.crc32(stain.encode())]).normal(0, 0.01, shape)
    return np.clip(drawn + noise, 0, 1).astype(np.float32)


def _smear(info: dict[str, Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Draw a blood smear: one cell in each box, on a grey ground."""
    rng = np.random.default_rng(info["seed"])
    image = 0.62 + rng.normal(0, 0.012, shape)
    for thing in info["objects"]:
        low, high = thing["bounding_box"]["minimum"], thing["bounding_box"]["maximum"]
        size = (high["r"] - low["r"], high["c"] - low["c"])
        style = style_of(f"train {thing['category']}")
        image[low["r"] : high["r"], low["c"] : high["c"]] = draw_field(rng, style, size, ["brightfield"], cells=1)[
            "brightfield"
        ]
    return np.clip(image, 0, 1).astype(np.float32)


def load_as_a_user_would(folder: Path) -> list[str]:
    """Run `load_dataset("cytoimagenet")` in the folder that holds the dataset, in a Python of its own."""
    code = textwrap.dedent(
        """
        import cytoimagenet
        from datasets import load_dataset

        print(load_dataset("cytoimagenet", split="train"))
        first = next(iter(load_dataset("cytoimagenet", split="validation", streaming=True)))
        print(first["image"], first["label"])
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
    command += ["--models", f"random,imagenet,{run},fusion", "--input-size", str(INPUT)]
    command += ["--preprocess", "concat-norm", "--no-probe"]  # as published, and in minutes
    done = subprocess.run(command, cwd=folder)
    if done.returncode:
        raise CytoImageNetError("The evaluation failed", where=script, next="Its own words stand above")
    return json.loads((folder / "results" / "results.json").read_text())


def write_page(folder: Path, manifest: Manifest, run: Path, results: dict[str, Any], steps: list[Step]) -> Path:
    """Write `report.html`: the dataset, the training, the scores."""
    import io

    import pandas as pd

    from ..builder.pages.preview import montage
    from .report.page import Figure, Section, Table
    from .report.write import write_report

    buffer = io.BytesIO()
    montage(folder / "cytoimagenet", classes=40, images=10).save(buffer, "PNG")
    images = sum(c["train"] + c["validation"] for c in manifest.classes)
    classes = Table(
        ["class", "category", "training images", "validation images"],
        [[c["label"], c["category"], c["train"], c["validation"]] for c in manifest.classes],
        title="Classes",
    )
    history = pd.read_csv(run / "history.csv")
    last = history.iloc[-1]
    dataset = Section(
        "The dataset",
        [
            f"{images:,} images of {len(manifest.classes)} classes, "
            f"made from {len(FIELDS)} simulated sources ({', '.join(FIELDS)}) in their publishers' file layouts. "
            "Labels are weak: a class is a text that its source images share.",
            'What load_dataset("cytoimagenet") gave: ' + " ".join(steps[2].said),
        ],
        figures=[Figure(buffer.getvalue(), "Some images of every class", "Chosen at random; each row is a class.")],
        tables=[classes],
    )
    training = Section(
        "The training",
        [
            f"EfficientNet-B0 from random weights, {len(history)} epochs at {INPUT} pixels: loss "
            f"{history.iloc[0]['train_loss']:.2f} to {last['train_loss']:.2f}; "
            f"{100 * last['validation_accuracy']:.0f} % of the validation images right, whose source images were never "
            f"trained on "
            f"(chance: {100 / len(manifest.classes):.0f} %)."
        ],
        figures=[
            Figure(run / name, title, "")
            for name, title in (("loss.png", "Loss"), ("accuracy.png", "Accuracy"))
            if (run / name).exists()
        ],
    )
    return write_report(
        results,
        folder / "report.html",
        title="CytoImageNet, from raw sources to transfer scores",
        extra_sections=[dataset, training],
        notes=[
            "Everything here is simulated: the published numbers are those of the full, real sets and stand for "
            "orientation only. The single cells were made to vary within their class after a first, more uniform "
            "drawing on which random weights did as well as trained ones; one seed was run."
        ],
        steps=[{"step": step.step, "seconds": step.seconds, "peak_gb": None} for step in steps],
    )


@contextmanager
def _step(steps: list[Step], name: str) -> Iterator[Step]:
    number = len(steps) + 1
    console.out.print(f"{number}/6 {name}", style="bold", markup=False)
    step = Step(name)
    start = time.monotonic()
    yield step
    step.seconds = time.monotonic() - start
    steps.append(step)
    console.out.print(f"    {step.seconds:.0f} s", markup=False)
