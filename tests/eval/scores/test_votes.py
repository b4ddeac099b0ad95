"""Votes equal a count by hand."""

from __future__ import annotations

import numpy as np
from cytoimagenet.eval.scores.accuracy import UNCLASSIFIED
from cytoimagenet.eval.scores.votes import vote
from hypothesis import given
from hypothesis import strategies as st


def slow_vote(neighbours, labels, ties):
    votes = [int(labels[j]) for j in neighbours if j >= 0]
    if not votes:
        return UNCLASSIFIED
    most = max(votes.count(label) for label in votes)
    tied = {label for label in votes if votes.count(label) == most}
    return min(tied) if ties == "published" else next(label for label in votes if label in tied)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 20),
    k=st.integers(1, 11),
    classes=st.integers(1, 5),
    ties=st.sampled_from(["nearest", "published"]),
)
def test_votes_agree_with_counting_by_hand(seed, n, k, classes, ties):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 15)
    index = rng.integers(0, 15, (n, k))
    for row in index:
        row[k - rng.integers(0, k + 1) :] = -1  # a pool smaller than k
    expected = [slow_vote(row, labels, ties) for row in index]
    assert vote(index, labels, classes, ties).tolist() == expected


def test_ties_are_common_at_eleven_neighbours():
    rng = np.random.default_rng(0)
    index, labels = rng.integers(0, 4000, (4000, 11)), rng.integers(0, 16, 4000)
    assert (vote(index, labels, 16) != vote(index, labels, 16, "published")).mean() > 0.2
