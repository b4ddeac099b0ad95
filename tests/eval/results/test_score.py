"""A score is a number with its sample size, interval and settings."""

from __future__ import annotations

import hashlib
import pickle

import pytest
from cytoimagenet.eval.results.score import Result, Score, key_of, line, name_of, settings_in_words

ENTRY = {
    "key": "bbbc021-nsc-1",
    "task": "bbbc021",
    "split": "",
    "score": "nsc",
    "model": "imagenet",
    "preprocess": "concat-norm",
    "value": 0.835,
    "correct": 86,
    "n": 103,
    "interval": {"method": "Wilson", "level": 0.95, "low": 0.751, "high": 0.895},
    "bootstrap": None,
    "beside": False,
    "settings": {"standardise": "all", "taxol": "all", "seed": 0, "metric": "cosine", "k": 1, "features": 1280},
}
SHUFFLED = {**ENTRY, "score": "shuffled", "correct": None, "chance": 0.13, "at_chance": True, "p": 0.02}


def test_a_score_is_a_number():
    score = Score(ENTRY)
    assert isinstance(score, float) and score == 0.835 and score > 0.8 and f"{score:.1%}" == "83.5%"
    assert (score.key, score.n, score.correct, score.low, score.high) == ("bbbc021-nsc-1", 103, 86, 0.751, 0.895)
    assert score.settings["k"] == 1 and score.bootstrap is None and score.interval["method"] == "Wilson"
    again = pickle.loads(pickle.dumps(score))
    assert again == score and again.entry == ENTRY


def test_a_field_that_a_score_does_not_have_is_an_attribute_error():
    assert (Score(SHUFFLED).chance, Score(SHUFFLED).at_chance, Score(SHUFFLED).p) == (0.13, True, 0.02)
    assert not hasattr(Score(ENTRY), "chance")
    with pytest.raises(AttributeError, match="The score 'shuffled' has no 'confusion'"):
        _ = Score(SHUFFLED).confusion
    with pytest.raises(AttributeError):
        _ = Score(ENTRY).nonsense


def test_names_of_scores():
    assert name_of(ENTRY) == "nsc"
    assert name_of({"score": "knn", "split": "test1"}) == "test1"
    assert name_of({"score": "shuffled", "split": "test1"}) == "shuffled test1"


def test_a_line_contains_value_n_interval_and_settings():
    assert line(ENTRY) == (
        "  bbbc021 nsc of imagenet, concat-norm: 83.50 % (86 of 103), 95 % interval 75.1 to 89.5; "
        "z-score over all rows that are scored, cosine, k = 1, 1,280 features"
    )
    assert line({**ENTRY, "correct": None, "beside": True, "preprocess": ""}).startswith(
        "  (not chosen) bbbc021 nsc of imagenet, as given: 83.50 % (n 103), "
    )


def test_settings_in_words_contain_what_differs_from_the_default():
    more = {"taxol": "ljosa3", "ties": "published", "cyclops_labels": "published", "input_size": 64}
    more |= {"dropped": 1200, "constant_channels": 3, "metric": None, "k": None}
    assert settings_in_words({"settings": {**ENTRY["settings"], **more}}) == (
        "z-score over all rows that are scored, 1,280 features, 1,200 constant or not finite left out, taxol ljosa3, "
        "ties published, labels published, input 64, 3 constant channels"
    )


def test_the_key_depends_on_identity_and_choices_only():
    text = '[["bbbc021", "", "nsc", "imagenet", "concat-norm"], {"seed": 0, "standardise": "all", "taxol": "all"}]'
    assert key_of(ENTRY) == f"bbbc021-nsc-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    assert key_of({**ENTRY, "value": 0.1, "n": 5, "settings": {**ENTRY["settings"], "k": 2}}) == key_of(ENTRY)
    for name in ("split", "model", "preprocess"):
        assert key_of({**ENTRY, name: "other"}) != key_of(ENTRY)
    for name in ("standardise", "taxol", "ties", "cyclops_labels", "input_size", "seed"):
        assert key_of({**ENTRY, "settings": {**ENTRY["settings"], name: "other"}}) != key_of(ENTRY)


def test_scores_of_a_result_are_those_that_were_chosen():
    other = {**ENTRY, "beside": True, "value": 0.5, "settings": {**ENTRY["settings"], "standardise": "none"}}
    result = Result([ENTRY, other])
    assert result.scores == {"nsc": 0.835}
    frame = result.to_frame()
    assert frame["beside"].tolist() == [False, True] and frame["standardise"].tolist() == ["all", "none"]
    assert result.summary().splitlines() == [line(ENTRY), line(other)]
