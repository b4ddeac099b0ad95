"""Names that are valid for files, folders and keys, one per class."""

import re

from cytoimagenet.builder.curate.naming import file_name, slug, slugs
from hypothesis import given
from hypothesis import strategies as st


def test_slugs():
    assert slug("U2OS") == "u2os"
    assert slug("s-(+)-ibuprofen 3.7 µm") == "s-_-ibuprofen_3_7_m"
    assert slug("crème brûlée") == "creme_brulee"
    assert slug("日本") == "_"
    assert slug("") == "_"


def test_labels_with_equal_slugs_are_numbered():
    given_slugs = slugs([("gene", "a.b"), ("compound", "a b"), ("compound", "a+b"), ("cell_type", "a_b-2")])
    # cell_type comes first; of the compounds ' ' sorts before '+'; a number that is taken is passed over
    assert given_slugs == {"a_b-2": "a_b-2", "a b": "a_b", "a+b": "a_b-3", "a.b": "a_b-4"}


@given(st.sets(st.tuples(st.sampled_from(["gene", "compound"]), st.text(max_size=8)), max_size=30))
def test_every_class_has_another_slug(classes):
    labels = {}
    for category, label in sorted(classes):
        labels.setdefault(label, category)
    given_slugs = slugs((category, label) for label, category in labels.items())
    assert set(given_slugs) == set(labels)
    assert len(set(given_slugs.values())) == len(labels)
    assert all(re.fullmatch(r"[0-9a-z_-]+", name) for name in given_slugs.values())


def test_file_names_count_in_binary():
    assert [file_name("human", n, 5) for n in range(5)] == [
        "human-000.png", "human-001.png", "human-010.png", "human-011.png", "human-100.png",
    ]  # fmt: skip
    assert file_name("x", 0, 1) == "x-0.png"
    assert file_name("x", 999, 1000) == "x-1111100111.png"
