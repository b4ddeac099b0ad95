"""No source image is in both splits, and a tenth of every class is for validation."""

import numpy as np
import pyarrow as pa
import pytest
from cytoimagenet.builder.curate.split import (
    source_groups,
    validation_by_group,
    validation_published,
    validation_target,
)
from cytoimagenet.builder.seeded import sort_keys
from hypothesis import given
from hypothesis import strategies as st


def test_groups_are_files_whatever_page_or_box():
    channels = [
        "a/1.tif|a/2.tif",
        "a/3.tif",
        "a/2.tif|a/4.tif",  # shares 2 with row 0
        "s/smear.png#xywh=0,0,9,9",
        "s/smear.png#xywh=5,5,9,9",
        "s/smear.png",
        "a/5.tif#page=1|a/4.tif",  # shares 4 with row 2
        "a/5 #2.tif",
        "a/5.tif#page=0&xywh=1,1,2,2",
    ]
    assert source_groups(pa.array(channels)).tolist() == [0, 1, 0, 3, 3, 3, 0, 7, 0]


def test_no_rows_have_no_groups():
    assert source_groups(pa.array([], pa.string())).tolist() == []


@given(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=25))
def test_groups_are_the_connected_parts(rows):
    found = source_groups(pa.array(["|".join(f"f{n}.tif" for n in sorted(files)) for files in rows]))
    expected = list(range(len(rows)))
    for _ in rows:  # slow and obvious: join until nothing changes
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                if a & b:
                    expected[i] = expected[j] = min(expected[i], expected[j])
    assert found.tolist() == expected


def test_named_groups_of_one_source_join_rows():
    channels = pa.array(["a/1.tif", "a/2.tif", "b/3.tif", "b/4.tif|b/5.tif", "b/5.tif", "b/6.tif", "a/7.tif"])
    sources = pa.array(["a", "a", "b", "b", "b", "b", "a"])
    groups = pa.array(["P1", "P1", "P1", "P2", "", "P2", ""])
    assert source_groups(channels, [[sources, groups]]).tolist() == [0, 0, 2, 3, 3, 3, 6]
    dictionary = [column.dictionary_encode() for column in (sources, groups)]
    assert source_groups(channels, [dictionary]).tolist() == [0, 0, 2, 3, 3, 3, 6]
    nobody = pa.array([""] * 7)
    assert source_groups(channels, [[sources, nobody]]).tolist() == source_groups(channels).tolist()


ROWS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 9), min_size=1, max_size=2), st.sampled_from("ab"), st.sampled_from(["", "1", "2", "3"])
    ),
    min_size=1,
    max_size=25,
)


@given(ROWS)
def test_files_and_named_groups_together_are_the_connected_parts(rows):
    channels, sources, groups = zip(
        *(("|".join(f"{source}{n}.tif" for n in sorted(files)), source, group) for files, source, group in rows),
        strict=True,
    )
    found = source_groups(pa.array(channels), [[pa.array(sources), pa.array(groups)]])
    expected = list(range(len(rows)))
    for _ in rows:  # slow and obvious: join until nothing changes
        for i, (files, source, group) in enumerate(rows):
            for j, (others, other, same) in enumerate(rows):
                if source == other and (files & others or (group and group == same)):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    assert found.tolist() == expected


@pytest.mark.parametrize(("images", "expected"), [(0, 0), (4, 0), (5, 1), (14, 1), (15, 2), (25, 3), (1000, 100)])
def test_a_tenth_is_rounded_half_up(images, expected):
    assert validation_target(images) == expected


def _split(labels, groups, seed=0):
    groups = np.asarray(groups)
    ranks = sort_keys(map(str, range(groups.max() + 1)), seed, "test")
    return validation_by_group(np.asarray(labels), groups, ranks)


def test_single_images_give_exactly_a_tenth():
    labels = np.repeat([0, 1, 2], [1000, 287, 15])
    side = _split(labels, np.arange(len(labels)))
    assert np.bincount(labels, side).astype(int).tolist() == [100, 29, 2]


def test_crops_of_one_image_stay_together_and_a_tenth_is_still_met():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    labels = (groups >= 150).astype(int)
    side = _split(labels, groups)
    for group in range(300):
        assert len(set(side[groups == group])) == 1
    assert np.bincount(labels, side).astype(int).tolist() == [validation_target(n) for n in np.bincount(labels)]


@pytest.mark.parametrize(("crops", "sources", "validation"), [(4, 2, 4), (4, 8, 4), (1, 2, 1), (1, 1, 0), (4, 1, 0)])
def test_two_source_images_are_enough_for_both_splits(crops, sources, validation):
    assert _split(np.zeros(crops * sources, int), np.repeat(np.arange(sources), crops)).sum() == validation


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=120), st.integers(0, 9))
def test_shared_groups(pairs, seed):
    labels = np.unique([label for label, _ in pairs], return_inverse=True)[1]
    groups = np.unique([group for _, group in pairs], return_inverse=True)[1]
    side = _split(labels, groups, seed)
    for group in set(groups):
        assert len(set(side[groups == group])) == 1
    for label in set(labels):
        own = set(groups[labels == label])
        assert not side[labels == label].all()  # something to train on, always
        if len(own) >= 2 and all(len(set(labels[groups == g])) == 1 for g in own):
            assert side[labels == label].any()


def test_smears_of_several_classes_give_about_a_tenth_of_each():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 200, 1800)
    labels = rng.choice(3, 1800, p=[0.6, 0.3, 0.1])
    groups = np.unique(groups, return_inverse=True)[1]
    side = _split(labels, groups)
    for label in range(3):
        n = int((labels == label).sum())
        assert abs(int(side[labels == label].sum()) - validation_target(n)) <= 0.02 * n + 1


def test_another_seed_is_another_split():
    labels, groups = np.zeros(100, int), np.arange(100)
    assert (_split(labels, groups, 0) != _split(labels, groups, 1)).any()
    assert (_split(labels, groups, 0) == _split(labels, groups, 0)).all()


def test_the_published_split_takes_a_tenth_of_each_class():
    labels = np.random.default_rng(0).integers(0, 3, 1000)
    ranks = sort_keys(map(str, range(1000)), 0, "x")
    side = validation_published(labels, ranks)
    assert np.bincount(labels, side).astype(int).tolist() == [validation_target(n) for n in np.bincount(labels)]
    for label in range(3):
        assert ranks[(labels == label) & side].max() < ranks[(labels == label) & ~side].min()
