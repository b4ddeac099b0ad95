"""results.json: merged by key, written atomically, checked when read; models are compared from their predictions."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder import storage
from cytoimagenet.builder.errors import SchemaError
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.results import document as results
from cytoimagenet.eval.results import paired
from cytoimagenet.eval.results.score import Result, key_of


@pytest.fixture
def table(rng):
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a0", "a1", "a2"])
    frame["label"] = [f"k{i % 3}" for i in range(60)]
    frame["id"] = [f"cell {i}" for i in range(60)]
    frame.loc[frame["label"] == "k1", "a0"] += 3
    return frame


def test_a_rerun_replaces_and_never_appends(table, tmp_path):
    result = evaluate("cyclops", table, probe=False)
    first = results.merge(tmp_path / "out", result)
    content = (tmp_path / "out" / "results.json").read_bytes()
    assert results.merge(tmp_path / "out", result) == first
    assert (tmp_path / "out" / "results.json").read_bytes() == content
    other = evaluate("cyclops", table, probe=False, model="other")
    both = results.merge(tmp_path / "out", other)
    assert len(both["results"]) == 2 * len(first["results"])


def test_a_kill_at_any_write_leaves_a_readable_folder(table, tmp_path, monkeypatch):
    result = evaluate("cyclops", table)
    results.merge(tmp_path / "whole", result)
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").rglob("*") if p.is_file()}
    replace, calls = os.replace, []

    def die_at(number):
        def dying(*paths):
            calls.append(paths)
            if len(calls) == number:
                raise KeyboardInterrupt
            replace(*paths)

        return dying

    for number in range(1, len(whole) + 1):
        out = tmp_path / f"killed {number}"
        calls.clear()
        monkeypatch.setattr(storage.os, "replace", die_at(number))
        with pytest.raises(KeyboardInterrupt):
            results.merge(out, result)
        monkeypatch.setattr(storage.os, "replace", replace)
        results.check(results.read(out))
        results.merge(out, result)
        assert {p.name: p.read_bytes() for p in out.rglob("*") if p.is_file()} == whole


def document_with(**changed):
    entry = dict.fromkeys(results.ENTRY, "")
    entry |= {"value": 0.5, "correct": 1, "n": 2, "interval": {}, "bootstrap": None, "settings": {}, "beside": False}
    entry |= {"rows": 2, "left_out": 0, **changed}
    return {"format": results.FORMAT, "schema_version": 1, "versions": {}, "results": [entry], "paired": []}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "Not a document"),
        ({"format": "other"}, "Not a document"),
        ({**document_with(), "schema_version": 2}, "Schema version 2"),
        ({**document_with(), "paired": None}, "must be lists"),
        (document_with(n="2"), "'n' is missing or has another type"),
        (document_with(value=1.5), "1.5 is not between 0 and 1"),
        ({**document_with(), "results": document_with()["results"] * 2}, "same key"),
    ],
)
def test_a_damaged_document_is_refused(document, message, tmp_path):
    results.check(document_with())
    with pytest.raises(SchemaError, match=message):
        results.check(document)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(SchemaError, match="Not JSON"):
        results.merge(tmp_path, Result([], {}))


def scored(model, predicted, label="aabb", groups="1122", **changes):
    """Return the result of a model on the samples 0 to 3."""
    right = [p == t for p, t in zip(predicted, label, strict=True)]
    entry = {
        **document_with()["results"][0],
        **{"task": "t", "score": "knn", "model": model, "value": float(np.mean(right)), "correct": sum(right), "n": 4},
        "settings": {"standardise": "all"},
        **changes,
    }
    entry["key"] = key_of(entry)
    table = {"id": list("0123"), "label": list(label), "predicted": list(predicted), "group": list(groups)}
    return Result([entry], {entry["key"]: pd.DataFrame(table)})


def test_two_models_are_compared_sample_by_sample(tmp_path):
    first, second = scored("a", "aaba"), scored("b", "abaa")  # right: 0, 1, 2 and 0
    for result in (second, first):
        results.merge(tmp_path, result)
    (pair,) = results.pair(tmp_path)["paired"]
    assert pair["models"] == ["a", "b"]
    assert pair["keys"] == [first.entries[0]["key"], second.entries[0]["key"]]
    assert (pair["n"], pair["difference"]) == (4, 0.5)
    # two samples differ, both in favour of the first: p = 2 / 2**2; each of two groups may be swapped: p = 2 / 2**2
    assert pair["mcnemar"] == {"only_first": 2, "only_second": 0, "both": 1, "neither": 1, "p": 0.5}
    assert pair["grouped_p"] == 0.5
    assert results.read(tmp_path)["paired"] == [pair]


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "test1"},
        {"preprocess": "merge-raw"},
        {"settings": {"standardise": "none"}},
        {"settings": {"standardise": "all", "seed": 1}},
        {"beside": True},
    ],
)
def test_scores_in_other_settings_are_not_compared(tmp_path, changes):
    results.merge(tmp_path, scored("a", "aaba"))
    results.merge(tmp_path, scored("b", "abaa", **changes))
    assert results.pair(tmp_path)["paired"] == []


def test_models_are_compared_on_the_samples_that_both_have_in_any_order(tmp_path):
    first, second = scored("a", "aaba"), scored("b", "abaa")
    (key,) = second.predictions
    table = second.predictions[key]
    table.loc[3, "id"] = "other"
    second.predictions[key] = table[::-1]
    for result in (first, second):
        results.merge(tmp_path, result)
    (pair,) = results.pair(tmp_path)["paired"]
    # of the samples 0, 1 and 2 the first model is right on all, the second on one
    assert (pair["n"], pair["left_out"], pair["difference"]) == (3, 2, pytest.approx(2 / 3))
    assert pair["mcnemar"] == {"only_first": 2, "only_second": 0, "both": 1, "neither": 0, "p": 0.5}


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("id", list("5678"), "no sample was scored by both"),
        ("id", list("0012"), "an id is repeated"),
        ("label", list("abbb"), "1 samples have different labels, such as '1': 'a' and 'b'"),
    ],
)
def test_models_that_can_not_be_compared_are_listed_with_the_reason(tmp_path, column, values, reason):
    other = scored("b", "abaa")
    (key,) = other.predictions
    other.predictions[key][column] = values
    results.merge(tmp_path, scored("a", "aaba"))
    results.merge(tmp_path, other)
    found = results.pair(tmp_path)
    assert found["paired"] == []
    (refused,) = found["not_compared"]
    assert (refused["models"], refused["reason"]) == (["a", "b"], reason)
    results.merge(tmp_path, scored("c", "aaba"))
    assert results.read(tmp_path)["not_compared"] == [refused]


def test_an_unclassified_sample_is_wrong_in_a_comparison(tmp_path):
    for model, predicted in (("a", ["a", "a", "b", ""]), ("b", ["a", "a", "b", "b"])):
        results.merge(tmp_path, scored(model, predicted))
    (pair,) = results.pair(tmp_path)["paired"]
    assert (pair["difference"], pair["mcnemar"]["only_second"]) == (-0.25, 1)


def test_the_interval_of_a_difference_is_over_groups_if_there_are_enough(tmp_path):
    for model, predicted in (("a", "aaba"), ("b", "abaa")):
        results.merge(tmp_path, scored(model, predicted))
    (pair,) = results.pair(tmp_path)["paired"]
    assert (pair["interval"], pair["n_groups"]) == (None, 2)
    for model, predicted in (("a", "aaba"), ("b", "abaa")):
        results.merge(tmp_path, scored(model, predicted, groups=["", "", "", ""]))
    (pair,) = results.pair(tmp_path)["paired"]
    # half of the four samples differ: a resample has 0 to 4 of them
    assert (pair["interval"]["low"], pair["interval"]["high"], pair["n_groups"]) == (0.0, 1.0, None)


def test_without_groups_there_is_no_grouped_test(tmp_path):
    for model, predicted in (("a", "aaba"), ("b", "abaa")):
        results.merge(tmp_path, scored(model, predicted, groups=["", "", "", ""]))
    assert results.pair(tmp_path)["paired"][0]["grouped_p"] is None


def test_the_number_of_compared_models_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(paired, "MAX_MODELS", 2)
    for model in "abc":
        results.merge(tmp_path, scored(model, "aaba"))
    found = results.pair(tmp_path)
    assert [pair["models"] for pair in found["paired"]] == [["a", "b"]]
    assert [refused["models"] for refused in found["not_compared"]] == [["c"]]


def test_p_values_are_corrected_over_the_comparisons_that_answer_a_question(tmp_path):
    right = {"imagenet": "aabb", "first": "aaba", "random:0": "bbaa", "random:1": "bbba", "mean-intensity": "bbaa"}
    for model, predicted in right.items():
        results.merge(tmp_path, scored(model, predicted, groups="1234"))
    results.merge(tmp_path, scored("other", "aaba", score="probe"))
    results.merge(tmp_path, scored("imagenet", "aabb", score="probe"))
    found = {(*pair["models"], pair["score"]): pair for pair in results.pair(tmp_path)["paired"]}
    family = {key: pair for key, pair in found.items() if pair["p_holm"] is not None and key[2] == "knn"}
    assert sorted(family) == [
        ("first", "imagenet", "knn"),
        ("first", "random:0", "knn"),
        ("first", "random:1", "knn"),
        ("imagenet", "random:0", "knn"),
        ("imagenet", "random:1", "knn"),
    ]
    # by groups: one of four cells differs (p = 1), three (2 / 2**3), two or four (2 / 2**4)
    assert family["imagenet", "random:0", "knn"]["grouped_p"] == 0.125
    assert family["imagenet", "random:0", "knn"]["p_holm"] == 5 * 0.125
    assert family["first", "imagenet", "knn"]["p_holm"] == 1.0
    probe = found["imagenet", "other", "probe"]
    assert probe["p_holm"] == probe["grouped_p"] == 1.0
    assert found["imagenet", "mean-intensity", "knn"]["p_holm"] is None
    assert found["random:0", "random:1", "knn"]["p_holm"] is None
