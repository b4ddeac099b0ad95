"""Evidence for or against a label: the probabilities of the label, its rivals, and the classes that look like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from .probabilities import Model

TINY = 1e-6  # smallest probability
LABEL_ONLY = 10  # the first measurements, which do not depend on which classes look like each other


@dataclass(frozen=True)
class Summary:
    """What the models predict, compared with the given labels.

    Attributes
    ----------
    own : array, shape (images,), float32
        Probability of the given label.
    best : array, shape (images,), int64
        The most probable class.
    best_probability : array, shape (images,), float32
    confusion : array, shape (folds, classes, classes), int64
        Number of images by given label and by most probable class, counted in the other folds.
    confused_with : array, shape (classes,), int64
        The label that images of a class most often carry instead.
    """

    own: NDArray[np.float32]
    best: NDArray[np.int64]
    best_probability: NDArray[np.float32]
    confusion: NDArray[np.int64]
    confused_with: NDArray[np.int64]


def summarise(model: Model) -> Summary:
    """Compute the probabilities once, for the given labels and for how the classes are confused."""
    images, classes = len(model.label), model.classes
    own, best_probability = np.empty(images, np.float32), np.empty(images, np.float32)
    best = np.empty(images, np.int64)
    mass = np.zeros((classes, classes))  # given label x class: sum of the probabilities
    for block, probability, _ in model.blocks():
        row = np.arange(len(probability))
        label = model.label[block]
        own[block] = probability[row, label]
        best[block] = probability.argmax(axis=1)
        best_probability[block] = probability[row, best[block]]
        one_hot = scipy.sparse.csr_array((np.ones(len(row)), (label, row)), shape=(classes, len(row)))
        mass += one_hot @ probability
    within = np.zeros((len(model.weights), classes, classes), np.int64)
    np.add.at(within, (model.fold, model.label, best), 1)
    confusion = within.sum(axis=0) - within
    instead = mass / np.maximum(mass.sum(axis=0), 1e-9)
    np.fill_diagonal(instead, -1)
    return Summary(own, best, best_probability, confusion, instead.argmax(axis=0))


def measurements(
    model: Model, summary: Summary, labels: dict[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.float32]]:
    """Measure how well labels fit their images.

    Parameters
    ----------
    model : Model
    summary : Summary
    labels : dict of name to array, shape (images,), int64
        One label of each image: the given one, or one that is wrong on purpose.

    Returns
    -------
    dict of name to array, shape (images, measurements), float32
        The first `LABEL_ONLY` concern the label and its most probable rival; the others depend on which class is
        nearest to which.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in labels}
    for block, probability, votes in model.blocks():
        both = 0.5 * (np.log(probability + TINY) + np.log(votes + TINY))
        both -= np.log(np.exp(both).sum(axis=1, keepdims=True))
        for name, label in labels.items():
            parts[name].append(_measure(probability, votes, both, label[block], block, model, summary))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _measure(
    probability: NDArray[np.float32],
    votes: NDArray[np.float32],
    both: NDArray[np.float32],
    label: NDArray[np.int64],
    block: slice,
    model: Model,
    summary: Summary,
) -> NDArray[np.float32]:
    row = np.arange(len(label))
    own, own_both = probability[row, label], both[row, label]
    other = probability.copy()
    other[row, label] = -1
    rival = other.argmax(axis=1)
    other_both = both.copy()
    other_both[row, label] = -np.inf
    fold = model.fold[block]
    size = summary.confusion.sum(axis=2)

    def rate(first: NDArray[np.int64], second: NDArray[np.int64], prior: float) -> NDArray[np.float64]:
        """Share of the images labelled `first` that look most like `second`, in the other folds.

        An image must not be counted for its given label alone: the judge would recognise given labels by this.
        """
        return (summary.confusion[fold, first, second] + prior) / (size[fold, first] + 1)

    own_confirmed, rival_confirmed = rate(label, label, 0.5), rate(rival, rival, 0.5)
    margin = other[row, rival] - own
    margin_both = other_both.max(axis=1) - own_both
    columns = [
        margin,
        np.log(own + 1e-4),
        own_both,
        margin_both,
        own_confirmed,
        rival_confirmed,
        np.log(rate(rival, label, 0.02)),
        np.log(rate(label, rival, 0.02)),
        margin * own_confirmed * rival_confirmed,
        np.log(votes[row, label] + 1e-3),
    ]
    assert len(columns) == LABEL_ONLY
    # how probable is it that the image shows a class whose nearest class is the label?
    mistaken = (model.rank == 0)[fold, :, label]
    instead, voted, instead_both = ((of * mistaken).sum(axis=1) for of in (probability, votes, np.exp(both)))
    is_nearest = model.rank[fold, rival, label] == 0
    columns += [
        is_nearest,
        model.rank[fold, label, rival] == 0,
        np.log1p(model.rank[fold, rival, label]),
        np.log(instead_both + 1e-4),
        np.log(instead_both + 1e-4) - own_both,
        is_nearest * margin,
        is_nearest * margin_both,
        np.log(instead + 1e-4),
        np.log(voted + 1e-4),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
