"""Duplicates, class sizes and the split, by numbers made by hand. Each letter is an image; equal letters are equal."""

import numpy as np
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate.decide import CODE, KEPT, LATE_REASONS, STAGE, decide
from cytoimagenet.builder.curate.settings import Settings

from tests.builder.curate.tried_by_hand import tried_of


def outcome(tried, evaluation=None, **settings):
    """Return what became of each image, in words, and the decision."""
    decided = decide(tried, evaluation or {}, Settings(**{"min_class_size": 1, **settings}))
    return [("kept" if code == KEPT else schema.REASONS[code]) for code in decided.reason], decided


def test_a_class_of_exactly_the_minimum_stays():
    rows = [("a-0", "actin", "AB"), ("a-1", "actin", "C"), ("b-0", "tubulin", "DE")]
    words, decided = outcome(tried_of(*rows), min_class_size=3)
    assert words == ["kept"] * 3 + ["class_too_small"] * 2
    assert decided.class_size.tolist() == [3, 2]
    assert decided.kept.tolist() == [0, 1, 2]


def test_a_class_of_exactly_the_maximum_stays_and_one_more_image_goes():
    rows = [("a-0", "actin", "AB"), ("a-1", "actin", "CD")]
    assert outcome(tried_of(*rows), max_images=4)[0] == ["kept"] * 4
    words, decided = outcome(tried_of(*rows), max_images=3)
    assert words.count("class_full") == 1 and words[0] == words[2] == "kept"
    assert decided.class_size.tolist() == [4]


@pytest.mark.parametrize("seed", range(5))
def test_every_row_keeps_one_image_as_long_as_possible(seed):
    rows = [(f"a-{n}", "actin", letters) for n, letters in enumerate(("ABC", "DEF", "GHI"))]
    words, _ = outcome(tried_of(*rows), max_images=4, seed=seed)
    kept = [row for row, word in enumerate(words) if word == "kept"]
    assert len(kept) == 4 and {0, 3, 6} < set(kept) and set(kept) - {0, 3, 6} < {1, 4, 7}
    words, _ = outcome(tried_of(*rows), max_images=2, seed=seed)
    assert {place for place, word in enumerate(words) if word == "kept"} < {0, 3, 6}


def test_the_seed_chooses_which_rows_a_full_class_keeps():
    rows = [(f"a-{n:02d}", "actin", chr(65 + n)) for n in range(20)]
    kept = [tuple(outcome(tried_of(*rows), max_images=10, seed=seed)[1].kept) for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]


def test_the_first_rejected_crop_does_not_count_as_the_rows_one():
    rows = [("a-0", "actin", "xB"), ("a-1", "actin", "CD")]
    assert outcome(tried_of(*rows), max_images=2)[0] == ["dim", "kept", "kept", "class_full"]


def test_of_equal_images_of_one_class_the_first_row_and_crop_is_kept():
    rows = [("a-0", "actin", "AA"), ("a-1", "actin", "BA")]
    words, decided = outcome(tried_of(*rows))
    assert words == ["kept", "duplicate", "kept", "duplicate"]
    assert decided.copy_of.tolist() == [-1, 0, -1, 0]


def test_of_equal_images_of_two_classes_the_rarer_class_keeps_its_own():
    rows = [("a-0", "actin", "ABC"), ("b-0", "tubulin", "AD")]
    words, decided = outcome(tried_of(*rows))
    assert words == ["duplicate", "kept", "kept", "kept", "kept"]
    assert decided.copy_of.tolist() == [3, -1, -1, -1, -1]
    assert decided.class_size.tolist() == [2, 2]
    # equally rare: the first label
    assert outcome(tried_of(("a-0", "actin", "AB"), ("b-0", "tubulin", "AD")))[0] == [
        "kept",
        "kept",
        "duplicate",
        "kept",
    ]


def test_images_that_were_rejected_before_are_no_originals():
    assert outcome(tried_of(("a-0", "actin", "x"), ("b-0", "tubulin", "x")))[0] == ["dim", "dim"]


def test_a_class_that_is_left_out_gives_back_the_images_it_shared():
    rows = [("a-0", "actin", "ABCD"), ("b-0", "tubulin", "AE")]
    words, decided = outcome(tried_of(*rows), min_class_size=3)
    assert words == ["kept"] * 4 + ["class_too_small"] * 2
    assert decided.copy_of.tolist() == [-1] * 6
    assert decided.class_size.tolist() == [4, 2]


def test_classes_that_are_too_small_at_the_same_time_are_left_out_together():
    # b (3 images) is rarer than a (4) and keeps W; so both have 3, too few, though without b class a would have 4
    rows = [("a-0", "a", "WXYZ"), ("b-0", "b", "WUV"), ("c-0", "c", "ABCDE")]
    words, decided = outcome(tried_of(*rows), min_class_size=4)
    assert words == ["class_too_small"] * 7 + ["kept"] * 5
    assert decided.class_size.tolist() == [3, 3, 5]


def test_a_class_without_a_good_image_is_empty_not_too_small():
    words, decided = outcome(tried_of(("a-0", "actin", "xy"), ("b-0", "tubulin", "AB")), min_class_size=2)
    assert words == ["dim", "dim", "kept", "kept"] and decided.class_size.tolist() == [0, 2]


def test_a_row_with_an_evaluation_channel_is_out_with_all_images_before_duplicates_are_searched():
    rows = [("a-0", "actin", "ABx"), ("a-1", "actin", "C"), ("b-0", "tubulin", "AD")]
    digests = ["one|two", "", "", "three", "four", ""]
    words, decided = outcome(
        tried_of(*rows, channel_digests=digests), evaluation={"two": "bbbc021/a.tif", "five": "bbbc021/b.tif"}
    )
    assert words == ["in_evaluation_set", "in_evaluation_set", "dim", "kept", "kept", "kept"]
    assert decided.evaluation_file == {0: "bbbc021/a.tif"}


def test_stages_are_those_of_the_module():
    assert STAGE[KEPT] == 0
    late = {schema.REASONS[code]: stage for code, stage in enumerate(STAGE[:-1]) if stage}
    assert late == {"in_evaluation_set": 1, "duplicate": 2, "class_full": 3, "class_too_small": 4}
    assert tuple(late) != LATE_REASONS  # schema.REASONS has another order, in which codes are numbered
    assert all(schema.REASONS[code] == reason for reason, code in CODE.items())


def test_the_kept_images_are_in_the_order_of_the_dataset():
    tried = tried_of(("a-0", "actin", "AB"), ("a-1", "actin", "CD"), ("b-0", "tubulin", "EF"))
    mixed = np.array([5, 0, 3, 2, 4, 1])
    shuffled = type(tried)(
        tried.selection, tried.classes, tried.class_of_row, tried.table.take(mixed), tried.row[mixed], tried.chunk
    )
    decided = outcome(shuffled)[1]
    assert mixed[decided.kept].tolist() == [0, 1, 2, 3, 4, 5]


def test_no_source_file_is_in_both_splits():
    # rows 2k and 2k + 1 share a file, in two classes
    rows = [(f"a-{n:02d}", "actin", chr(192 + 2 * n) + chr(193 + 2 * n), f"{n}.png#xywh=0,0,9,9") for n in range(10)]
    rows += [(f"b-{n:02d}", "tubulin", chr(292 + n), f"{n}.png#page=1") for n in range(10)]
    images = sum(len(row[2]) for row in rows)
    tried = tried_of(*rows, sha256=[n.to_bytes(32, "big") for n in range(images)], reason=[""] * images)
    decided = outcome(tried)[1]
    assert decided.validation.sum() == 3  # 2 of 20 crops of actin, 1 of 10 images of tubulin
    files = [rows[row][3].split("#")[0] for row in tried.row[decided.kept]]
    assert not {f for f, v in zip(files, decided.validation, strict=True) if v} & {
        f for f, v in zip(files, decided.validation, strict=True) if not v
    }


def test_the_published_split_takes_a_tenth_of_each_class():
    rows = [(f"a-{n:02d}", "actin", "AB") for n in range(10)] + [(f"b-{n:02d}", "tubulin", "A") for n in range(14)]
    images = 34
    tried = tried_of(*rows, sha256=[n.to_bytes(32, "big") for n in range(images)])
    decided = outcome(tried, split="published")[1]
    label = tried.class_of_image[decided.kept]
    assert np.bincount(label, weights=decided.validation).tolist() == [2, 1]
