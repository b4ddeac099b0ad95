"""The demo as a user runs it: what it learns transfers to tasks that it was not trained on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GAPS = {("bbbc021", "nsc", ""): 0.27, ("coos7", "knn", "test1"): 0.11, ("cyclops", "knn", ""): 0.05}
"""Half of what trained features gained over the mean of the random ones, where that is more than three standard errors
of the difference on every task: 0.54 (4.2 of them), 0.22 (6.1) and 0.10 (4.4)."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [Path(sys.executable).with_name("cytoimagenet"), "demo", "--out", str(folder)]
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_it_prints_where_the_report_is(demo):
    folder, printed = demo
    assert printed.strip().endswith(f"Open {folder / 'report.html'}")
    page = (folder / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert page.index("<h2>Verdict") < page.index("<h2>Scores") < page.index("<h2>The dataset")
    assert "Your model quick is" in page and "no published scores are shown" in page
    assert " at 0x" not in page  # the address of an object


def test_training_and_tasks_share_no_image(demo):
    """No source of the training set is an evaluation set."""
    folder, _ = demo
    seen = json.loads((folder / "cytoimagenet" / "manifest.json").read_text())
    assert seen["settings"]["split"] == "by-image"
    assert {path.name for path in (folder / "raw").iterdir() if path.is_dir()}.isdisjoint(
        {"bbbc021", "coos7", "cyclops"}
    )


def test_trained_features_beat_random_ones(demo):
    folder, _ = demo
    results = json.loads((folder / "results" / "results.json").read_text())["results"]
    won = []
    for (task, score, split), least in GAPS.items():
        mine = [r for r in results if (r["task"], r["score"], r["split"]) == (task, score, split) and not r["beside"]]
        random = [r["value"] for r in mine if r["model"].startswith("random")]
        trained = [r["value"] for r in mine if r["model"] == "quick"]
        assert len(random) == 3
        assert len(trained) == 1
        won.append(trained[0] - np.mean(random) >= least)
    assert sum(won) >= 2, won


def test_controls_score_at_chance(demo):
    folder, _ = demo
    results = json.loads((folder / "results" / "results.json").read_text())["results"]
    shuffled = [r for r in results if r["score"] == "shuffled" and r["task"] != "bbbc021"]
    assert shuffled
    assert all(r["value"] < 0.3 for r in shuffled)  # 7 and 10 classes: chance is 14 and 10 %
