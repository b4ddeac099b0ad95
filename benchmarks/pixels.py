"""Speed of normalising a channel, merging a field of view, and writing and reading a PNG, compared with other methods.

    python benchmarks/pixels.py                       # simulated fields of view
    python benchmarks/pixels.py --images FOLDER       # also PNGs of crops of the images in a folder

One thread. Each number is the best of several runs, since other programs may run; both sides of a ratio alternate in
one process. The published procedure is written from its description: two percentiles by sorting, clipping with masks,
subtracting and dividing in double precision, one channel at a time.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from cytoimagenet import merge_channels, normalise, read_channel
from cytoimagenet.builder.errors import CytoImageNetError
from cytoimagenet.builder.formats.grey_png import decode_png, encode_png
from numpy.typing import NDArray
from PIL import Image

SIDE, CROP = 1080, 300
OPENCV = {
    "OpenCV default": [],
    "OpenCV level 1": [cv2.IMWRITE_PNG_COMPRESSION, 1],
    "OpenCV run-length, sub filter": [cv2.IMWRITE_PNG_STRATEGY, 3, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB],
    "OpenCV run-length, all filters": [
        cv2.IMWRITE_PNG_STRATEGY,
        3,
        cv2.IMWRITE_PNG_FILTER,
        cv2.IMWRITE_PNG_ALL_FILTERS,
    ],
    "OpenCV Huffman only, fast filters": [
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FAST_FILTERS),
    ],
}


def synthetic_field(seed: int) -> NDArray[np.uint16]:
    """Return a simulated 12-bit channel: dim background, blurred bright spots, shot noise."""
    rng = np.random.default_rng(seed)
    spots = (rng.random((SIDE, SIDE)) < 2e-4).astype(np.float32) * 900
    image = cv2.GaussianBlur(spots, (0, 0), 14) * 900 + cv2.GaussianBlur(spots, (0, 0), 3) * 60 + 110
    return np.clip(rng.poisson(image), 0, 4095).astype(np.uint16)


def published_normalise(channel: NDArray[Any]) -> NDArray[np.float64]:
    """Normalise as the published procedure is described."""
    image = channel.astype(np.float64)
    low, high = np.percentile(image, 0.1), np.percentile(image, 99.9)
    image[image < low] = low
    image[image > high] = high
    return (image - low) / (high - low)


def numpy_normalise(channel: NDArray[Any]) -> NDArray[np.float32]:
    """Normalise with numpy's percentiles, which is the specification of `normalise`."""
    low, high = np.percentile(channel, (0.1, 99.9))
    return ((np.clip(channel.astype(np.float64), low, high) - low) / (high - low)).astype(np.float32)


def pillow_png(image: NDArray[np.uint8], **options: Any) -> bytes:
    """Encode with Pillow."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", **options)
    return file.getvalue()


def best_times(methods: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Run all methods alternately, `runs` times each; return the best seconds of each."""
    best = dict.fromkeys(methods, float("inf"))
    for _ in range(runs):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def table(title: str, best: dict[str, float], count: int, more: dict[str, str] | None = None) -> None:
    """Print the rate of each method and its ratio to the first."""
    first = next(iter(best.values()))
    print(f"\n{title}\n\n| | per second | ratio | {'|' if more is None else 'kB each |'}\n|---|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {count / seconds:,.0f} | {first / seconds:.2f} | {(more or {}).get(name, '')} |")


def crops_of(folder: Path | None) -> list[NDArray[np.uint8]]:
    """Return merged 8-bit crops of simulated fields of view, and of the readable images of a folder."""
    fields = [[synthetic_field(seed), synthetic_field(seed + 100)] for seed in range(4)]
    for path in sorted(folder.rglob("*"))[::7] if folder else []:
        try:
            fields.append([read_channel(path)])
        except CytoImageNetError:
            continue
    crops = []
    for channels in fields:
        try:
            merged = merge_channels(channels)
        except CytoImageNetError:
            continue
        for y, x in ((0, 0), (-CROP, -CROP)):
            crop = merged[y:, x:][:CROP, :CROP]
            if min(crop.shape) >= 70:
                crops.append(np.ascontiguousarray(crop))
    return crops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    asked = parser.parse_args()
    cv2.setNumThreads(1)

    channel = synthetic_field(0)
    assert np.array_equal(normalise(channel), numpy_normalise(channel)), "not bit-identical"
    best = best_times(
        {
            "published procedure": lambda: published_normalise(channel),
            "`np.percentile`, both at once": lambda: numpy_normalise(channel),
            "`np.percentile` alone": lambda: np.percentile(channel, (0.1, 99.9)),
            "`np.bincount` alone": lambda: np.bincount(channel.ravel(), minlength=2**16),
            "**`normalise`** (bit-identical to the second)": lambda: normalise(channel),
        },
        asked.runs,
    )
    table(f"Normalise a {SIDE} x {SIDE} uint16 channel", best, 1)

    field = [synthetic_field(seed) for seed in range(6)]
    best = best_times(
        {
            "published procedure": lambda: (np.mean([published_normalise(c) for c in field], axis=0) * 255).astype(
                "u1"
            ),
            "**`merge_channels`**": lambda: merge_channels(field),
        },
        max(asked.runs // 3, 3),
    )
    table(f"Merge 6 channels of {SIDE} x {SIDE} to 8 bits", best, 1)

    crops = crops_of(asked.images)
    encoders: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
        "Pillow default": pillow_png,
        "Pillow level 1": lambda crop: pillow_png(crop, compress_level=1),
        "imagecodecs level 1": lambda crop: imagecodecs.png_encode(crop, level=1),
        **{
            name: lambda crop, o=options: cv2.imencode(".png", crop, o)[1].tobytes() for name, options in OPENCV.items()
        },
        "**`encode_png`**": encode_png,
    }
    sizes = {name: sum(len(encode(crop)) for crop in crops) / len(crops) / 1000 for name, encode in encoders.items()}
    best = best_times({name: lambda e=encode: [e(crop) for crop in crops] for name, encode in encoders.items()}, 5)
    size_texts = {name: f"{size:.2f} ({size / sizes['Pillow default']:.3f})" for name, size in sizes.items()}
    table(f"Encode {len(crops)} grey images of up to {CROP} x {CROP}", best, len(crops), size_texts)

    files = [encode_png(crop) for crop in crops]
    best = best_times(
        {
            "Pillow": lambda: [np.asarray(Image.open(io.BytesIO(file))) for file in files],
            "imagecodecs": lambda: [imagecodecs.png_decode(file) for file in files],
            "**`decode_png`**": lambda: [decode_png(file) for file in files],
        },
        5,
    )
    table("Decode these images", best, len(files))


if __name__ == "__main__":
    main()
