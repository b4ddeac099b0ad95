"""A small raw folder with one planted defect of each kind, and the table that selects from it."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from cytoimagenet.builder import schema
from PIL import Image

SHAPE = (150, 160)


def cells(seed: int, shape=SHAPE, levels=4096) -> np.ndarray:
    """Draw blobs on a dark ground, as 12 bits in 16."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.gamma(4, 0.01, shape)
    for _ in range(20):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(4, 12)
        image += rng.uniform(0.3, 1) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * r * r))
    return (image / image.max() * (levels - 1)).astype(np.uint16)


def tif(image: np.ndarray) -> bytes:
    held = io.BytesIO()
    tifffile.imwrite(held, image)
    return held.getvalue()


def png(image: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(image).save(held, "PNG")
    return held.getvalue()


def bomb() -> bytes:
    """Return a PNG whose header promises a hundred thousand million pixels."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", 320_000, 320_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + bytes(40)


def defects() -> dict[str, tuple[str, bytes | None]]:
    """Return, per defect, the reason it must give and its file."""
    black = np.zeros(SHAPE, np.uint16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[40:90, 30:120] = 255
    dim = cells(901)
    dim[dim < np.percentile(dim, 80)] = 0
    infinite = cells(902).astype(np.float32)
    infinite[3, 4] = np.inf
    bright = np.full((60, 60), 255, np.uint8)
    bright[0, :8] = np.arange(8)  # 0.2 %, so that there is something to stretch
    return {
        "truncated": ("unreadable", tif(cells(900))[:900]),
        "text": ("unreadable", b"no image at all"),
        "bomb": ("too_large", bomb()),
        "absent": ("missing_channel", None),
        "black": ("empty", tif(black)),
        "flat": ("constant", tif(black + 7)),
        "mask": ("binary_mask", png(mask)),
        "dim": ("dim", tif(dim)),
        "infinite": ("not_finite", tif(infinite)),
        "bright": ("saturated", png(bright)),
    }


def row(idx: str, label: str, channels: str, source: str, category="compound") -> dict:
    """Return a row of the selection."""
    known = {
        "label": label,
        "category": category,
        "idx": idx,
        "dir_name": source,
        "channels": channels,
        category: label,
    }
    return (
        {name: schema.empty(name) for name in schema.SELECTION.names}
        | known
        | {"database": "made up", "licence": "CC0-1.0"}
    )


def make(raw: Path, images: int = 6) -> pd.DataFrame:
    """Write the sources below `raw`; return the selection.

    Three classes: `alpha` of one-channel fields, `beta` of two-channel fields, `gamma` of boxes of two smears; then one
    row for each defect, in `alpha`, and a copy of the first alpha field, in `beta`.
    """
    rows = []

    def put(file: str, data: bytes | None) -> str:
        if data is not None:
            (raw / file).parent.mkdir(parents=True, exist_ok=True)
            (raw / file).write_bytes(data)
        return file

    for n in range(images):
        rows.append(row(f"one-{n}", "alpha", put(f"one/a{n}.tif", tif(cells(n))), "one"))
        pair = "|".join(put(f"two/b{n}_{c}.tif", tif(cells(100 + 2 * n + c))) for c in range(2))
        rows.append(row(f"two-{n}", "beta", pair, "two"))
    for smear in range(2):
        file = put(f"three/s{smear}.png", png((cells(500 + smear, (200, 300)) // 16).astype(np.uint8)))
        for n in range(3):
            box = f"#xywh={n * 40},{n * 20},{80 + n},75"
            rows.append(row(f"three-{smear}{n}", "gamma", file + box, "three", "cell_type"))
    for name, (_, data) in defects().items():
        rows.append(row(f"bad-{name}", "alpha", put(f"bad/{name}.tif", data), "bad"))
    rows.append(row("two-copy", "beta", put("two/copy.tif", tif(cells(0))), "two"))
    return pd.DataFrame(rows)[schema.SELECTION.names]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
