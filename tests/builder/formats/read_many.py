"""Read many image files in a child of bounded address space and CPU time; one line of JSON a file.

    python read_many.py FOLDER [--no-agree]

A crash, a hang or memory without bound ends the child early, and the lines that are missing tell at which file.
"""

import json
import logging
import resource
import sys
import warnings
from pathlib import Path

import numpy as np
import tifffile
from cytoimagenet.builder.errors import UnreadableImageError
from cytoimagenet.builder.formats.read import read_channel
from PIL import Image

ADDRESS_SPACE = 6 * 2**30  # ten times what the largest real file needs
CPU_SECONDS = 600


def grey_by_pillow(path):
    """Pillow's pixels, as grey by a way of their own."""
    image = Image.open(path)
    if image.mode == "1":
        return np.asarray(image, np.uint8)
    if image.mode in ("P", "RGB", "RGBA", "PA"):
        colours = np.asarray(image.convert("RGBA"))[..., :3].astype(np.float64)
        return (colours.sum(-1) / 3).astype(np.float32)
    return np.asarray(image)


def grey_by_tifffile(path):
    """Tifffile's pixels of the first page, as grey by a way of their own."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        pixels = page.asarray()
        if page.photometric.name == "PALETTE":
            return (page.colormap[:, pixels].astype(np.float64) // 256).sum(0).astype(np.float32) / np.float32(3)
        if page.photometric.name == "MINISWHITE":
            return 2**page.bitspersample - 1 - pixels.astype(np.int64)
        if pixels.ndim == 3:
            colours = pixels if page.planarconfig == 1 else np.moveaxis(pixels, 0, -1)
            return (colours[..., :3].sum(-1, dtype=np.float64) / 3).astype(np.float32)
        return pixels


def agree(path, got):
    """List the libraries that give the same pixels."""
    agreeing = []
    for name, reference in (("pillow", grey_by_pillow), ("tifffile", grey_by_tifffile)):
        try:
            expected = reference(path)
        except Exception:
            continue
        if expected.shape == got.shape and np.allclose(expected.astype(np.float64), got, rtol=1e-6, atol=0):
            agreeing.append(name)
    return agreeing


def main(folder, compared):
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    logging.disable()
    warnings.simplefilter("ignore")
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        line = {"path": str(path.relative_to(folder))}
        try:
            got = read_channel(path)
            line |= {"dtype": str(got.dtype), "shape": got.shape}
            if compared:
                line["agree"] = agree(path, got)
        except UnreadableImageError as error:
            line |= {"reason": error.reason, "named": error.path == str(path)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], compared="--no-agree" not in sys.argv)
