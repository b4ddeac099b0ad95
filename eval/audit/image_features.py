"""What images are described by when their labels are judged: components of their embeddings, and pixel measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pixels import COARSE_FREQUENCIES, Pixels

COMPONENTS = 1280  # principal components of the embeddings, at most
COARSE_COMPONENTS = 256  # of them, where neighbours are searched: the rest is mostly noise to distances
PIXEL_WEIGHT = 0.7  # of a pixel statistic, compared with a component of the embedding
LARGEST_DEVIATION = 5.0  # standard deviations at which pixel statistics are cut
BLOCK = 2048  # images


@dataclass(frozen=True)
class Features:
    """Features of images.

    Attributes
    ----------
    values : array, shape (images, features), float32
        All features, for the discriminant analysis.
    coarse : array, shape (images, fewer features), float32
        For the search of neighbours.
    compared : int
        Number of the first features of `values` by which classes are compared: those of the embeddings, or all.
    """

    values: NDArray[np.float32]
    coarse: NDArray[np.float32]
    compared: int


def features(pixels: Pixels, embeddings: NDArray[np.float32] | None) -> Features:
    """Return what images are described by: components of their embeddings, and what was measured on their pixels.

    Parameters
    ----------
    pixels : Pixels
    embeddings : array, shape (images, dimensions), float32, optional
    """
    # the coarse spectrum repeats a part of the others
    repeated = (COARSE_FREQUENCIES + 1) * (COARSE_FREQUENCIES + 2) // 2 - 1
    measured = np.concatenate([pixels.statistics, pixels.histogram, pixels.spectrum[:, :-repeated]], axis=1)
    measured = (measured - measured.mean(axis=0)) / (measured.std(axis=0) + 1e-6)
    measured = np.clip(measured, -LARGEST_DEVIATION, LARGEST_DEVIATION).astype(np.float32)
    if embeddings is None:
        return Features(measured, measured, measured.shape[1])
    found, measured = components(_rooted(embeddings)), PIXEL_WEIGHT * measured
    values, coarse = (np.concatenate([part, measured], axis=1) for part in (found, found[:, :COARSE_COMPONENTS]))
    return Features(values, coarse, found.shape[1])


def _rooted(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the roots of the values, with their signs: a few large activations would decide every distance."""
    result = np.sqrt(np.abs(embeddings))
    return np.copysign(result, embeddings, out=result)


def components(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the principal components of standardised vectors; the coarse ones have a variance of 1 on average."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64) + 1e-6
    centre, scale = mean.astype(np.float32), (1 / deviation).astype(np.float32)
    covariance = np.zeros((values.shape[1],) * 2)
    for start in range(0, len(values), BLOCK):
        block = (values[start : start + BLOCK] - centre) * scale
        covariance += block.T @ block
    variance, axes = np.linalg.eigh(covariance / len(values))
    kept = min(COMPONENTS, values.shape[1], max(1, len(values) - 1))
    axes = axes[:, ::-1][:, :kept] / np.sqrt(max(variance[::-1][:COARSE_COMPONENTS].mean(), 1e-12))
    # the sign of an axis is arbitrary: its largest entry is made positive
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    projection = (axes * scale[:, None]).astype(np.float32)
    result = np.empty((len(values), kept), np.float32)
    for start in range(0, len(values), BLOCK):
        result[start : start + BLOCK] = (values[start : start + BLOCK] - centre) @ projection
    return result
