"""Find wrong labels by comparing the given labels with labels that are wrong on purpose.

Every image is also given wrong labels: any other class, the class it is most often confused with, and the class whose
images look most like those of its own. How the models judge these labels shows what a wrong label looks like, class by
class. If a share of the given labels looks the same, that share is wrong: among the labels that the judge finds most
suspicious, the number of given ones is divided by the number expected if all were wrong. An image whose given label is
wrong shows something else than a wrong label of its class: so this is done twice, the second time without wrong labels
for the images that were the most suspicious ones of the first. Classes that the models can't distinguish do not count
as wrong labels, because labels that are wrong on purpose look right there as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .label_evidence import LABEL_ONLY, measurements, summarise
from .mixture import Estimate, Mixture, by_part, compare
from .probabilities import FOLDS, Model, folds_of

RANDOM, CONFUSED, NEAREST = "random", "confused", "nearest"
KINDS = (RANDOM, CONFUSED, NEAREST)
"""Kinds of wrong labels: any other class, the class most often confused with it, and the class most similar to it."""

GIVEN = "given"
LARGEST_SHARE = 0.5  # of the images that get no wrong label because their given one is probably wrong
SMALLEST_SHARE = 1e-6  # of the labels: where none seem to be wrong, the most suspicious ones still come first
JUDGE_IMAGES = 60_000  # on which the judge is trained
ROUNDS, LEAVES, LEAST_LEAF = 60, 8, 200  # of boosting; images in a leaf
FLAG_FROM = 0.35  # probability of a wrong label; see docs/benchmarks/audit.md for the precision and recall of the flags
FEWEST = 7  # labels that are flagged together at least; fewer may be there by chance


@dataclass(frozen=True)
class Judgement:
    """How each given label was judged.

    Attributes
    ----------
    probability : array, shape (images,), float32
        Of the given label.
    suggested : array, shape (images,), int64
        The most probable class.
    suggested_probability : array, shape (images,), float32
    wrong : array, shape (images,), float64
        Probability that the given label is wrong, from 0 to 1; 0 for images that are not judged.
    """

    probability: NDArray[np.float32]
    suggested: NDArray[np.int64]
    suggested_probability: NDArray[np.float32]
    wrong: NDArray[np.float64]


@dataclass(frozen=True)
class WrongLabels:
    """Result of the search for wrong labels.

    Attributes
    ----------
    judgement : Judgement
    flagged : array, shape (images,), bool
    total : Estimate
        Over all judged images: labels of any other class, and the larger one of the other two kinds, because a label
        of one of these mostly looks like one of the other as well.
    by_kind : dict of kind to Estimate
    by_class, by_source : list of Estimate
    """

    judgement: Judgement
    flagged: NDArray[np.bool_]
    total: Estimate
    by_kind: dict[str, Estimate]
    by_class: list[Estimate]
    by_source: list[Estimate]


@dataclass(frozen=True)
class _Judged:
    """One kind of wrong labels: how suspicious the given labels and those that are wrong on purpose are."""

    given: NDArray[np.float32]
    on_purpose: NDArray[np.float32]
    mixture: Mixture


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
    summary = summarise(model)
    rng = np.random.default_rng(seed)
    wrong = {
        RANDOM: (model.label + rng.integers(1, max(classes, 2), images)) % classes,
        CONFUSED: summary.confused_with[model.label],
        NEAREST: (model.rank == 0).argmax(axis=2)[model.fold, model.label],
    }
    measured = measurements(model, summary, {GIVEN: model.label, **wrong})
    right = model.judged  # the images whose given labels are right, as far as is known
    for step in range(2):
        kinds = {kind: _judge(measured, kind, model.judged, right, group, seed) for kind in KINDS}
        probability = np.where(model.judged, _probability(kinds), 0.0)
        if step == 0:
            right = _probably_right(model.judged, probability, _total(kinds).share)
    total = _total(kinds)
    sources = int(source.max(initial=0)) + 1
    return WrongLabels(
        Judgement(summary.own, summary.best, summary.best_probability, probability),
        _flagged(probability, summary.best != model.label, round(total.share * int(model.judged.sum()))),
        total,
        {kind: one.mixture.estimate for kind, one in kinds.items()},
        _by_part(kinds, model.label, wrong, classes, model.judged, right),
        _by_part(kinds, source, dict.fromkeys(KINDS, source), sources, model.judged, right),
    )


def _judge(
    measured: dict[str, NDArray[np.float32]],
    kind: str,
    judged: NDArray[np.bool_],
    right: NDArray[np.bool_],
    group: NDArray[np.int64],
    seed: int,
) -> _Judged:
    """Return how suspicious the given labels are, and those that are wrong on purpose; judged out of fold.

    The suspicion is the logarithm of how much more frequent wrong labels of this kind are than given ones among labels
    with the same measurements. The judge learns from the given labels of the images that are `judged`, and from wrong
    labels of those that are `right`.
    """
    fold = folds_of(group, seed + 1)
    # the estimates for the other two kinds were checked without measurements of how similar classes are
    used = slice(None) if kind == NEAREST else slice(LABEL_ONLY)
    given, on_purpose = measured[GIVEN][:, used], measured[kind][:, used]
    result = np.zeros((2, len(given)), np.float32)
    rng = np.random.default_rng(seed)
    for left_out in range(FOLDS):
        train = np.flatnonzero(judged & (fold != left_out))
        test = fold == left_out
        train = np.sort(rng.permutation(train)[:JUDGE_IMAGES])
        made = train[right[train]]
        if not test.any() or not len(made):
            continue
        judge = _classifier(kind)
        judge.fit(np.concatenate([given[train], on_purpose[made]]), np.repeat([0, 1], [len(train), len(made)]))
        for row, values in enumerate((given, on_purpose)):
            result[row, test] = judge.decision_function(values[test]) - np.log(len(made) / len(train))
    return _Judged(result[0], result[1], compare(result[0][judged], result[1][right], group[judged]))


def _classifier(kind: str) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if kind == NEAREST:
        return HistGradientBoostingClassifier(
            max_iter=ROUNDS, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST_LEAF, l2_regularization=5.0,
            early_stopping=False, random_state=0,
        )  # fmt: skip
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def _similar(kinds: dict[str, _Judged]) -> str:
    """Return which of the two similar kinds of wrong labels has the larger estimate."""
    return max((CONFUSED, NEAREST), key=lambda kind: kinds[kind].mixture.estimate.share)


def _total(kinds: dict[str, _Judged]) -> Estimate:
    """Return the estimate over all kinds."""
    random, similar = (kinds[kind].mixture.estimate for kind in (RANDOM, _similar(kinds)))
    return Estimate(*(min(1.0, getattr(random, name) + getattr(similar, name)) for name in ("share", "low", "high")))


def _probability(kinds: dict[str, _Judged]) -> NDArray[np.float64]:
    """Return the probability that each given label is wrong.

    Labels that the nearest class explains are not counted again as confused ones.
    """
    shares = {kind: one.mixture.estimate.share for kind, one in kinds.items()}
    shares[CONFUSED] -= shares[NEAREST]
    odds = sum(max(shares[kind], SMALLEST_SHARE) * np.exp(one.given.astype(np.float64)) for kind, one in kinds.items())
    return np.minimum(odds, 1.0)


def _probably_right(judged: NDArray[np.bool_], probability: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Return the judged images without the most suspicious ones, as many as are estimated to be wrong."""
    images = np.flatnonzero(judged)
    worst = np.argsort(-probability[images], kind="stable")
    right = judged.copy()
    right[images[worst[: round(min(share, LARGEST_SHARE) * len(images))]]] = False
    return right


def _flagged(probability: NDArray[np.float64], doubted: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Return which labels are flagged: no more than are estimated to be wrong, and none if there are very few."""
    result = np.zeros(len(probability), bool)
    images = np.flatnonzero(doubted & (probability >= FLAG_FROM))
    images = images[np.argsort(-probability[images], kind="stable")][:most]
    if len(images) >= FEWEST:
        result[images] = True
    return result


def _by_part(
    kinds: dict[str, _Judged],
    part: NDArray[np.int64],
    part_of_wrong: dict[str, NDArray[np.int64]],
    count: int,
    judged: NDArray[np.bool_],
    right: NDArray[np.bool_],
) -> list[Estimate]:
    """Return the estimates by class or by source, given the parts of the given labels and of those wrong on purpose."""
    result = np.zeros((3, count))  # estimate, low, high
    for kind in (RANDOM, _similar(kinds)):
        one = kinds[kind]
        region = one.given[judged] >= one.mixture.threshold
        caught = one.on_purpose[right] >= one.mixture.threshold
        # a wrong label of one kind mostly looks like one of the other kind, too: the shares are not added up
        shares = by_part(part[judged], region, part_of_wrong[kind][right], caught, one.mixture.detected, count)
        np.maximum(result, shares, out=result)
    return [Estimate(*map(float, np.clip(column, 0, 1))) for column in result.T]
