"""Shapes in an image that samples rarely have: letters, bars, lines and large even blobs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 96  # grey levels between two neighbouring pixels; lenses blur more, drawn text and bars do not
EXTREME = 16  # grey levels from black or white: overlays and debris are often darker or brighter than all of the sample
MOST_OBJECTS = 200  # of one grey level that are tested, at most
STROKE = 5  # pixels: drawn lines and letters are thinner
STROKE_STEP = 80  # grey levels between a line and what is around it
WINDOW = (0.15, 0.3)  # of height and width: about the size of a word


def drawn(image: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Look for what was drawn into an image: parts of one extreme grey level with sharp edges.

    Returns
    -------
    longest run of equal extreme pixels within a row, and width of the widest bar, as shares of the width of the image;
    logarithm of the number of small marks, such as letters.
    """
    import cv2

    longest = widest = 0.0
    marks = 0
    height, width = image.shape
    for level in (int(image.min()), int(image.max())):
        mask = image == level
        if not 0 < mask.mean() < 0.3:  # a background at the extreme is not drawn
            continue
        _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        left, top, wide, high, area = boxes[1:MOST_OBJECTS].T
        bar = (area >= 0.9 * wide * high) & (wide >= 3 * high) & (wide >= 6)
        mark = ~bar & (high >= 3) & (high <= 0.25 * height) & (wide <= 0.25 * width) & (area >= 4)
        possible = np.flatnonzero(bar | mark)
        if len(possible):
            # sharp: the pixels around differ by far
            ring = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
            edges = np.abs(image.astype(np.int16) - level)
        for index in possible:
            rows = slice(max(top[index] - 1, 0), top[index] + high[index] + 1)
            columns = slice(max(left[index] - 1, 0), left[index] + wide[index] + 1)
            around = edges[rows, columns][ring[rows, columns]]
            if not len(around) or np.median(around) < STEP:
                continue
            if bar[index]:
                widest = max(widest, wide[index] / width)
            else:
                marks += 1
        filled = mask.any(axis=1)
        longest = max(longest, _longest_run(mask[filled]) / width)
    return longest, widest, float(np.log1p(marks))


def thin(image: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return the shares of pixels in thin bright and thin dark lines, and the largest one within the area of a word."""
    import cv2

    square = np.ones((STROKE, STROKE), np.uint8)
    bright = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, square) >= STROKE_STEP
    dark = cv2.morphologyEx(image, cv2.MORPH_BLACKHAT, square) >= STROKE_STEP
    window = [max(3, round(part * length)) for part, length in zip(WINDOW, image.shape, strict=True)]
    densest = max(
        float(cv2.blur(mask.astype(np.float32), window[::-1], borderType=cv2.BORDER_CONSTANT).max())
        for mask in (bright, dark)
    )
    return float(np.log(bright.mean() + 1e-3)), float(np.log(dark.mean() + 1e-3)), densest


def extreme(image: NDArray[np.uint8], plane: NDArray[np.float32], *, bright: bool) -> tuple[float, float, float]:
    """Return length (of its box, relative to the image) and area of the longest object near white or black.

    The third value is the share of its pixels whose neighbours have the same level: debris and what is drawn has little
    texture. All are 0 if most of the image is near white or black.
    """
    import cv2

    mask = image >= 255 - EXTREME if bright else image <= EXTREME
    if mask.mean() > 0.5:
        return 0.0, 0.0, 0.0
    number, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if number < 2:
        return 0.0, 0.0, 0.0
    sides = boxes[1:, [cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]] / image.shape
    longest = int(sides.max(axis=1).argmax())
    inside = labels == longest + 1
    smooth = np.abs(plane - cv2.blur(plane, (3, 3))) <= 1
    return (
        float(sides[longest].max()),
        float(boxes[longest + 1, cv2.CC_STAT_AREA]) / image.size,
        float(smooth[inside].mean()),
    )


def _longest_run(mask: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of true values within a row."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8).ravel()
    change = np.diff(padded)
    return int((np.flatnonzero(change < 0) - np.flatnonzero(change > 0)).max(initial=0))


def objects_of(image: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return the logarithm of the number of objects, the share of pixels of the largest and of all, and at the border.

    Objects are what Otsu's threshold separates from the larger part of the image.
    """
    import cv2

    _, mask = cv2.threshold(image, 0, 1, cv2.THRESH_OTSU)
    if mask.mean() > 0.5:
        mask = 1 - mask
    number, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    largest = float(boxes[1:, cv2.CC_STAT_AREA].max(initial=0)) / image.size
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(np.log(number)), largest, float(mask.mean()), float(edge.mean())
