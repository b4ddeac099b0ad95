"""A small curated folder of simulated images, in the form that `curate` writes.

The classes differ in the number, size and shape of the spots, so that a network can learn to distinguish them.
"""

from __future__ import annotations

import hashlib
import io
import json
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from .. import schema
from ..storage import atomic_writer, join, write_atomic

NAMES = {
    "actin": "cell_visible", "golgi/cell membrane": "cell_visible", "hela": "cell_type", "human": "organism",
    "taxol (10 µm)": "compound", "rab5a": "gene", "mitotic, early": "phenotype", "sirna|pool": "sirna",
}  # fmt: skip
"""Labels and their categories; some contain characters that careless code mistakes for syntax."""
IMAGES_PER_STORE = 100


def write_curated(
    out: str | PathLike[str],
    *,
    classes: int = 5,
    images: int = 60,
    sides: tuple[int, int] = (32, 96),
    seed: int = 0,
) -> str:
    """Write a curated folder of simulated images.

    Parameters
    ----------
    out : str or path
        The folder, local or a URL.
    classes : int
        Number of classes; the first eight have awkward names on purpose.
    images : int
        Number of images per class, two crops of each source image; a tenth of the source images is for validation.
    sides : (int, int)
        Smallest and largest side in pixels.
    seed : int
        Equal seeds give equal bytes.

    Returns
    -------
    str
        The folder, ready for `write_dataset`.
    """
    labels = [*list(NAMES)[:classes], *(f"compound-{n:03d}" for n in range(classes - len(NAMES)))]
    rows: list[dict[str, Any]] = []
    store: list[bytes] = []
    for number, label in enumerate(labels):
        for i in range(images):
            height, width = (int(side) for side in np.random.default_rng([seed, number, i]).integers(*sides, 2) + 1)
            pixels = _draw(np.random.default_rng([seed, number, i]), number, (height, width))
            png = _encode(pixels)
            rows.append(_row(label, NAMES.get(label, "compound"), i, images, pixels))
            rows[-1] |= {"store": f"store/{len(rows) // IMAGES_PER_STORE:05d}.bin", "store_size": len(png)}
            same = rows[-1]["store"] == rows[-2]["store"] if len(rows) > 1 else False
            if not same and store:
                write_atomic(join(out, rows[-2]["store"]), b"".join(store))
                store = []
            rows[-1]["store_offset"] = sum(map(len, store))
            store.append(png)
    write_atomic(join(out, rows[-1]["store"]), b"".join(store))
    frame = pd.DataFrame(rows)[schema.CURATED.names]
    schema.write(frame, join(out, "rows.parquet"), schema.CURATED)
    rejected = [(f"x{i}", f"made_up/raw/{i}.tif", "made_up", "", "curate", "dim", "") for i in range(3)]
    columns = schema.REJECTED.names
    schema.write(pd.DataFrame(rejected, columns=columns), join(out, "rejected.parquet"), schema.REJECTED)
    note = {"settings": {"min_images": 1}, "seed": seed, "counts": {"tried": len(rows) + 3, "kept": len(rows)}}
    with atomic_writer(join(out, "curated.json")) as file:
        file.write(json.dumps(note).encode())
    return str(out)


def _draw(rng: np.random.Generator, style: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image of spots on a dim, noisy background; their number, size and length depend on `style`."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    image = rng.normal(0.08, 0.03, shape)
    for _ in range(3 + 4 * (style % 3)):
        angle = rng.uniform(0, np.pi)
        dy, dx = y - rng.uniform(0, height), x - rng.uniform(0, width)
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        wide = 2.0 + 1.5 * (style % 2)
        image += rng.uniform(0.5, 1) * np.exp(-(across**2 + (along / (1 + style // 2)) ** 2) / (2 * wide**2))
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    """Return grey pixels as the bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _row(label: str, category: str, i: int, images: int, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Return a row of schema.ROW; crops 2n and 2n + 1 share source image n."""
    height, width = pixels.shape
    source = i // 2
    slug = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in label)
    row = dict.fromkeys(schema.LABEL_COLUMNS, "") | {
        "label": label,
        "category": category,
        "database": "made up",
        "name": "made_up",
        "dir_name": "made_up",
        "path": f"/cytoimagenet/{slug}",
        "filename": f"{slug}-{i:0{max(1, (images - 1).bit_length())}b}.png",
        "idx": f"made_up-{slug}-{source}",
        "microscopy": "fluorescence",
        "crop": True,
        "scaling": 0.5,
        "x_min": (i % 2) * width,
        "x_max": (i % 2 + 1) * width,
        "y_min": 0,
        "y_max": height,
        "split": "validation" if source % 10 == 9 else "train",
        "width": width,
        "height": height,
        "channels": f"made_up/raw/{slug}-{source}.tif",
        "stains": "",
        "sha256": hashlib.sha256(np.array([height, width], "<i8").tobytes() + pixels.tobytes()).hexdigest(),
        "licence": "CC0-1.0",
        "group": "",
        "plate": f"plate {source % 3}",
        "well": f"{'ABCDEFGH'[source // 12 % 8]}{source % 12 + 1:02}",
        "site": "1",
        "control": "negative" if source % 12 == 0 else "",
        "magnification": 20.0 if source % 3 else None,
        "pixel_size": 0.65 if source % 3 else None,
        "channel_type": "",
        "alternatives": "",
    }
    row[category] = label
    return row
