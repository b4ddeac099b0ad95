"""Find wrong labels by comparing the given labels with labels that are wrong on purpose.

Every image is also given a wrong label: once any other class, once the class it is most often confused with. How the
models judge these labels shows what a wrong label looks like, class by class. If a share of the given labels looks the
same, that share is wrong: among the labels that the judge finds most suspicious, the number of given ones is divided by
the number expected if all were wrong. An image whose given label is wrong shows something else than a wrong label of
its class: so this is done twice, the second time without wrong labels for the images that were the most suspicious
ones of the first. Classes that the models can't tell apart do not count as wrong labels, because
labels that are wrong on purpose look right there as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from .mixture import Estimate, by_part, compare
from .probabilities import FOLDS, Model, folds_of

RANDOM, CONFUSED = "random", "confused"
KINDS = (RANDOM, CONFUSED)
"""Two kinds of wrong labels: any other class, and the class that an image is most often confused with."""

TINY = 1e-6
LARGEST_SHARE = 0.5  # of the images that get no wrong label because their given one is probably wrong
JUDGE_IMAGES = 60_000  # on which the judge is trained


@dataclass(frozen=True)
class Judgement:
    """What the models say about each given label.

    Attributes
    ----------
    probability : array, shape (images,), float32
        Of the given label.
    suggested : array, shape (images,), int64
        The most probable class.
    suggested_probability : array, shape (images,), float32
    suspicion : dict of kind to array, shape (images,), float32
        Logarithm of the odds that the label is one of those that are wrong on purpose.
    """

    probability: NDArray[np.float32]
    suggested: NDArray[np.int64]
    suggested_probability: NDArray[np.float32]
    suspicion: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class WrongLabels:
    """Result of the search for wrong labels.

    Attributes
    ----------
    judgement : Judgement
    flagged : array, shape (images,), bool
    total : Estimate
        Over all judged images.
    by_kind : dict of kind to Estimate
    by_class, by_source : list of Estimate
    """

    judgement: Judgement
    flagged: NDArray[np.bool_]
    total: Estimate
    by_kind: dict[str, Estimate]
    by_class: list[Estimate]
    by_source: list[Estimate]


def find_wrong_labels(model: Model, source: NDArray[np.int64], group: NDArray[np.int64], *, seed: int) -> WrongLabels:
    """Judge the given labels of all images.

    Parameters
    ----------
    model : Model
        Trained on the given labels.
    source : array, shape (images,), int64
        Source of each image: 0, 1, ...
    group : array, shape (images,), int64
        Images of one source image or near duplicates; they do not count as independent.
    seed : int
        Random seed of the labels that are wrong on purpose.
    """
    classes, images = model.classes, len(model.label)
    summary = _summarise(model)
    rng = np.random.default_rng(seed)
    wrong = {
        RANDOM: (model.label + rng.integers(1, max(classes, 2), images)) % classes,
        CONFUSED: summary.confused_with[model.label],
    }
    given, on_purpose = _measurements(model, summary, wrong)
    right = model.judged  # the images whose given labels are right, as far as is known
    suspicion, expected = {}, {}
    for step in range(2):
        for kind in KINDS:
            suspicion[kind], expected[kind] = _suspicion(given, on_purpose[kind], model.judged, right, group, seed)
        if step == 0:
            right = _probably_right(model.judged, suspicion, expected, group)
    judgement = Judgement(summary.own, summary.best, summary.best_probability, suspicion)
    return _estimate(model, judgement, wrong, expected, right, source, group)


def _probably_right(
    judged: NDArray[np.bool_],
    suspicion: dict[str, NDArray[np.float32]],
    expected: dict[str, NDArray[np.float32]],
    group: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return the judged images without the most suspicious ones, as many as are estimated to be wrong."""
    share = sum(
        compare(suspicion[kind][judged], expected[kind][judged], group[judged]).estimate.share for kind in KINDS
    )
    images = np.flatnonzero(judged)
    worst = np.argsort(-np.maximum.reduce([suspicion[kind][images] for kind in KINDS]), kind="stable")
    right = judged.copy()
    right[images[worst[: round(min(share, LARGEST_SHARE) * len(images))]]] = False
    return right


@dataclass(frozen=True)
class _Summary:
    own: NDArray[np.float32]
    best: NDArray[np.int64]
    best_probability: NDArray[np.float32]
    confusion: NDArray[np.int64]  # fold x given label x most probable class, counted in the other folds
    confused_with: NDArray[np.int64]  # per class: the label that its images most often carry instead


def _summarise(model: Model) -> _Summary:
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
    within = np.zeros((int(model.fold.max(initial=0)) + 1, classes, classes), np.int64)
    np.add.at(within, (model.fold, model.label, best), 1)
    confusion = within.sum(axis=0) - within
    instead = mass / np.maximum(mass.sum(axis=0), 1e-9)
    np.fill_diagonal(instead, -1)
    return _Summary(own, best, best_probability, confusion, instead.argmax(axis=0))


def _measurements(
    model: Model, summary: _Summary, wrong: dict[str, NDArray[np.int64]]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Return what the judge sees of the given labels and of the wrong ones, shape (images, measurements)."""
    labels = {"given": model.label, **wrong}
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in labels}
    for block, probability, votes in model.blocks():
        both = 0.5 * (np.log(probability + TINY) + np.log(votes + TINY))
        both -= np.log(np.exp(both).sum(axis=1, keepdims=True))
        for name, label in labels.items():
            parts[name].append(_measure(probability, votes, both, label[block], block, model, summary))
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    return joined["given"], {kind: joined[kind] for kind in wrong}


def _measure(
    probability: NDArray[np.float32],
    votes: NDArray[np.float32],
    both: NDArray[np.float32],
    label: NDArray[np.int64],
    block: slice,
    model: Model,
    summary: _Summary,
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

        An image must not be counted for its given label alone: the judge would tell given labels by this.
        """
        return (summary.confusion[fold, first, second] + prior) / (size[fold, first] + 1)

    own_confirmed, rival_confirmed = rate(label, label, 0.5), rate(rival, rival, 0.5)
    margin = other[row, rival] - own
    columns = [
        margin,
        np.log(own + 1e-4),
        own_both,
        other_both.max(axis=1) - own_both,
        own_confirmed,
        rival_confirmed,
        np.log(rate(rival, label, 0.02)),
        np.log(rate(label, rival, 0.02)),
        margin * own_confirmed * rival_confirmed,
        np.log(votes[row, label] + 1e-3),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _suspicion(
    given: NDArray[np.float32],
    on_purpose: NDArray[np.float32],
    judged: NDArray[np.bool_],
    right: NDArray[np.bool_],
    group: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how suspicious the given labels are, and those that are wrong on purpose; judged out of fold.

    The judge learns from the given labels of the images that are `judged`, and from wrong labels of those that are
    `right`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold = folds_of(group, seed + 1)
    result = np.zeros((2, len(given)), np.float32)
    rng = np.random.default_rng(seed)
    for left_out in range(FOLDS):
        train = np.flatnonzero(judged & (fold != left_out))
        test = fold == left_out
        if not test.any() or not len(train):
            continue
        train = np.sort(rng.permutation(train)[:JUDGE_IMAGES])
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        made = train[right[train]]
        judge.fit(np.concatenate([given[train], on_purpose[made]]), np.repeat([0, 1], [len(train), len(made)]))
        for row, values in enumerate((given, on_purpose)):
            result[row, test] = judge.decision_function(values[test])
    return result[0], result[1]


def _estimate(
    model: Model,
    judgement: Judgement,
    wrong: dict[str, NDArray[np.int64]],
    expected: dict[str, NDArray[np.float32]],
    right: NDArray[np.bool_],
    source: NDArray[np.int64],
    group: NDArray[np.int64],
) -> WrongLabels:
    """Compare the given labels with those that are wrong on purpose, kind by kind."""
    judged = model.judged
    flagged = np.zeros(len(judged), bool)
    by_kind: dict[str, Estimate] = {}
    # per class and per source: estimate, low, high
    by_class, by_source = np.zeros((3, model.classes)), np.zeros((3, int(source.max(initial=0)) + 1))
    for kind in KINDS:
        suspicion = np.where(judged, judgement.suspicion[kind], -np.inf)
        made = expected[kind][right]
        mixture = compare(suspicion[judged], made, group[judged])
        by_kind[kind] = mixture.estimate
        region = suspicion >= mixture.threshold
        # a wrong label of one kind mostly looks like one of the other kind, too: the shares are not added up
        caught = (expected[kind] >= mixture.threshold)[right]
        for result, of, of_wrong in ((by_class, model.label, wrong[kind]), (by_source, source, source)):
            part = by_part(of[judged], region[judged], of_wrong[right], caught, mixture.detected, result.shape[1])
            np.maximum(result, part, out=result)
        # those that an earlier kind explains are not counted again
        rest = np.where(flagged, -np.inf, suspicion)
        flagged |= rest >= compare(rest[judged], made, group[judged]).flag_from
    flagged &= judgement.suggested != model.label
    total = Estimate(*(min(1.0, sum(getattr(e, name) for e in by_kind.values())) for name in ("share", "low", "high")))
    # no more than are estimated to be wrong
    worst = np.flatnonzero(flagged)
    worst = worst[np.argsort(-np.maximum.reduce([judgement.suspicion[kind][worst] for kind in KINDS]), kind="stable")]
    flagged[worst[round(total.share * int(judged.sum())) :]] = False
    parts = [[Estimate(*map(float, np.clip(column, 0, 1))) for column in share.T] for share in (by_class, by_source)]
    return WrongLabels(judgement, flagged, total, by_kind, *parts)
