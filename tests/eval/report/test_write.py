"""The report shows what results.json contains, next to the published scores."""

from __future__ import annotations

import io
import re
from html import unescape

import numpy as np
import pytest
from cytoimagenet.eval.report import page
from cytoimagenet.eval.report import write as report
from cytoimagenet.eval.report.plots import score_plot
from cytoimagenet.eval.report.summary import comparison_lines
from cytoimagenet.eval.tasks.record import Presentation
from cytoimagenet.eval.tasks.registry import TASKS
from PIL import Image

HOSTILE = "<script>document.title='owned'</script>$x^2$"


def entry(task="bbbc021", model="imagenet", *, split="", score=None, preprocess="concat-norm", right=8, **changes):
    score = score or TASKS[task].headline
    classes = ["a", HOSTILE]
    n = {"a": 6, HOSTILE: 4}
    hits = {"a": min(right, 6), HOSTILE: max(0, right - 6)}
    counts = [[hits["a"], 6 - hits["a"], 0], [4 - hits[HOSTILE], hits[HOSTILE], 0]]
    return {
        "key": f"{task}-{split}-{score}-{model}-{preprocess}",
        **{"task": task, "split": split, "score": score, "model": model, "preprocess": preprocess, "beside": False},
        **{"value": right / 10, "correct": right, "n": 10, "macro": 0.7, "f1": 0.6, "unclassified": 0},
        "interval": {"method": "Wilson", "level": 0.95, "low": right / 20, "high": 0.95},
        "bootstrap": {"groups": "compounds", "n_groups": 5, "low": 0.11, "high": 0.99},
        "by_class": [
            {"label": c, "n": n[c], "correct": hits[c], "accuracy": hits[c] / n[c], "precision": 0.5, "f1": 0.5}
            for c in classes
        ],
        "confusion": {"labels": classes, "counts": counts},
        "settings": {
            "standardise": "all",
            "metric": "cosine",
            "k": 1,
            "features": 1280,
            "input_size": 64,
            "weights": "w",
        },
        **{"digest": f"{model}{preprocess}".encode().hex(), "rows": 10, "left_out": 2},
        **changes,
    }


def document(*entries, paired=()):
    return {"versions": {"cytoimagenet": "0.1.0", "numpy": "2"}, "results": list(entries), "paired": list(paired)}


def pair(first, second, p=0.25, **changes):
    return {
        **{name: first[name] for name in ("task", "split", "score", "preprocess")},
        "models": [first["model"], second["model"]],
        "keys": [first["key"], second["key"]],
        "n": 10,
        "difference": first["value"] - second["value"],
        "mcnemar": {"only_first": 3, "only_second": 1, "both": 5, "neither": 1, "p": p},
        "grouped_p": None,
        **changes,
    }


def written(tmp_path, *arguments, **options):
    return report.write_report(document(*arguments, **options), tmp_path).read_text("utf-8")


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"base64[^\"]*", "", html)))


PUBLISHED_N = {"bbbc021": 103, "cyclops": 27_058, "test1": 10_364, "test2": 17_021, "test3": 32_596, "test4": 30_772}


def complete(task="bbbc021", model="imagenet", *, split="", **changes):
    """Return an entry that was scored on the complete published set."""
    return entry(task, model, split=split, n=PUBLISHED_N[split or task], **changes)


def test_scores_have_an_interval_and_published_ones_have_a_table_of_their_own(tmp_path):
    text = plain(written(tmp_path, complete(right=8), complete(model="run", right=9)))
    assert "BBBC021 not same compound; 103 treatments 80.0 % [11.0, 99.0] 90.0 % [11.0, 99.0] 60.0 %" in text
    assert "BBBC021 27.18 ± 8.59 83.50 ± 7.17 83.50 ± 7.17 86.41 ± 6.62 98.00 WS-DINO" in text
    assert "three treatments separate fusion from ImageNet" in text


@pytest.mark.parametrize("n", [10, 102, 104])
def test_no_published_score_is_shown_for_other_samples(tmp_path, n):
    text = plain(written(tmp_path, entry(n=n)))
    assert "83.50" not in text and "WS-DINO" not in text and "three treatments" not in text
    assert "bbbc021: not the complete published set, so no published scores are shown." in text


def test_other_samples_are_not_called_yeast(tmp_path):
    text = plain(written(tmp_path, entry("cyclops", own_labels=True)))
    assert "yeast" not in text and "Your samples, by the protocol of CYCLoPs" in text
    assert "yeast" in plain(written(tmp_path, complete("cyclops", own_labels=True)))
    assert "yeast" in plain(written(tmp_path, entry("cyclops")))


def test_no_score_is_marked_as_the_best(tmp_path):
    assert "good" not in re.sub(
        "<style>.*?</style>", "", written(tmp_path, entry(right=8), entry(model="run", right=9)), flags=re.S
    )


def test_seeds_of_random_weights_become_one_column(tmp_path):
    seeds = [entry(model=f"random:{seed}", right=right) for seed, right in enumerate((1, 2, 6))]
    text = plain(written(tmp_path, *seeds))
    assert "30.0 % mean of 3: 10.0 to 60.0" in text
    assert text.count("Confusion and classes: random weights (seed ") == 3


def test_a_users_own_task_shows_balanced_accuracy_and_f1_of_neighbours_and_probe(tmp_path):
    remark = "Neighbours may leak."
    knn = {**entry(score="knn", remarks=[remark]), "task": "mine", "key": "a"}
    probe = {**entry(score="probe"), "task": "mine", "key": "b", "macro": 0.75}
    text = plain(written(tmp_path, knn, probe))
    assert "mine 11 nearest neighbours; 10 samples 80.0 % [11.0, 99.0] 60.0 %" in text
    assert "mine 11 nearest neighbours, balanced accuracy; 10 samples 70.0 % 50.0 %" in text
    assert "mine 11 nearest neighbours, macro F1; 10 samples 60.0 % –" in text
    assert "mine linear probe, balanced accuracy; 10 samples 75.0 % 50.0 %" in text
    assert text.index("mine: Neighbours may leak.") < text.index("11 nearest neighbours; 10 samples")


def test_a_table_of_features_has_no_published_score(tmp_path):
    text = plain(written(tmp_path, entry(model="profiles", preprocess="as given")))
    assert "published CytoImageNet" not in text and "profiles" in text


def test_pairs_and_controls_are_shown(tmp_path):
    one, two = entry(), entry(model="run", right=9)
    other = entry(model="run", preprocess="merge-raw")
    failed = {**entry(score="shuffled", right=5), "of": "nsc", "at_chance": False, "bootstrap": None, "correct": None}
    for name in ("macro", "f1", "by_class", "confusion"):
        del failed[name]
    html = written(tmp_path, one, two, other, failed, paired=[pair(one, two), pair(other, other)])
    text = plain(html)
    assert "ImageNet – run not same compound, concat-norm; 10 treatments -10.00 3 : 1 0.25 –" in text
    assert "Comparisons of two models (2)" in text and "Scores with other preprocessing (1)" in text
    assert re.search(r'class="number bad">50.00 %', html) and "control: shuffled labels nsc" in text
    assert "bbbc021: shuffled labels score above chance for ImageNet. Something leaks" in text


def test_at_most_six_comparisons_are_printed():
    models = [entry(model=f"run{n}", right=n) for n in range(9)]
    random, control = [entry(model=f"random:{n}") for n in (0, 1)], entry(model="mean-intensity")
    pairs = [pair(models[n], models[n + 1]) for n in range(8)]
    ignored = [pair(*random), pair(models[0], control)]
    keys = frozenset(one["key"] for one in [*models, *random, control])
    assert [len(comparison_lines([*ignored, *pairs[:n]], keys)) for n in (0, 6, 7, 8)] == [0, 6, 7, 7]
    lines = comparison_lines(pairs, keys)
    assert "run0 against run1 -10.00 points; only one right: 3 and 1 of 10, McNemar p = 0.25" in lines[0]
    assert lines[-1] == "  2 more comparisons of two models are in the report"
    assert comparison_lines(pairs, frozenset()) == []
    with_random = [pair(random[0], model) for model in models]
    assert comparison_lines([*with_random, *pairs], keys)[:6] == lines[:6]


def test_classes_never_correct_are_named(tmp_path):
    text = plain(written(tmp_path, entry(right=6)))
    assert "Never correct: &lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;$x^2$." in text
    assert "Every class is correct at least once." in plain(written(tmp_path, entry(right=7)))


def test_every_published_number_is_shown(tmp_path):
    names = {
        "random": "random:0",
        "imagenet": "imagenet",
        "cytoimagenet": "run",
        "fusion": "fusion of imagenet and run",
    }
    entries = [
        complete(task.name, names[kind], split=split) for task in TASKS.values() for split, kind in task.published
    ]
    text = plain(written(tmp_path, *entries))
    for task in TASKS.values():
        for published in task.published.values():
            assert f"{published.percent:.2f} ± {published.half_width:.2f}" in text
        for (score, _), best in task.best.items():
            assert score != task.headline or f"{best.percent:.2f} {best.publication}" in unescape(text)


def test_nothing_scored_is_no_error(tmp_path):
    assert "There is only one model" in plain(written(tmp_path))


def test_the_verdict_is_first_and_those_of_further_models_are_folded(tmp_path):
    one, two, three = entry(), entry(model="run", right=9), entry(model="other", right=9)
    paired = [pair(one, two, p=0.001), pair(one, three, p=0.5), pair(three, two)]
    html = written(tmp_path, one, two, three, paired=paired)
    shown, folded = "Your model other is not distinguishable from", "Your model run is better than ImageNet on BBBC021."
    assert html.index(shown) < html.index("<h2>Scores")
    assert f"<summary>{folded}</summary>" in html


def test_date_command_and_files_are_shown(tmp_path):
    (tmp_path / "results.json").touch()
    facts = {"written": "26 November 2026", "command": "cytoimagenet eval --task 'a b'"}
    html = report.write_report(document(entry()), tmp_path, facts=facts).read_text("utf-8")
    assert "written 26 November 2026 command cytoimagenet eval --task &#39;a b&#39;" in plain(html)
    assert '<a href="results.json">results.json</a>' in html and "timing.json" not in html


def test_models_that_are_not_compared_are_named(tmp_path):
    refused = {"task": "bbbc021", "split": "", "score": "nsc", "models": ["a", "b"], "reason": "no sample in common"}
    html = report.write_report({**document(entry()), "not_compared": [refused]}, tmp_path).read_text("utf-8")
    assert "bbbc021: a and b are not compared: no sample in common." in plain(html)


def test_brightness_that_is_enough_is_named(tmp_path):
    text = plain(written(tmp_path, entry(right=5), entry(model="mean-intensity", right=5)))
    assert "bbbc021: mean intensity alone scores 50.0 %, no less than ImageNet" in text
    assert "brightness may be" not in plain(written(tmp_path, entry(right=6), entry(model="mean-intensity", right=5)))


def test_more_sections_notes_and_steps(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(buffer, "PNG")
    (tmp_path / "montage.png").write_bytes(buffer.getvalue())
    more = page.Section(
        "Dataset", ["Words"], [page.Figure(tmp_path / "montage.png", "Montage")], [page.Table(["n"], [[7]])]
    )
    html = report.write_report(
        document(entry()),
        tmp_path / "sub" / "other.html",
        title="Demo",
        extra_sections=[more],
        notes=[HOSTILE],
        steps=[{"step": "features", "seconds": 3.2, "peak_gb": 1.5}],
    )
    text = html.read_text("utf-8")
    assert html.name == "other.html" and "<title>Demo</title>" in text
    assert text.index("<h2>Verdict") < text.index("<h2>Scores") < text.index("<h2>Dataset")
    assert "features 3.2 1.5" in plain(text) and "<script>document" not in text


@pytest.mark.parametrize("split", ["", "test1"])
def test_figures_are_the_same_every_time(tmp_path, split):
    one = report.write_report(document(entry("coos7", split=split)), tmp_path / "a").read_bytes()
    two = report.write_report(document(entry("coos7", split=split)), tmp_path / "b").read_bytes()
    assert one == two


def test_a_plot_of_a_table_of_features_has_no_published_score():
    score = {"interval": {"low": 0.4, "high": 0.6}, "value": 0.5, "n": 103, "model": "mine", "split": ""}
    unpublished = score_plot([{**score, "preprocess": "as given"}], Presentation(name="mine", title="Mine"))
    assert score_plot([{**score, "preprocess": "as given"}], TASKS["bbbc021"]) == unpublished
    assert score_plot([{**score, "preprocess": "concat-norm"}], TASKS["bbbc021"]) != unpublished


def test_a_task_of_ones_own_is_presented_by_its_record_or_else_by_its_name(tmp_path):
    own = [{**entry(score="knn"), "task": "mine", "key": "a"}, {**entry(score="probe"), "task": "mine", "key": "b"}]
    shown = Presentation(name="mine", title="My cells", question="Which dose?", unit="wells", headline="probe")
    html = report.write_report(document(entry(), *own), tmp_path / "a", tasks=[shown]).read_text("utf-8")
    assert html.index("<h2>Details: BBBC021") < html.index("<h2>Details: My cells") and "Which dose?" in html
    assert "My cells linear probe; 10 wells" in plain(html)
    bare = plain(report.write_report(document(*own), tmp_path / "b").read_text("utf-8"))
    assert "mine 11 nearest neighbours; 10 samples" in bare  # the first score there is
