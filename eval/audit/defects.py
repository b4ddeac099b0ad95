"""Outliers by comparison with defects that are made on purpose: out of focus, debris, empty, text, scale bars.

A classifier learns to tell images from copies of them with a defect, from measurements of their pixels alone: absolute,
and relative to the other images of the same source and of the same class. What it takes for a defect among the images
is an outlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import ConstantImageError
from ...builder.images.normalise import normalise
from ...builder.progress import progress
from .pixels import Pixels, measure

OUT_OF_FOCUS, DEBRIS, EMPTY, TEXT, SCALE_BAR = "out_of_focus", "debris", "empty", "text", "scale_bar"
KINDS = (OUT_OF_FOCUS, DEBRIS, EMPTY, TEXT, SCALE_BAR)

EXAMPLES = 5000  # images that get a defect, at most
FOLDS = 3
ROUNDS = 120  # of boosting
FLAG_FROM = 0.95  # score; see docs/quality.md for what was found with it
LETTERS = "ABCDEFGHKLMNPRSTUVXYZabcdeghkmnpqrsuvxyz0123456789"

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Outliers:
    """How much each image looks like one with a defect.

    Attributes
    ----------
    score : array, shape (images,), float32
        Probability of a defect, if there were as many images with a defect as without.
    kind : array, shape (images,), int64
        The most probable defect, an index into `KINDS`.
    flagged : array, shape (images,), bool
        Score of at least `FLAG_FROM`.
    """

    score: NDArray[np.float32]
    kind: NDArray[np.int64]
    flagged: NDArray[np.bool_]


def _as_grey(plane: NDArray[np.floating]) -> Image:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def _stretched(plane: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return an image stretched to 0 to 255 between the percentiles that the curation uses."""
    try:
        return normalise(plane) * 255
    except ConstantImageError:
        return np.zeros(plane.shape, np.float32)


def out_of_focus(image: Image, rng: np.random.Generator) -> Image:
    """Blur an image; the noise of the camera stays."""
    import cv2

    blur = rng.uniform(0.035, 0.1) * min(image.shape)
    plane: NDArray[Any] = cv2.GaussianBlur(
        image.astype(np.float32), (0, 0), max(1.5, blur), borderType=cv2.BORDER_REFLECT
    )
    if rng.random() < 0.5:
        plane = _stretched(plane)
    return _as_grey(plane + rng.normal(0, rng.uniform(0, 3), image.shape))


def debris(image: Image, rng: np.random.Generator) -> Image:
    """Draw a large smooth blob or some fibres over an image, brighter or darker than anything in it."""
    import cv2

    height, width = image.shape
    mask = np.zeros(image.shape, np.float32)
    side = min(height, width)
    if rng.random() < 0.5:
        centre = rng.uniform(0.2, 0.8, 2) * (width, height)
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        radius = rng.uniform(0.15, 0.35) * side * rng.uniform(0.5, 1.3, len(angle))
        points = centre + np.stack([np.cos(angle) * radius * rng.uniform(0.6, 1.4), np.sin(angle) * radius], axis=1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1.0)
    else:
        for _ in range(rng.integers(1, 4)):
            steps = rng.normal(0, 0.5, 12).cumsum() * 0.3 + rng.uniform(0, 2 * np.pi)
            path = np.stack([np.cos(steps), np.sin(steps)], axis=1).cumsum(axis=0) * side * 0.13
            path += rng.uniform(0.1, 0.9, 2) * (width, height) - path.mean(axis=0)
            cv2.polylines(mask, [path.astype(np.int32)], False, 1.0, max(1, round(side * rng.uniform(0.015, 0.06))))
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, rng.uniform(0.004, 0.03) * side))  # type: ignore[assignment]
    level = abs(_visible(image, rng) - rng.uniform(0, 40))
    texture = cv2.GaussianBlur(
        rng.normal(0, rng.uniform(0, 60), image.shape).astype(np.float32), (0, 0), max(1.0, 0.04 * side)
    )
    return _as_grey(image * (1 - mask) + (level + texture) * mask)


def empty(image: Image, rng: np.random.Generator) -> Image:
    """Return an image without content, stretched as the curation stretches all: noise, and uneven illumination."""
    import cv2

    height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    if rng.random() < 0.5:
        plane = rng.normal(0, 1, image.shape).astype(np.float32)
    else:  # few photons: few grey levels
        photons = float(np.exp(rng.uniform(np.log(1), np.log(100))))
        plane = ((rng.poisson(photons, image.shape) - photons) / photons**0.5).astype(np.float32)
    if rng.random() < 0.5:
        plane = cv2.GaussianBlur(plane, (0, 0), rng.uniform(0.4, 2.0))  # type: ignore[assignment]
        plane /= plane.std() + 1e-6
    if rng.random() < 0.5:
        slope = rng.normal(0, 1, 2) * rng.choice([1, 3, 8])
        plane += slope[0] * x + slope[1] * y + rng.choice([0, 3, -3]) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    return _as_grey(_stretched(plane))


def _visible(image: Image, rng: np.random.Generator) -> int:
    """Return black or white, mostly the one that is visible on the image."""
    clear = 255 if np.median(image) < 128 else 0
    return clear if rng.random() < 0.85 else 255 - clear


def text(image: Image, rng: np.random.Generator) -> Image:
    """Write one or two lines of letters into an image."""
    import cv2

    image = np.ascontiguousarray(image).copy()
    height, width = image.shape
    level = _visible(image, rng)
    for _ in range(rng.integers(1, 3)):
        tall = max(5.0, rng.uniform(0.07, 0.16) * height)
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX]))
        words = "".join(rng.choice(list(LETTERS), rng.integers(3, 10)))
        scale = tall / cv2.getTextSize("X", font, 1, 1)[0][1]
        place = (int(rng.uniform(0.02, 0.5) * width), int(rng.uniform(0.15, 0.97) * height))
        thickness = max(1, round(scale * rng.uniform(0.7, 1.6)))
        cv2.putText(image, words, place, font, scale, level, thickness, rng.choice([cv2.LINE_8, cv2.LINE_AA]))
    return image


def scale_bar(image: Image, rng: np.random.Generator) -> Image:
    """Draw a bar into a lower or upper corner of an image, sometimes with its length above it."""
    import cv2

    image = np.ascontiguousarray(image).copy()
    height, width = image.shape
    level = _visible(image, rng)
    long, thick = max(8, int(rng.uniform(0.15, 0.4) * width)), max(1, round(rng.uniform(0.01, 0.045) * height))
    left = int(rng.choice([rng.uniform(0.03, 0.1), 0.97 - long / width - rng.uniform(0, 0.07)]) * width)
    top = int(rng.choice([0.04, 0.9, 0.9]) * height + rng.uniform(0, 0.04) * height)
    image[top : top + thick, max(left, 0) : max(left, 0) + long] = level
    if rng.random() < 0.3:
        scale = max(5.0, 0.08 * height) / cv2.getTextSize("X", cv2.FONT_HERSHEY_SIMPLEX, 1, 1)[0][1]
        cv2.putText(image, "10 um", (max(left, 0), max(top - 2, 8)), cv2.FONT_HERSHEY_SIMPLEX, scale, level, 1)
    return image


MAKERS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    OUT_OF_FOCUS: out_of_focus, DEBRIS: debris, EMPTY: empty, TEXT: text, SCALE_BAR: scale_bar,
}  # fmt: skip


def find_outliers(
    read: Callable[[NDArray[np.int64]], Iterable[list[Image]]],
    pixels: Pixels,
    source: NDArray[np.int64],
    label: NDArray[np.int64],
    group: NDArray[np.int64],
    *,
    seed: int,
) -> Outliers:
    """Find the images that look like images with a defect.

    Parameters
    ----------
    read : function (rows) -> iterable of lists of images
        Reads images by their rows, in batches, in the order of the rows.
    pixels : Pixels
        Measurements of all images.
    source : array, shape (images,), int64
        Source of each image; an image is compared with the others of its source.
    label : array, shape (images,), int64
        Class of each image; an image is compared with the others of its class, too.
    group : array, shape (images,), int64
        Images of one group are never divided between training and test.
    seed : int
        Random seed of the defects.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(pixels))[:EXAMPLES])
    kind = rng.integers(0, len(KINDS), len(chosen))
    defective = _measure_defective(read(chosen), kind, seed)
    values = np.concatenate([pixels.statistics, pixels.histogram], axis=1)
    made = np.concatenate([defective.statistics, defective.histogram], axis=1)
    given, wrong = [values], [made]
    for number in (source, label):
        relative = _Relative(values, number)
        given.append(relative(values, number))
        wrong.append(relative(made, number[chosen]))
    return _classify(np.concatenate(given, axis=1), np.concatenate(wrong, axis=1), kind, chosen, group, seed)


def _measure_defective(batches: Iterable[list[Image]], kind: NDArray[np.int64], seed: int) -> Pixels:
    """Measure images with one defect each; a defect depends on the seed and on the image's place in the table."""
    results: list[Pixels] = []
    done = 0
    with progress("make defects", len(kind)) as bar:
        for images in batches:
            numbers = range(done, done + len(images))
            made = [
                MAKERS[KINDS[kind[number]]](image, np.random.default_rng([seed, number]))
                for number, image in zip(numbers, images, strict=True)
            ]
            results.append(measure(made))
            done += len(images)
            bar.advance(len(images))
    return Pixels(**{name: np.concatenate([getattr(r, name) for r in results]) for name in Pixels.__dataclass_fields__})


class _Relative:
    """How far measurements are from the median of their source or class, in units of its spread."""

    def __init__(self, values: NDArray[np.float32], source: NDArray[np.int64]) -> None:
        count = int(source.max()) + 1
        self.median = np.empty((count, values.shape[1]), np.float32)
        self.spread = np.empty_like(self.median)
        everywhere = 1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)
        for number in range(count):
            part = values[source == number]
            self.median[number] = np.median(part, axis=0) if len(part) else 0
            own = 1.4826 * np.median(np.abs(part - self.median[number]), axis=0) if len(part) else 0
            # of a source of few or uniform images, nothing is far from the median by accident
            self.spread[number] = np.maximum(own, 0.2 * everywhere) + 1e-3

    def __call__(self, values: NDArray[np.float32], source: NDArray[np.int64]) -> NDArray[np.float32]:
        relative = (values - self.median[source]) / self.spread[source]
        return np.clip(relative, -30, 30)


def _classify(
    given: NDArray[np.float32],
    wrong: NDArray[np.float32],
    kind: NDArray[np.int64],
    chosen: NDArray[np.int64],
    group: NDArray[np.int64],
    seed: int,
) -> Outliers:
    """Train on some images and their defective copies, out of fold, and score all images."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    number = np.unique(group, return_inverse=True)[1]
    fold = (np.random.default_rng(seed).permutation(int(number.max()) + 1) % FOLDS)[number]
    score, best = np.zeros(len(given), np.float32), np.zeros(len(given), np.int64)
    for left_out in range(FOLDS):
        train = np.flatnonzero(fold[chosen] != left_out)
        test = np.flatnonzero(fold == left_out)
        if not len(test) or not len(train):
            continue
        model = HistGradientBoostingClassifier(
            max_iter=ROUNDS, learning_rate=0.15, max_leaf_nodes=15, l2_regularization=1.0, early_stopping=False,
            random_state=seed,
        )  # fmt: skip
        model.fit(
            np.concatenate([given[chosen[train]], wrong[train]]), np.concatenate([np.full(len(train), -1), kind[train]])
        )
        defects = model.classes_[1:]
        here = model.predict_proba(given[test])
        score[test] = 1 - here[:, 0]
        best[test] = defects[here[:, 1:].argmax(axis=1)]
    return Outliers(score, best, score >= FLAG_FROM)
