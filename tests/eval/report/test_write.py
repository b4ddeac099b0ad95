"""The report shows what results.json contains, next to the published scores."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from cytoimagenet.eval.report import page
from cytoimagenet.eval.report import write as report
from cytoimagenet.eval.report.plots import score_plot
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


def pair(first, second, p=0.25):
    return {
        **{name: first[name] for name in ("task", "split", "score", "preprocess")},
        "models": [first["model"], second["model"]],
        "keys": [first["key"], second["key"]],
        "n": 10,
        "difference": first["value"] - second["value"],
        "mcnemar": {"only_first": 3, "only_second": 1, "both": 5, "neither": 1, "p": p},
        "grouped_p": None,
    }


def written(tmp_path, *arguments, **options):
    return report.write_report(document(*arguments, **options), tmp_path).read_text("utf-8")


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"base64[^\"]*", "", html)))


def test_our_scores_are_shown_next_to_the_published(tmp_path):
    text = plain(written(tmp_path, entry(right=8), entry(model="run", right=9), entry(model="mean-intensity", right=2)))
    assert "80.00 % [40.0, 95.0] published ImageNet 83.50 ± 7.17" in text
    assert "90.00 % [45.0, 95.0] published CytoImageNet 83.50 ± 7.17" in text
    assert "20.00 % [10.0, 95.0] 98.00 %" in text  # nothing is published for the control; the last is the best of all
    assert "three treatments separate fusion from ImageNet" in text


def test_the_best_of_a_row_is_marked(tmp_path):
    html = written(tmp_path, entry(right=8), entry(model="run", right=9))
    assert re.findall(r'class="number good">([\d.]+) %', html) == ["90.00"]


def test_seeds_of_random_weights_become_one_column(tmp_path):
    seeds = [entry(model=f"random:{seed}", right=right) for seed, right in enumerate((1, 2, 6))]
    text = plain(written(tmp_path, *seeds))
    assert "30.00 % mean of 3, 10.0 to 60.0 published random 27.18 ± 8.59" in text
    assert text.count("Confusion and classes: random:") == 3


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
    assert "imagenet run -10.00 3 1 0.25 –" in text
    assert "1 more comparisons of two models" in text and "1 scores with other preprocessing" in text
    assert re.search(r'class="number bad">50.00 %', html) and "control: shuffled labels nsc" in text


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
    entries = [entry(task.name, names[kind], split=split) for task in TASKS.values() for split, kind in task.published]
    text = plain(written(tmp_path, *entries))
    for task in TASKS.values():
        for published in task.published.values():
            assert f"{published.percent:.2f} ± {published.half_width:.2f}" in text
        for (score, _), best in task.best.items():
            assert score != task.headline or f"{best.percent:.2f} %" in text


def test_nothing_scored_is_no_error(tmp_path):
    assert "none" in plain(written(tmp_path))


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
    assert text.index("<h2>Dataset") < text.index("<h2>Scores")
    assert "features 3.2 1.5" in plain(text) and "<script>document" not in text


@pytest.mark.parametrize("split", ["", "test1"])
def test_figures_are_the_same_every_time(tmp_path, split):
    one = report.write_report(document(entry("coos7", split=split)), tmp_path / "a").read_bytes()
    two = report.write_report(document(entry("coos7", split=split)), tmp_path / "b").read_bytes()
    assert one == two


def test_a_plot_of_a_table_of_features_has_no_published_score():
    score = {"interval": {"low": 0.4, "high": 0.6}, "value": 0.5, "n": 10, "model": "mine", "split": ""}
    unpublished = score_plot([{**score, "preprocess": "as given"}], Presentation(name="mine", title="Mine"))
    assert score_plot([{**score, "preprocess": "as given"}], TASKS["bbbc021"]) == unpublished
    assert score_plot([{**score, "preprocess": "concat-norm"}], TASKS["bbbc021"]) != unpublished


def test_a_task_of_ones_own_is_presented_by_its_record_or_else_by_its_name(tmp_path):
    own = [{**entry(score="knn"), "task": "mine", "key": "a"}, {**entry(score="probe"), "task": "mine", "key": "b"}]
    shown = Presentation(name="mine", title="My cells", question="Which dose?", unit="wells", headline="probe")
    html = report.write_report(document(entry(), *own), tmp_path / "a", tasks=[shown]).read_text("utf-8")
    assert html.index("<h2>BBBC021") < html.index("<h2>My cells") and "Which dose?" in html
    assert "linear probe; 10 wells, concat-norm" in plain(html)
    bare = plain(report.write_report(document(*own), tmp_path / "b").read_text("utf-8"))
    assert "11 nearest neighbours; 10 samples, concat-norm" in bare  # the first score there is
