"""The probability of each label of an image, by models that never saw its source image.

Two simple models: linear discriminant analysis, and the votes of the nearest neighbours. Both are trained on the given
labels, right or wrong; means and majorities bear many wrong ones. Probabilities are computed in blocks of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_features import BLOCK

FOLDS = 5
SHRINKAGES = (0.03, 0.1, 0.3)  # of the covariance within classes towards equal variances; few images need more
TEMPERATURES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
NEIGHBOURS = 20
KERNEL = 0.07  # difference in cosine similarity after which the weight of a neighbour falls to 1/e
FLOOR = 0.03  # share of the votes that goes to all classes by their size
LEAST_TRAINING_IMAGES = 3  # of a class, without which its images are not judged
SAMPLE = 20_000  # images on which the temperature is chosen


def folds_of(group: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the fold of each image; a group is never divided.

    Parameters
    ----------
    group : array, shape (images,)
        Images with the same number show the same source image or near duplicates.
    seed : int
    """
    number, group = np.unique(group, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(number)) % FOLDS)[group]


@dataclass(frozen=True)
class Model:
    """Both models, ready to compute probabilities.

    Attributes
    ----------
    values : array, shape (images, features), float32
    label : array, shape (images,), int64
        Given labels.
    fold : array, shape (images,), int64
    weights, bias : arrays, shape (folds, features, classes) and (folds, classes), float32
        Of the discriminant analysis that was trained without the fold.
    neighbours : array, shape (images, k), int64
        Of other groups; -1 for none.
    votes : array, shape (images, k), float32
        Weights of the neighbours, with a sum of 1.
    prior : array, shape (classes,), float32
        Shares of the classes.
    rank : array, shape (folds, classes, classes), int16
        Number of other classes whose mean is nearer to that of the first class than the mean of the second one is;
        means of the images outside the fold. 0 for the nearest other class.
    judged : array, shape (images,), bool
        Whether the class of the image has enough images in the other folds.
    """

    values: NDArray[np.float32]
    label: NDArray[np.int64]
    fold: NDArray[np.int64]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    votes: NDArray[np.float32]
    prior: NDArray[np.float32]
    rank: NDArray[np.int16]
    judged: NDArray[np.bool_]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.prior)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32]]]:
        """Yield a slice of images, and their probabilities by the two models, each shape (images, classes)."""
        for start in range(0, len(self.values), BLOCK):
            block = slice(start, min(start + BLOCK, len(self.values)))
            yield block, self.discriminant(np.arange(block.start, block.stop)), self.voted(block)

    def discriminant(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the probabilities by discriminant analysis, out of fold, shape (images, classes)."""
        result = np.empty((len(images), self.classes), np.float32)
        for fold in np.unique(self.fold[images]):
            here = self.fold[images] == fold
            result[here] = softmax(self.values[images[here]] @ self.weights[fold] + self.bias[fold])
        return result

    def voted(self, block: slice) -> NDArray[np.float32]:
        """Return the shares of the neighbours' votes, shape (images, classes)."""
        neighbours, votes = self.neighbours[block], self.votes[block]
        result = np.zeros((len(neighbours), self.classes), np.float32)
        row = np.repeat(np.arange(len(neighbours)), neighbours.shape[1])
        valid = neighbours.ravel() >= 0
        np.add.at(result, (row[valid], self.label[neighbours.ravel()[valid]]), votes.ravel()[valid])
        return (1 - FLOOR) * result + FLOOR * self.prior


def train(
    values: NDArray[np.float32],
    label: NDArray[np.int64],
    classes: int,
    group: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    similarity: NDArray[np.float64],
    *,
    seed: int,
    compared: int | None = None,
) -> Model:
    """Train both models on the given labels.

    Parameters
    ----------
    values : array, shape (images, features), float32
    label : array, shape (images,), int64
    classes : int
    group : array, shape (images,), int64
        Groups that are never divided between training and test.
    neighbours, similarity : arrays, shape (images, k)
        Nearest images of other groups and their cosine similarity; -1 for none.
    seed : int
        Random seed of the folds.
    compared : int, optional
        Number of the first features by which classes are compared with each other; all by default.
    """
    fold = folds_of(group, seed)
    number = int(fold.max()) + 1
    counts = np.zeros((number, classes))
    np.add.at(counts, (fold, label), 1)
    weights = np.zeros((number, values.shape[1], classes), np.float32)
    bias = np.full((number, classes), -1e3, np.float32)
    rank = np.zeros((number, classes, classes), np.int16)
    shrinkage = 0.0
    for left_out in range(number):
        moments = _moments(values, label, fold != left_out, classes)
        shrinkage = shrinkage or _best_shrinkage(moments, values, label, fold == left_out)
        weights[left_out], bias[left_out] = _discriminant(*moments, shrinkage)
        rank[left_out] = _ranks(moments[1][:, :compared], moments[0] > 0)
    votes = np.exp((similarity - 1) / KERNEL, where=neighbours >= 0, out=np.zeros_like(similarity))
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
    elsewhere = counts.sum(axis=0)[label] - counts[fold, label]
    prior = (np.bincount(label, minlength=classes) / len(label)).astype(np.float32)
    model = Model(
        values, label, fold, weights, bias, neighbours, votes.astype(np.float32), prior, rank,
        judged=elsewhere >= LEAST_TRAINING_IMAGES,
    )  # fmt: skip
    temperature = _temperature(model, seed)
    weights *= temperature
    bias *= temperature
    return model


def _moments(
    values: NDArray[np.float32], label: NDArray[np.int64], used: NDArray[np.bool_], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return size and mean of each class, and the covariance within classes."""
    counts = np.bincount(label[used], minlength=classes)
    width = values.shape[1]
    sums, scatter = np.zeros((classes, width)), np.zeros((width, width))
    for start in range(0, len(values), BLOCK):
        block = slice(start, start + BLOCK)
        part, labels = values[block][used[block]], label[block][used[block]]
        order = np.argsort(labels, kind="stable")
        present, first = np.unique(labels[order], return_index=True)
        if len(present):
            sums[present] += np.add.reduceat(part[order], first, axis=0, dtype=np.float64)
        scatter += part.T @ part
    means = sums / np.maximum(counts, 1)[:, None]
    within = (scatter - (means * counts[:, None]).T @ means) / max(counts.sum(), 1)
    return counts, means, within


def _ranks(means: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each class how many other classes are nearer than another one; those without images come last."""
    length = (means**2).sum(axis=1)
    distance = length[:, None] + length - 2 * means @ means.T
    distance[:, ~present] = np.inf
    np.fill_diagonal(distance, np.inf)
    return distance.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")


def _discriminant(
    counts: NDArray[np.int64], means: NDArray[np.float64], within: NDArray[np.float64], shrinkage: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights, shape (features, classes), and bias of a linear discriminant analysis."""
    width = len(within)
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / width * np.eye(width)
    weights = np.linalg.solve(shrunk, means.T)
    with np.errstate(divide="ignore"):
        bias = np.log(counts / max(counts.sum(), 1)) - 0.5 * (means.T * weights).sum(axis=0)
    return weights.astype(np.float32), np.maximum(bias, -1e3).astype(np.float32)


def _best_shrinkage(
    moments: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    values: NDArray[np.float32],
    label: NDArray[np.int64],
    test: NDArray[np.bool_],
) -> float:
    """Return the shrinkage with which most of the given labels of other images are predicted."""
    right = {}
    for shrinkage in SHRINKAGES:
        weights, bias = _discriminant(*moments, shrinkage)
        right[shrinkage] = int(((values[test] @ weights + bias).argmax(axis=1) == label[test]).sum())
    return max(SHRINKAGES, key=lambda shrinkage: (right[shrinkage], shrinkage))


def _temperature(model: Model, seed: int) -> float:
    """Return the factor of the scores that makes the given labels most probable: as computed they are too certain."""
    images = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(model.judged))[:SAMPLE])
    loss = dict.fromkeys(TEMPERATURES, 0.0)
    for start in range(0, len(images), BLOCK):
        some = images[start : start + BLOCK]
        certain = model.discriminant(some)
        scores = np.log(np.maximum(certain, 1e-30))
        for temperature in TEMPERATURES:
            own = softmax(scores * temperature)[np.arange(len(some)), model.label[some]]
            loss[temperature] -= float(np.log(np.maximum(own, 1e-12)).sum())
    return min(TEMPERATURES, key=lambda temperature: (loss[temperature], temperature))


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities with a sum of 1 in each row."""
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)
