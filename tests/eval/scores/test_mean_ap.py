"""Average precision equals a ranking by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.eval.scores import mean_ap


def slow_average_precision(features, labels, groups, i):
    ranked = []
    for j in range(len(features)):
        if j == i or (labels[i] == labels[j] and groups[i] == groups[j]):
            continue
        similarity = features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j])
        ranked.append((-similarity, labels[i] == labels[j]))
    ranked.sort()
    hits = [hit for _, hit in ranked]
    if not any(hits) or all(hits):
        return np.nan
    return np.mean([sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit])


@pytest.mark.parametrize("seed", range(5))
def test_mean_average_precision_agrees_with_ranking_by_hand(seed):
    rng = np.random.default_rng(seed)
    n = 25
    groups = rng.integers(0, 8, n)  # compounds
    labels = np.array([f"m{g % 3}" for g in groups])  # each has one mechanism
    features = rng.normal(size=(n, 6))
    found = mean_ap.average_precision(features, labels, groups)["average_precision"]
    expected = [slow_average_precision(features, labels, groups, i) for i in range(n)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_mean_average_precision_without_pairs_is_nan():
    features = np.eye(3)
    for labels in ("abc", "aaa"):
        found = mean_ap.average_precision(features, np.array(list(labels)), np.array([1, 2, 3]))
        assert found["average_precision"].isna().all()


def test_mean_average_precision_against_random_rankings(rng, tmp_path, monkeypatch):
    """The null is that of shuffled lists, whatever an earlier run left behind; a signal is seen, noise is not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    n = 24
    groups = np.arange(n) // 2
    labels = np.array(list("abcd"))[groups % 4]
    features = rng.normal(size=(n, 8))
    features[labels == "a", 0] += 30
    scored = mean_ap.average_precision(features, labels, groups)
    p, by_label = mean_ap.against_chance(scored, draws=400)
    assert (p, by_label) == mean_ap.against_chance(scored, draws=400)
    assert by_label["a"]["p"] == pytest.approx(1 / 401) and p < 0.2
    noise = [by_label[label]["p"] for label in "bcd"]
    assert all(by_label[label]["q"] >= by_label[label]["p"] for label in "abcd")
    # a label's p by hand: 4 positives of 22 pairs in each row, one ranking for all rows
    observed = scored[scored["label"] == "b"]["average_precision"].mean()
    hits = rng.permuted(np.tile(np.arange(22) < 4, (4000, 1)), axis=1)
    precision = np.where(hits, hits.cumsum(1) / np.arange(1, 23), 0).sum(1) / 4
    assert noise[0] == pytest.approx(np.mean(precision > observed), abs=0.08)
    assert not list(tmp_path.rglob(".copairs"))
