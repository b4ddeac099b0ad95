"""Images that were tried, written as short texts: `("a-0", "actin", "XY")` is a row with two images, X and Y."""

import numpy as np
import pyarrow as pa
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate import chunk
from cytoimagenet.builder.curate.tried import TriedImages


def selection_of(rows) -> pa.Table:
    """Return a selection of rows (idx, label, images[, channels]), which must be sorted by label and idx."""
    columns = {name: [schema.empty(name)] * len(rows) for name in schema.SELECTION.names}
    columns |= {
        "idx": [row[0] for row in rows],
        "label": [row[1] for row in rows],
        "category": ["gene"] * len(rows),
        "dir_name": [row[0].split("-")[0] for row in rows],
        "channels": [row[3] if len(row) > 3 else f"{row[0]}.tif" for row in rows],
    }
    assert list(zip(columns["label"], columns["idx"], strict=True)) == sorted(
        zip(columns["label"], columns["idx"], strict=True)
    )
    return pa.table(columns, schema=schema.SELECTION)


def table_of(images, **columns) -> pa.Table:
    """Return a table of chunk.TRIED for images (index within the row, letter); a small letter was rejected as dim."""
    n = len(images)
    values = {
        "row": [0] * n,
        "number": [number for number, _ in images],
        "crop": [False] * n,
        "scaling": [1.0] * n,
        **{name: [100] * n for name in ("x_max", "y_max", "width", "height")},
        **{name: [0] * n for name in ("x_min", "y_min", "offset", "size", "entropy")},
        "sha256": [letter.encode() * 32 for _, letter in images],
        "reason": ["dim" if letter.islower() else "" for _, letter in images],
        **{name: [None] * n for name in ("pixel_size", "magnification")},
        **{name: [""] * n for name in ("detail", "file", "channel_digests")},
        **columns,
    }
    return pa.table({field.name: pa.array(values[field.name], field.type) for field in chunk.TRIED}, chunk.TRIED)


def tried_of(*rows, **columns) -> TriedImages:
    """Return the images of rows (idx, label, letters[, channels]): one image per letter, equal letters equal pixels."""
    images = [(row, number, letter) for row, one in enumerate(rows) for number, letter in enumerate(one[2])]
    classes, class_of_row = np.unique([row[1] for row in rows], return_inverse=True)
    return TriedImages(
        selection_of(rows),
        classes.tolist(),
        class_of_row,
        table_of([(number, letter) for _, number, letter in images], **columns),
        np.array([row for row, _, _ in images]),
        np.zeros(len(images), int),
    )
