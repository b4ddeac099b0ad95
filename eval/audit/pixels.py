"""What the audit measures on the pixels of an image: two small copies, a spectrum and some statistics.

One pass over the images. Nothing is learned and no network is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ...builder.dataset.manifest import Manifest
from ...builder.progress import progress
from ...loaders.map_images import map_images, read_places
from .shapes import STEP, drawn, extreme, objects_of, thin

SIDE = 64  # pixels of the copy on which two images are compared
SMALL = 32  # pixels of the copy whose spectrum is compared first
LARGEST = 160  # pixels: larger images are shrunk to this side before their statistics are taken
FREQUENCIES = 10  # periods per side: the finest of the 16 that a copy of 32 pixels has are mostly noise
COARSE_FREQUENCIES = 6
LEVELS = 32  # of the histogram of grey levels
BLURS = (0.7, 1.0, 2.0, 4.0, 8.0)  # standard deviations in pixels between which the energy of an image is measured
FLAT = 6  # grey levels: what varies less is flat


@dataclass(frozen=True)
class Pixels:
    """Measurements of images, one row per image.

    Attributes
    ----------
    copies : array, shape (images, 64, 64), uint8
        The images, resized to a square. On disk, in a temporary file.
    spectrum : array, shape (images, features), float32
        The same for an image and its rotations by 90 degrees and mirror images; changes little when the content is
        shifted or its contrast changes.
    statistics : array, shape (images, features), float32
        See `STATISTICS`.
    histogram : array, shape (images, 32), float32
        Share of the pixels at each grey level.
    size : array, shape (images, 2), int64
        Height and width in pixels.
    """

    copies: NDArray[np.uint8]
    spectrum: NDArray[np.float32]
    statistics: NDArray[np.float32]
    histogram: NDArray[np.float32]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.spectrum)


STATISTICS = (
    *("mean", "median", "deviation", "darkest_share", "brightest_share", "entropy"),
    *(f"energy_{low:g}_{high:g}" for low, high in zip(BLURS, (*BLURS[1:], 0), strict=True)),
    *("fine_energy", "steps_along_rows", "steps_along_columns", "gradient_mean", "gradient_90", "flat_share"),
    *("longest_run", "bar_width", "marks", "largest_object", "objects", "object_share", "border_share"),
    *("log_height", "log_width"),
    *("thin_bright_share", "thin_dark_share", "thin_densest"),
    *("bright_extent", "bright_area", "bright_flatness", "dark_extent", "dark_area", "dark_flatness"),
)
"""Names of the statistics of an image."""


def measure_dataset(manifest: Manifest, *, workers: int) -> Pixels:
    """Measure all images of a dataset folder, in the order of its metadata.

    Parameters
    ----------
    manifest : Manifest
        Of the folder.
    workers : int
        Number of threads.
    """
    places = read_places(manifest)
    results = map_images(manifest.root, places, measure, workers=workers)
    return collect(results, len(places), "measure images")


def collect(results: Iterable[Pixels], count: int, title: str) -> Pixels:
    """Put the measurements of batches together.

    Parameters
    ----------
    results : iterable of Pixels
    count : int
        Largest number of images.
    title : str
        Of the progress bar.
    """
    # the copies are the only part that grows large; the system can write them out when memory is short
    copies = np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=(count, SIDE, SIDE))  # noqa: SIM115 -- closed with the array
    parts: list[Pixels] = []
    done = 0
    with progress(title, count) as bar:
        for part in results:
            copies[done : done + len(part)] = part.copies
            done += len(part)
            parts.append(Pixels(part.copies[:0], part.spectrum, part.statistics, part.histogram, part.size))
            bar.advance(len(part))
    parts = parts or [measure([])]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("spectrum", "statistics", "histogram", "size")
    }
    return Pixels(copies=copies[:done], **joined)


def measure(images: Sequence[NDArray[np.uint8]]) -> Pixels:
    """Measure some images.

    Parameters
    ----------
    images : sequence of array, shape (height, width), uint8
    """
    count = len(images)
    copies = np.array([shrink(image, SIDE) for image in images], np.uint8).reshape(count, SIDE, SIDE)
    small = np.array([shrink(image, SMALL) for image in images], np.uint8).reshape(count, SMALL, SMALL)
    levels = [np.bincount(image.ravel() >> 3, minlength=LEVELS) / image.size for image in images]
    return Pixels(
        copies=copies,
        spectrum=spectrum(small),
        statistics=np.array([statistics(image) for image in images], np.float32).reshape(count, len(STATISTICS)),
        histogram=np.array(levels, np.float32).reshape(count, LEVELS),
        size=np.array([image.shape for image in images], np.int64).reshape(count, 2),
    )


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a square copy of an image; where it is smaller, pixels are interpolated."""
    import cv2

    height, width = image.shape
    if max(height, width) > side:  # each axis by itself: a mean over areas where it shrinks
        small = (min(width, side), min(height, side))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if image.shape == (side, side):
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def spectrum(copies: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the low frequencies of images, averaged over rotations by 90 degrees and mirror images.

    The magnitude of a Fourier transform does not change when the content moves around (with the opposite edges
    joined); with a window that fades out the edges it changes little when other content comes in.

    Parameters
    ----------
    copies : array, shape (images, side, side), uint8

    Returns
    -------
    array, shape (images, features), float32
        Three spectra of unit length side by side: with a window, without one, and with one at few frequencies.
    """
    pixels = copies.astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    side = pixels.shape[-1]
    fade = np.hanning(side + 2)[1:-1].astype(np.float32)
    parts = []
    for window, highest in ((True, FREQUENCIES), (False, FREQUENCIES), (True, COARSE_FREQUENCIES)):
        shown = pixels * np.outer(fade, fade) if window else pixels
        magnitude = np.abs(scipy.fft.fft2(shown))
        kept = np.r_[0 : highest + 1, -highest:0]
        mirrored = np.r_[0, len(kept) - 1 : 0 : -1]
        magnitude = magnitude[:, kept][:, :, kept]
        magnitude = magnitude + magnitude[:, :, mirrored]
        magnitude = magnitude + magnitude.transpose(0, 2, 1)
        row, column = np.tril_indices(highest + 1)
        part = np.sqrt(magnitude[:, row[1:], column[1:]])
        length = np.linalg.norm(part, axis=1, keepdims=True)
        parts.append(part / np.maximum(length, 1e-6))
    return np.concatenate(parts, axis=1).astype(np.float32)


def statistics(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the statistics of an image, in the order of `STATISTICS`."""
    import cv2

    height, width = image.shape
    run, bar, marks = drawn(image)
    if max(height, width) > LARGEST:
        scale = LARGEST / max(height, width)
        shape = (max(8, round(width * scale)), max(8, round(height * scale)))
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    plane = image.astype(np.float32)
    counts = np.bincount(image.ravel(), minlength=256) / image.size
    filled = counts[counts > 0]
    deviation = float(plane.std())
    energies, before = [], plane
    for blur in BLURS:
        after = cv2.GaussianBlur(plane, (0, 0), blur, borderType=cv2.BORDER_REFLECT)
        energies.append(float((before - after).std()))
        before = after  # type: ignore[assignment]
    energies.append(float(before.std()))
    # each band relative to all contrast: blurring moves it from the fine to the coarse ones
    relative = [np.log((energy + 0.05) / (deviation + 0.5)) for energy in energies]
    along_rows, along_columns = np.abs(np.diff(plane, axis=1)), np.abs(np.diff(plane, axis=0))
    gradient = np.concatenate([along_rows.ravel(), along_columns.ravel()])
    objects, largest, share, border = objects_of(image)
    values = [
        *(plane.mean(), np.median(plane), deviation, counts[:4].sum(), counts[-4:].sum()),
        float(-(filled * np.log2(filled)).sum()),
        *relative[1:],
        relative[0],
        *((along_rows >= STEP).mean() * 100, (along_columns >= STEP).mean() * 100),
        *(gradient.mean(), np.percentile(gradient, 90), (gradient <= FLAT).mean()),
        *(run, bar, marks, largest, objects, share, border, np.log(height), np.log(width)),
        *thin(image),
        *extreme(image, plane, bright=True),
        *extreme(image, plane, bright=False),
    ]
    return np.array(values, np.float32)
