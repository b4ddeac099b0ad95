"""Nothing is lost: rows and images in are rows and images kept or rejected, by numbers made by hand."""

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate.accounting import account, check, count_classes, describe, row_reasons
from cytoimagenet.builder.curate.decide import CODE, KEPT, decide
from cytoimagenet.builder.curate.earlier import count_rejected, read_rejected, rejected_before
from cytoimagenet.builder.curate.settings import Settings
from cytoimagenet.builder.errors import CheckFailedError

from tests.builder.curate.tried_by_hand import tried_of

DIM, FULL, COPY = CODE["dim"], CODE["class_full"], CODE["duplicate"]


@pytest.fixture
def decided():
    # actin: ABC kept, x dim, second A a copy. tubulin: one image, too small. lamin: rejected before
    rows = [("one-0", "actin", "AxA"), ("one-1", "actin", "B"), ("two-0", "actin", "C")]
    rows += [("two-1", "lamin", "y"), ("two-2", "tubulin", "D")]
    return decide(tried_of(*rows), {}, Settings(min_class_size=2))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([(0, 0, KEPT)], KEPT),
        ([(0, 0, DIM), (0, 1, KEPT), (0, 2, FULL)], KEPT),
        ([(0, 0, DIM), (0, 1, FULL)], FULL),
        ([(0, 0, FULL), (0, 1, DIM)], FULL),  # the latest stage, not the last image
        ([(0, 0, FULL), (0, 1, COPY)], FULL),
        ([(0, 1, CODE["saturated"]), (0, 0, DIM)], CODE["saturated"]),  # of one stage, the last image
    ],
)
def test_a_row_takes_the_reason_of_the_latest_stage(images, expected):
    rows, numbers, reasons = (np.array(column) for column in zip(*images, strict=True))
    assert row_reasons(rows, numbers, reasons.astype(np.int8), 1).tolist() == [expected]


def test_each_row_has_its_own_reason():
    row, number = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
    reason = np.array([DIM, KEPT, DIM, FULL], np.int8)
    assert row_reasons(row, number, reason, 2).tolist() == [KEPT, DIM]


def test_a_row_without_an_image_is_an_error():
    with pytest.raises(CheckFailedError, match="2 source images were lost"):
        row_reasons(np.array([1]), np.array([0]), np.array([KEPT], np.int8), 3)


def test_both_sums_by_source_by_class_and_of_all(decided):
    report = account(decided)
    assert report["by_source"] == {
        "one": {"rows": {"in": 2, "kept": 2, "rejected": {}},
                "images": {"tried": 4, "kept": 2, "rejected": {"dim": 1, "duplicate": 1}}},
        "two": {"rows": {"in": 3, "kept": 1, "rejected": {"dim": 1, "class_too_small": 1}},
                "images": {"tried": 3, "kept": 1, "rejected": {"dim": 1, "class_too_small": 1}}},
    }  # fmt: skip
    assert report["by_class"] == {
        "actin": {"rows": {"in": 3, "kept": 3, "rejected": {}},
                  "images": {"tried": 5, "kept": 3, "rejected": {"dim": 1, "duplicate": 1}}},
        "lamin": {"rows": {"in": 1, "kept": 0, "rejected": {"dim": 1}},
                  "images": {"tried": 1, "kept": 0, "rejected": {"dim": 1}}},
        "tubulin": {"rows": {"in": 1, "kept": 0, "rejected": {"class_too_small": 1}},
                    "images": {"tried": 1, "kept": 0, "rejected": {"class_too_small": 1}}},
    }  # fmt: skip
    assert report["counts"] == {
        "rows": {"in": 5, "kept": 3, "rejected": {"class_too_small": 1, "dim": 1}},
        "images": {"tried": 7, "kept": 3, "rejected": {"class_too_small": 1, "dim": 2, "duplicate": 1}},
    }
    [actin] = report["classes"]
    assert actin == {"label": "actin", "category": "gene", "slug": "actin", "images": 3, "train": 2, "validation": 1}
    assert [entry["images"] for entry in count_classes(decided)] == [3, 0, 0]


def test_rows_that_were_left_out_earlier_count_as_rows_in(decided, tmp_path):
    lines = [("two", "not_selected")] * 3 + [("two", "other")] + [("three", "not_selected")] * 2
    frame = pd.DataFrame({name: [""] * len(lines) for name in schema.REJECTED.names})
    frame["dir_name"], frame["reason"] = zip(*lines, strict=True)
    path = tmp_path / "selection.rejected.parquet"
    assert rejected_before(tmp_path / "selection.parquet") is None and rejected_before(frame) is None
    schema.write(frame, path, schema.REJECTED)
    assert rejected_before(tmp_path / "selection.parquet") == str(path)
    assert count_rejected(str(path)) == {"two": {"not_selected": 3, "other": 1}, "three": {"not_selected": 2}}
    assert count_rejected(None) == {} and list(read_rejected(None)) == []
    by_source = account(decided, str(path))["by_source"]
    assert by_source["two"]["rows"] == {
        "in": 7, "kept": 1, "rejected": {"dim": 1, "class_too_small": 1, "not_selected": 3, "other": 1}
    }  # fmt: skip
    assert by_source["three"] == {
        "rows": {"in": 2, "kept": 0, "rejected": {"not_selected": 2}},
        "images": {"tried": 0, "kept": 0, "rejected": {}},
    }
    assert list(by_source) == ["one", "three", "two"]


def test_the_check_names_the_group_that_does_not_add_up(decided):
    groups = account(decided)["by_class"]
    rows, kept, rejected = {"actin": 3}, {"actin": 3}, {"actin": 2, "lamin": 1, "tubulin": 1}
    check(groups, rows, kept, rejected)
    with pytest.raises(CheckFailedError, match="1 images went in, 0 are accounted for") as caught:
        check(groups, rows, kept, {**rejected, "lamin": 0})
    assert caught.value.where == "lamin"
    with pytest.raises(CheckFailedError, match="3 rows went in, 2 are accounted for"):
        check(groups, {"actin": 2}, kept, rejected)


def test_the_sums_as_text(decided):
    report = account(decided)
    assert describe(report, 3) == [
        "source one: 2 rows = 2 with images; 4 images tried = 2 kept + 1 dim + 1 duplicate",
        "source two: 3 rows = 1 with images + 1 dim + 1 class_too_small; "
        "3 images tried = 1 kept + 1 dim + 1 class_too_small",
        "class actin: 3 rows = 3 with images; 5 images tried = 3 kept + 1 dim + 1 duplicate",
        "class lamin: 1 rows = 0 with images + 1 dim; 1 images tried = 0 kept + 1 dim",
        "class tubulin: 1 rows = 0 with images + 1 class_too_small; 1 images tried = 0 kept + 1 class_too_small",
        "all: 5 rows = 3 with images + 1 class_too_small + 1 dim; "
        "7 images tried = 3 kept + 1 class_too_small + 2 dim + 1 duplicate",
    ]
    assert describe(report, 2)[2] == "3 classes; curated.json contains both sums of each"
