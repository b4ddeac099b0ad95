"""`audit.html`: what an audit found, worst first, with pictures; one file that needs no server and no network."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ...builder.dataset import quality
from ...builder.dataset.manifest import Manifest
from ...builder.dataset.read_images import read_images
from ...builder.pages.webpage import render_page
from .findings import Findings

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 60  # images of a gallery
GROUPS_SHOWN, GROUP_SIZE = 40, 6
SIDE = 96  # pixels of a picture
QUALITY = 85  # of JPEG

WORDS = {
    "out_of_focus": "out of focus",
    "debris": "debris",
    "empty": "empty",
    "text": "text",
    "scale_bar": "scale bar",
}
"""Names of the table in plain words."""


def write_page(manifest: Manifest, found: Findings) -> str:
    """Return the page of an audit."""
    rows, table = found.rows, found.table
    wrong = _worst(table, quality.WRONG_LABEL, "label_suspicion")
    outliers = _worst(table, quality.OUTLIER, "outlier_score")
    doubtful_labels = np.flatnonzero((table["suggested_label"] != "").to_numpy())
    doubtful_labels = doubtful_labels[np.argsort(-table["label_suspicion"].to_numpy()[doubtful_labels], kind="stable")]
    doubtful_labels = doubtful_labels[: 0 if len(wrong) else SHOWN]
    doubtful = np.argsort(-table["outlier_score"].to_numpy(), kind="stable")[: 0 if len(outliers) else SHOWN]
    evaluation = np.flatnonzero(table["evaluation_match"] != "")[:SHOWN]
    groups = _groups(found)
    galleries = [wrong, doubtful_labels, outliers, doubtful, evaluation, *(group["images"] for group in groups)]
    shown = np.unique(np.concatenate(galleries).astype(int))
    pictures = dict(zip(shown.tolist(), map(_as_uri, read_images(rows.iloc[shown], manifest.root)), strict=True))

    def card(image: int, note: str) -> dict[str, Any]:
        row, facts = rows.iloc[image], table.iloc[image]
        return {
            "picture": pictures[image],
            "label": row["label"],
            "source": row["dir_name"],
            "split": row["split"],
            "key": facts["key"],
            "note": note,
        }

    return render_page(
        TEMPLATES,
        "audit",
        summary=found.summary,
        words=WORDS,
        any_wrong=len(wrong) > 0,
        wrong=[card(i, _label_note(table.iloc[i])) for i in [*wrong.tolist(), *doubtful_labels.tolist()]],
        outliers=[card(i, _outlier_note(table.iloc[i])) for i in (outliers if len(outliers) else doubtful).tolist()],
        any_outlier=len(outliers) > 0,
        groups=[
            {**group, "images": [card(i, "") for i in group["images"]], "more": group["size"] - len(group["images"])}
            for group in groups
        ],
        evaluation=[card(i, table["evaluation_match"].iloc[i]) for i in evaluation.tolist()],
        sources=found.summary["sources"],
        classes=_classes(found.classes),
        digest=manifest.digest,
    )


def _worst(table: pd.DataFrame, flag: str, by: str) -> np.ndarray:
    """Return the flagged images, the most suspicious ones first."""
    flagged = np.flatnonzero(quality.has_flag(table["flags"], flag))
    return flagged[np.argsort(-table[by].to_numpy()[flagged], kind="stable")][:SHOWN]


def _label_note(facts: pd.Series) -> str:
    return (
        f"wrong with a probability of {facts['label_suspicion']:.0%}: "
        f"looks like {facts['suggested_label']} ({facts['suggested_probability']:.0%}), "
        f"not like its label ({facts['label_probability']:.0%})"
    )


def _outlier_note(facts: pd.Series) -> str:
    return f"{WORDS[facts['outlier_kind']]}, {facts['outlier_score']:.3f}"


def _groups(found: Findings) -> list[dict[str, Any]]:
    """Return the groups of near duplicates: first those across the split, then across classes, then the largest."""
    group = found.table["duplicate_group"].to_numpy()
    members = pd.Series(np.flatnonzero(group >= 0)).groupby(group[group >= 0])
    result: list[dict[str, Any]] = []
    for number, images in members:
        part = found.rows.iloc[images.to_numpy()]
        result.append(
            {
                "number": int(str(number)),
                "size": len(images),
                "across_split": len(part["split"].unique()) > 1,
                "across_classes": len(part["label"].unique()) > 1,
                "images": images.tolist()[:GROUP_SIZE],
            }
        )
    result.sort(key=lambda g: (not g["across_split"], not g["across_classes"], -g["size"], g["number"]))
    return result[:GROUPS_SHOWN]


def _classes(classes: pd.DataFrame) -> list[dict[str, Any]]:
    order = classes.sort_values(["wrong_low", "wrong_share", "label"], ascending=[False, False, True])
    return [{str(name): value for name, value in one.items()} for one in order.to_dict("records")]


def _as_uri(image: Image.Image) -> str:
    """Return an image as the address of a small JPEG that contains it."""
    scale = SIDE / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    small = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)  # type: ignore[arg-type]
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
