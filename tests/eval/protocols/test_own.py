"""A user's own samples: against loops anyone can read, plain scikit-learn, and numbers made by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.eval.protocols import own
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.scores.folds import LEAK
from cytoimagenet.eval.scores.intervals import grouped_bootstrap, wilson
from cytoimagenet.eval.tables.feature_table import FeatureTable
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

AS_PUBLISHED = EvaluationSettings(standardise="train")


def table(values, label, group="", split=""):
    keys = pd.DataFrame({"label": list(label)}).assign(group=group, split=split)
    keys.insert(0, "id", [f"cell {i}" for i in range(len(keys))])
    return FeatureTable(keys.astype("str"), np.asarray(values, float), [], "here")


def random_table(seed, mode):
    """Return samples whose label and group both move them, with features of very different scale."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(40, 90))
    label = rng.choice(["ER", "Golgi", "vacuole"], n, p=[0.5, 0.3, 0.2])
    groups = {"few": 4, "many": 13}.get(mode, 0)
    group = np.array([f"donor {g}" for g in rng.integers(0, groups, n)]) if groups else np.full(n, "")
    split = rng.choice(["train", "train", "day 2", "day 3"], n) if mode == "split" else np.full(n, "")
    shift = {name: rng.normal(size=5) for name in [*np.unique(label), *np.unique(group)]}
    values = rng.normal(size=(n, 5)) + [shift[one] + shift[other] for one, other in zip(label, group, strict=True)]
    return table(values * [1, 100, 0.01, 1, 1e4], label, group, split), values * [1, 100, 0.01, 1, 1e4]


def slow_fits(keys, mode, seed):
    """Return (training rows, test rows, name of the test set) of every fit."""
    n = len(keys)
    if mode == "split":
        train = [i for i in range(n) if keys["split"][i] == "train"]
        return [(train, [i for i in range(n) if keys["split"][i] == name], name) for name in ("day 2", "day 3")]
    if mode == "none":
        folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(keys, keys["label"])
        return [(train.tolist(), test.tolist(), "") for train, test in folds]
    names = sorted(set(keys["group"]))
    parts = [[name] for name in names]
    if mode == "many":
        parts = np.array_split(np.random.RandomState(seed).permutation(names), 5)
    return [
        (
            [i for i in range(n) if keys["group"][i] not in part],
            [i for i in range(n) if keys["group"][i] in part],
            "",
        )
        for part in parts
    ]


def slow_neighbours(values, train, i):
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    distance = {j: sum(((values[i] - mean) / deviation - (values[j] - mean) / deviation) ** 2) for j in train}
    return sorted(train, key=lambda j: (distance[j], j))[:11]


def slow_vote(neighbours, label):
    votes = Counter(label[j] for j in neighbours)
    most = max(votes.values())
    return next(label[j] for j in neighbours if votes[label[j]] == most)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", ["few", "many", "none", "split"])
def test_predictions_are_those_of_plain_loops_and_plain_scikit_learn(mode, seed):
    features, values = random_table(seed, mode)
    keys, label = features.keys, features.keys["label"].to_numpy()
    found = {(e["score"], e["split"]): (e, p) for e, p in own.score(features, EvaluationSettings("train", seed=seed))}
    knn, probe, neighbours, fold = {}, {}, {}, {}
    for number, (train, test, _) in enumerate(slow_fits(keys, mode, seed)):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(values[train], label[train])
        for i, predicted in zip(test, model.predict(values[test]), strict=True):
            neighbours[i] = slow_neighbours(values, train, i)
            knn[i], probe[i] = slow_vote(neighbours[i], label), predicted
            fold[i] = 0 if mode == "split" else number
    for name in ("day 2", "day 3") if mode == "split" else ("",):
        rows = [i for i in range(len(keys)) if keys["split"][i] == name]
        for score, expected in (("knn", knn), ("probe", probe)):
            entry, predictions = found[score, name]
            assert predictions["id"].tolist() == [f"cell {i}" for i in rows]
            assert predictions["label"].tolist() == label[rows].tolist()
            assert predictions["predicted"].tolist() == [expected[i] for i in rows]
            assert predictions["fold"].tolist() == [fold[i] for i in rows]
            right = np.array([expected[i] == label[i] for i in rows])
            assert (entry["correct"], entry["n"]) == (right.sum(), len(rows))
            assert (entry["interval"]["low"], entry["interval"]["high"]) == wilson(int(right.sum()), len(rows))
            answers = [expected[i] for i in rows]
            assert entry["macro"] == pytest.approx(balanced_accuracy_score(label[rows], answers))
            assert entry["f1"] == pytest.approx(f1_score(label[rows], answers, average="macro"))
            if mode in ("few", "many"):
                low, high, count = grouped_bootstrap(right, keys["group"].to_numpy()[rows], seed=seed)
                assert entry["bootstrap"]["n_groups"] == count
                ends = (low, high) if count >= 5 else (None, None)
                assert (entry["bootstrap"]["low"], entry["bootstrap"]["high"]) == ends
            else:
                assert entry["bootstrap"] is None
        # the control: all labels are shuffled, of a split only those of the training samples
        rng = np.random.default_rng(seed)
        train = np.flatnonzero(keys["split"] == "train")
        shares = []
        for _ in range(50):
            every = label.copy()
            if mode == "split":
                every[train] = rng.permutation(np.unique(label, return_inverse=True)[1][train])
                every[train] = np.unique(label)[every[train].astype(int)]
                truth = label
            else:
                every = truth = np.unique(label)[rng.permutation(np.unique(label, return_inverse=True)[1])]
            shares.append(np.mean([slow_vote(neighbours[i], every) == truth[i] for i in rows]))
        control, nothing = found["shuffled", name]
        assert nothing is None and control["of"] == "knn"
        assert control["value"] == pytest.approx(np.mean(shares))
        assert control["chance"] == Counter(label[rows]).most_common(1)[0][1] / len(rows)
    assert len(found) == (6 if mode == "split" else 3)


def test_donors_on_a_line_by_hand():
    # 20 cells of each class and donor: x at 0, 100, 200 and y at 10, 110, 210
    values = [[d * 100.0 + c * 10 + i / 10] for d in range(3) for c in range(2) for i in range(20)]
    label = [name for _ in range(3) for name in ["x"] * 20 + ["y"] * 20]
    group = [f"d{d}" for d in range(3) for _ in range(40)]
    grouped = own.score(table(values, label, group), AS_PUBLISHED)[0][0]
    # all of donor 0 is nearest to x at 100, all of donor 2 to y at 110; of donor 1, x to y at 10 and y to x at 200
    assert [(c["label"], c["correct"], c["n"]) for c in grouped["by_class"]] == [("x", 20, 60), ("y", 20, 60)]
    assert grouped["confusion"]["counts"] == [[20, 40, 0], [40, 20, 0]]
    assert (grouped["macro"], grouped["settings"]["folds"]) == (pytest.approx(1 / 3), "leave one of 3 groups out")
    assert grouped["remarks"] == []
    # if the donors are not known, every neighbour is of the same donor
    leaking = own.score(table(values, label), AS_PUBLISHED)[0][0]
    assert (leaking["correct"], leaking["settings"]["folds"]) == (120, "5 stratified folds")
    assert leaking["remarks"] == [f"No groups are known. {LEAK}"]


def test_each_fold_is_standardised_by_its_training_part():
    # the second feature is constant in every training part but that of the only fold in which it separates nothing
    label = ["x", "y"] * 12
    group = np.repeat(["a", "b", "c"], 8)
    values = np.column_stack([np.tile([0.0, 1.0], 12), np.zeros(24)])
    values[:8, 1] = 1e6 * np.arange(8)
    entry = own.score(table(values, label, group), EvaluationSettings("train", probe=False))[0][0]
    assert (entry["settings"]["features"], entry["settings"]["dropped"]) == (1, 1)
    # donor a: the second feature is dropped, because it is constant in b and c
    assert [c["correct"] for c in entry["by_class"]] == [12, 12]
    as_is = own.score(table(values, label, group), EvaluationSettings("none", probe=False))[0][0]
    assert as_is["settings"]["dropped"] == 0 and as_is["value"] < 1


def test_the_seed_changes_folds_and_bootstrap_only_where_there_is_chance():
    features, _ = random_table(1, "many")
    same = [own.score(features, EvaluationSettings("train", seed=5, probe=False)) for _ in range(2)]
    assert same[0][0][0] == same[1][0][0]
    other = own.score(features, EvaluationSettings("train", seed=6, probe=False))
    assert other[0][1]["fold"].tolist() != same[0][0][1]["fold"].tolist()
    few, _ = random_table(1, "few")
    one, two = (own.score(few, EvaluationSettings("train", seed=s, probe=False))[0][1] for s in (5, 6))
    assert one.equals(two)


def test_the_order_of_the_rows_does_not_change_a_prediction():
    features, values = random_table(2, "few")
    order = np.random.default_rng(0).permutation(len(values))
    turned = FeatureTable(features.keys.iloc[order].reset_index(drop=True), values[order], [], "here")
    first, second = (own.score(one, AS_PUBLISHED)[0][1].set_index("id")["predicted"] for one in (features, turned))
    assert first.equals(second.loc[first.index])


def test_votes_in_parts_are_those_of_all_rows(monkeypatch):
    features, _ = random_table(3, "few")
    expected = own.score(features, AS_PUBLISHED)
    monkeypatch.setattr(own, "BLOCK_BYTES", 8 * 4 * 3)  # three rows at a time
    found = own.score(features, AS_PUBLISHED)
    assert [e for e, _ in found] == [e for e, _ in expected]


def test_fewer_training_samples_than_neighbours():
    entry = own.score(table([[0.0], [9], [1], [8]], "xyxy", list("aabb")), AS_PUBLISHED)[0][0]
    assert (entry["correct"], entry["unclassified"]) == (4, 0)


def test_groups_of_a_test_set_are_used_if_all_are_known():
    values, label = [[0.0], [1], [0], [1], [0], [1]], "xyxyxy"
    split = ["train", "train", "test", "test", "test", "test"]
    entry = own.score(table(values, label, list("aabbcc"), split), AS_PUBLISHED, grouped_by="donors")[0][0]
    assert (entry["bootstrap"]["groups"], entry["bootstrap"]["n_groups"]) == ("donors", 2)
    for group in (["a", "a", "b", "b", "c", ""], list("aabbbb")):
        assert own.score(table(values, label, group, split), AS_PUBLISHED)[0][0]["bootstrap"] is None


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(UsageError, match="All 2 samples have the label x: there is nothing to tell apart"):
        own.score(table([[0.0], [1]], "xx"), AS_PUBLISHED)
    with pytest.raises(UsageError, match="2 of 3 samples have no group") as caught:
        own.score(table([[0.0], [1], [2]], "xyx", ["", "", "a"]), AS_PUBLISHED)
    assert caught.value.where == "here, group"
    with pytest.raises(CheckFailedError, match="All 1 features are constant"):
        own.score(table([[1.0]] * 4, "xyxy"), AS_PUBLISHED)
