"""Do two images show the same? Align them over rotations, mirror images and shifts, then correlate their fine details.

Coarse structure is not enough: two round cells correlate at 0.99. Details of a few pixels, after alignment, do so only
for copies of one image, whatever their contrast, size and compression.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .pixels import SIDE, SMALL

MOST_SHIFT = 0.125  # of the side: a little more than the 10 % that copies may be shifted by
MOST_ZOOM = 0.15  # two crops of one image that are shifted against each other may differ a little in size
COARSE_LEAST = 0.6  # correlation of the small copies below which a pair is not looked at further
FINE, MIDDLE, WIDE = 1.0, 2.0, 4.0  # standard deviations in pixels of 64: details are between two of them
STEPS = 4  # of the fine alignment
LARGEST_STEP = np.array([1, 1, 0.03, 0.03])  # pixels, and parts of the size
PAIRS_AT_ONCE = 1024

Pairs = NDArray[np.int64]


def similarity(copies: NDArray[np.uint8], pairs: Pairs) -> NDArray[np.float32]:
    """Compare pairs of images.

    Parameters
    ----------
    copies : array, shape (images, 64, 64), uint8
        See `pixels.Pixels`.
    pairs : array, shape (pairs, 2), int64
        Indices into `copies`.

    Returns
    -------
    array, shape (pairs, 2), float32
        Correlation of details of 1 to 4 pixels, and of 1 to 2 pixels, after alignment; 0 where the pair was given up.
    """
    result = np.zeros((len(pairs), 2), np.float32)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        result[part] = _compare(copies, pairs[part])
    return result


def _compare(copies: NDArray[np.uint8], pairs: Pairs) -> NDArray[np.float32]:
    images, position = np.unique(pairs, return_inverse=True)
    first, second = position.reshape(pairs.shape).T
    pixels = copies[images].astype(np.float32)
    coarse, turn, shift = _align_coarsely(pixels, first, second)
    result = np.zeros((len(pairs), 2), np.float32)
    kept = np.flatnonzero(coarse >= COARSE_LEAST)
    if not len(kept):
        return result
    turned = np.stack([_turned(pixels[i], t) for i, t in zip(second[kept], turn[kept], strict=True)])
    motion = _align_finely(_halved(pixels[first[kept]]), _halved(turned), shift[kept])
    motion[:, :2] *= SIDE / SMALL
    moved, inside = _moved(turned, motion)
    result[kept] = _detail_correlation(pixels[first[kept]], moved, inside)
    return result


def _halved(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return copies of 32 pixels, standardised."""
    factor = SIDE // SMALL
    return _standardised(pixels.reshape(len(pixels), SMALL, factor, SMALL, factor).mean(axis=(2, 4)))


def _turned(image: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """Return one of the eight ways to turn and mirror a square."""
    image = np.rot90(image, turn // 2)
    return image[:, ::-1] if turn % 2 else image


def _align_coarsely(
    pixels: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Return the best correlation of small copies over turns and shifts, the turn, and the shift in pixels of 32."""
    small = _halved(pixels) / SMALL
    still = scipy.fft.rfft2(small)[first]
    most = int(MOST_SHIFT * SMALL)
    reach = np.r_[0 : most + 1, -most:0]
    best = np.full(len(first), -1, np.float32)
    turn = np.zeros(len(first), np.int64)
    shift = np.zeros((len(first), 2), np.float32)
    for number in range(8):
        turned = np.ascontiguousarray(np.stack([_turned(image, number) for image in small]))
        moving = np.conj(scipy.fft.rfft2(turned))[second]
        correlation = scipy.fft.irfft2(still * moving, s=(SMALL, SMALL))
        near = correlation[:, reach][:, :, reach].reshape(len(first), -1)
        place = near.argmax(axis=1)
        value = near[np.arange(len(first)), place]
        better = value > best
        best[better], turn[better] = value[better], number
        row, column = np.divmod(place[better], len(reach))
        shift[better] = np.stack([reach[row], reach[column]], axis=1)
    return best, turn, shift


def _standardised(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images with mean 0 and standard deviation 1; a constant image becomes 0."""
    pixels = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    return pixels / np.maximum(pixels.std(axis=(1, 2), keepdims=True), 1e-3)


def _blur(pixels: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    import cv2

    return np.stack([cv2.GaussianBlur(p, (0, 0), deviation, borderType=cv2.BORDER_REFLECT) for p in pixels])


def _align_finely(
    still: NDArray[np.float32], moving: NDArray[np.float32], shift: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the motions that bring `moving` onto `still`, by least squares (Lucas and Kanade).

    A motion is four numbers: shift along rows and columns in pixels, and magnification along both, minus 1.
    """
    count, side, _ = still.shape
    motion = np.zeros((count, 4), np.float32)
    motion[:, :2] = shift
    axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
    most = np.array([MOST_SHIFT * side + 1, MOST_SHIFT * side + 1, MOST_ZOOM, MOST_ZOOM], np.float32)
    basis = np.empty((count, 6, side, side), np.float32)
    for _ in range(STEPS):
        moved, inside = _moved(moving, motion)
        basis[:, 0], basis[:, 1] = np.gradient(moved, axis=(1, 2))
        basis[:, 2], basis[:, 3] = basis[:, 0] * axis[:, None], basis[:, 1] * axis
        # brightness and contrast of the two may differ: both are fitted as well
        basis[:, 4], basis[:, 5] = moved, 1
        flat = basis.reshape(count, 6, -1)
        weighted = flat * inside.reshape(count, 1, -1)
        normal = weighted @ flat.transpose(0, 2, 1) + 1e-2 * np.eye(6, dtype=np.float32)
        change = np.linalg.solve(normal, weighted @ (still - moved).reshape(count, -1, 1))[..., 0]
        # moving content down by d takes each pixel from d above; magnification takes it from further out
        motion += np.clip(change[:, :4] * [-1, -1, 1, 1], -LARGEST_STEP, LARGEST_STEP).astype(np.float32)
        motion = np.clip(motion, -most, most)
    return motion


def _moved(pixels: NDArray[np.float32], motion: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return moved images, and 1 where they show something of the original, else 0."""
    import cv2

    side = pixels.shape[-1]
    centre = (side - 1) / 2
    moved, inside = np.empty_like(pixels), np.empty_like(pixels)
    for number, (down, right, tall, wide) in enumerate(motion):
        # where each pixel of the result comes from
        source = np.array(
            [
                [1 + wide, 0, centre - (1 + wide) * centre - right],
                [0, 1 + tall, centre - (1 + tall) * centre - down],
            ],
            np.float32,
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved[number] = cv2.warpAffine(
            pixels[number], source, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        rows = (np.arange(side) - centre) * (1 + tall) + centre - down
        columns = (np.arange(side) - centre) * (1 + wide) + centre - right
        within = [(values >= 0) & (values <= side - 1) for values in (rows, columns)]
        inside[number] = np.outer(*within)
    return moved, inside


def _detail_correlation(
    still: NDArray[np.float32], moved: NDArray[np.float32], inside: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the correlations of details of 1 to 4 and of 1 to 2 pixels where both images show something."""
    blurred = [[_blur(pixels, blur) for blur in (FINE, MIDDLE, WIDE)] for pixels in (still, moved)]
    result = np.empty((len(still), 2), np.float32)
    for column, coarse in enumerate((2, 1)):
        a, b = ((levels[0] - levels[coarse]) for levels in blurred)
        weight = inside / np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
        a = a - (a * weight).sum(axis=(1, 2), keepdims=True)
        b = b - (b * weight).sum(axis=(1, 2), keepdims=True)
        product = (a * b * weight).sum(axis=(1, 2))
        power = (a * a * weight).sum(axis=(1, 2)) * (b * b * weight).sum(axis=(1, 2))
        result[:, column] = product / np.sqrt(np.maximum(power, 1e-6))
    return result
