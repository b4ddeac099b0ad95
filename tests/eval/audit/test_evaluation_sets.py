"""Which evaluation images an audit is compared with, and what happens if a set is incomplete."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.builder.errors import MetadataError, UnreadableImageError, UsageError
from cytoimagenet.eval.audit.evaluation import EvaluationSet, _measure, evaluation_sets
from cytoimagenet.eval.commands.audit import lines_of


def test_a_set_without_its_images_is_named_and_the_rest_is_compared(tmp_path, planted):
    (tmp_path / "evaldata" / "bbbc021").mkdir(parents=True)
    sets, incomplete = evaluation_sets(tmp_path / "evaldata", [planted.task / "images.csv"])
    assert [one.name for one in sets] == ["task"]
    assert incomplete == {"bbbc021": "BBBC021_v1_image.csv (or BBBC021_v1_image.csv.gz) is missing"}


def test_nothing_to_compare_with_is_an_error(tmp_path):
    (tmp_path / "coos7").mkdir()
    with pytest.raises(MetadataError, match="missing"):
        evaluation_sets(tmp_path, [])
    with pytest.raises(UsageError, match="no evaluation set"):
        evaluation_sets(tmp_path / "coos7", [])
    assert evaluation_sets(None, []) == ([], {})


def test_a_sample_that_cannot_be_read_is_counted(rng):
    def load(i):
        if i == 1:
            raise UnreadableImageError("b.tif", "more than 120 seconds of processor time")
        return [rng.integers(0, 255, (40, 40), np.uint8)]

    one = EvaluationSet("task", ["a", "b", "c"], 1, load)
    pixels, samples = _measure(one, workers=2)
    assert samples.tolist() == [0, 2] and len(pixels) == 2
    assert one.unread == ["b: more than 120 seconds of processor time"]


def test_the_summary_names_what_was_not_compared():
    summary = {
        "images": 20, "classes": 2, "judged": 20, "duplicate_images": 0, "duplicate_groups": 0,
        "duplicate_groups_across_split": 0, "duplicate_groups_across_classes": 0, "wrong_labels": [0.1, 0.0, 0.2],
        "flagged": {"label": 0, "outlier": 0, "in_evaluation_set": 0}, "compared_with": {"task": 5},
        "not_compared_with": {"coos7": "train missing"}, "clean": {"train": 18, "validation": 2},
    }  # fmt: skip
    assert "not compared with coos7: train missing" in "\n".join(lines_of(summary))
