"""The verdict: which model is the baseline, what is better, and how it is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cytoimagenet.eval.report import page, verdict
from cytoimagenet.eval.report.published import presentations

TESTS = [("bbbc021", "", "nsc"), *(("coos7", f"test{i}", "knn") for i in range(1, 5)), ("cyclops", "", "knn")]


def entry(model, test=TESTS[0], value=0.5, preprocess="concat-norm"):
    task, split, score = test
    return {
        **{"task": task, "split": split, "score": score, "model": model, "preprocess": preprocess, "beside": False},
        **{"key": f"{task} {split} {model}", "value": value, "n": 10, "bootstrap": {"groups": "wells", "n_groups": 8}},
    }


def pair(first, second, difference, p, **changes):
    return {
        **{name: first[name] for name in ("task", "split", "score", "preprocess")},
        **{"models": [first["model"], second["model"]], "keys": [first["key"], second["key"]], "n": 10},
        **{"difference": difference, "mcnemar": {"p": 0.9}, "grouped_p": p, "n_groups": 8},
        **{"interval": {"low": difference - 0.1, "high": difference + 0.2}, **changes},
    }


def found(entries, pairs):
    return verdict.differences({"results": entries, "paired": pairs}, presentations(entries).values())


def document(outcomes, model="first"):
    """Return entries and comparisons of a model with ImageNet, one per test."""
    entries, pairs = [], []
    for test, (difference, p) in zip(TESTS, outcomes, strict=False):
        mine, baseline = entry(model, test), entry("imagenet", test)
        entries += [mine, baseline]
        pairs.append(pair(mine, baseline, difference, p))
    return entries, pairs


def test_six_tests_become_one_sentence():
    better, worse, open_ = (0.1, 0.001), (-0.1, 0.001), (0.2, 0.4)
    some = found(*document([better, open_, worse, better, open_, open_]))
    (one,) = verdict.verdicts(some)
    words = "Your model first is better than ImageNet on 2 of 6 tests, worse on 1, not distinguishable on 3."
    assert one.sentence == words
    assert [row.tone for row in one.rows] == ["good", "quiet", "bad", "good", "quiet", "quiet"]
    assert (one.left, one.right) == ("ImageNet better", "first better")
    assert [some[0].test, some[1].test] == ["BBBC021", "COOS-7, test1"]


def test_p_values_are_corrected_over_all_comparisons_with_a_baseline():
    some = found(*document([(0.1, 0.02), (0.1, 0.001), (0.1, 0.5)]))
    assert [one.p for one in some] == pytest.approx([0.04, 0.003, 0.5])
    # the same p-value says less among more comparisons
    assert [one.outcome for one in found(*document([(0.1, 0.02)] * 2))] == ["better"] * 2
    assert [one.outcome for one in found(*document([(0.1, 0.02)] * 3))] == ["not distinguishable"] * 3


def test_a_pair_in_the_other_order_is_turned():
    mine, baseline = entry("zebra"), entry("imagenet")
    (one,) = found([mine, baseline], [pair(baseline, mine, -0.3, 0.01)])
    assert (one.model, one.value, one.outcome) == ("zebra", 0.3, "better")
    assert (one.low, one.high) == pytest.approx((0.1, 0.4))


@pytest.mark.parametrize(
    ("models", "baseline", "compared"),
    [
        (["imagenet", "random:0", "random:1", "first", "mean-intensity"], "imagenet", ["first"]),
        (["imagenet", "random:0", "random:1", "mean-intensity"], "random:0", ["imagenet"]),
        (["random:0", "first"], "random:0", ["first"]),
        (["mine", "theirs", "mean-intensity"], "mine", ["theirs"]),
        (["imagenet", "mean-intensity"], None, []),
    ],
)
def test_the_baseline_is_imagenet_else_random_weights_else_the_first_model(models, baseline, compared):
    entries = [entry(model) for model in models]
    pairs = [pair(a, b, 0.1, 0.01) for i, a in enumerate(entries) for b in entries[i + 1 :]]
    some = found(entries, pairs)
    assert [one.model for one in some] == compared
    assert {one.baseline for one in some} == ({baseline} if compared else set())


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([(0.1, 0.4)], "Your model first is not distinguishable from ImageNet on BBBC021."),
        ([(-0.1, 0.01)], "Your model first is worse than ImageNet on BBBC021."),
        ([(0.1, 0.4)] * 2, "Your model first is not distinguishable from ImageNet on any of 2 tests."),
        (
            [(-0.1, 0.001), (0.1, 0.4)],
            "Your model first is worse than ImageNet on 1 of 2 tests, better on none, not distinguishable on 1.",
        ),
    ],
)
def test_the_sentence_is_as_short_as_it_can_be(outcomes, words):
    assert [one.sentence for one in verdict.verdicts(found(*document(outcomes)))] == [words]


def test_a_fusion_is_not_called_your_model():
    (one,) = verdict.verdicts(found(*document([(0.1, 0.01)], model="fusion of imagenet and first")))
    assert one.sentence == "Fusion of ImageNet and first is better than ImageNet on BBBC021."


def test_how_it_was_tested_names_groups_few_groups_and_independence():
    (one,) = found(*document([(0.1, 0.01)]))
    assert "resample complete groups. Better" in verdict.how_it_was_tested([one])
    alone = replace(one, n_groups=0)
    assert "No groups are known" in verdict.how_it_was_tested([alone])
    few = replace(one, low=None, high=None, n_groups=4)
    words = verdict.how_it_was_tested([few, one])
    assert "corrected for 2 comparisons" in words and "No interval is shown for fewer than 5 groups" in words
    assert "With 4 wells (BBBC021), p can't be below 0.12 whatever the difference." in words


def test_without_groups_mcnemars_test_decides():
    mine, baseline = entry("first"), entry("imagenet")
    comparison = pair(mine, baseline, 0.1, None, mcnemar={"p": 0.001}, n_groups=None)
    (one,) = found([mine, baseline], [comparison])
    assert (one.p, one.groups, one.outcome) == (0.001, "", "better")


def test_the_plot_is_symmetric_and_wide_enough():
    rows = [page.Contrast("t", "", 4.0, -1.0, 12.0, "better")]
    one = page.Verdict("s", "l", "r", rows)
    assert one.reach == 20
    assert [float(one.across(points)) for points in (-20, -1, 0, 12, 20)] == [0, 47.5, 50, 80, 100]
    assert rows[0].words == "+4.0 [−1.0, +12.0]"
    assert page.Verdict("s", "l", "r", [page.Contrast("t", "", -100.0, None, None, "worse")]).across(-100) == "0.00"
