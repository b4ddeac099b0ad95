"""Classes are found by name, and by nearly the same name where that is unique."""

from __future__ import annotations

import pytest
from cytoimagenet.builder.dataset.class_names import find_classes
from cytoimagenet.builder.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("a-1", "a1", "actin", "ht29", "nucleus", "vamp5 targeted")


@pytest.mark.parametrize(
    ("given", "found"),
    [("HT 29", "ht29"), ("ht-29", "ht29"), ("Actin", "actin"), ("VAMP5_targeted", "vamp5 targeted"), ("a1", "a1")],
)
def test_case_spaces_and_hyphens_do_not_matter(given, found):
    assert find_classes(given, NAMES) == [found]
    assert find_classes([given, "nucleus"], NAMES) == [found, "nucleus"]


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("aktin", "Did you mean 'actin'?"),
        ("A 1", "Did you mean 'a-1' or 'a1'?"),
        ("zebrafish", "There are a-1, a1, actin, ht29, nucleus, vamp5 targeted."),
    ],
)
def test_a_wrong_name_has_one_wording(given, advice):
    with pytest.raises(UsageError) as raised:
        find_classes(["ht29", given], NAMES, "here")
    assert raised.value.what == f"No class {given!r} in this dataset"
    assert raised.value.where == "here"
    assert raised.value.next == f"{advice} `cytoimagenet info DIR --classes` lists all."


@given(st.lists(st.text(max_size=6), unique=True, min_size=1))
def test_every_class_finds_itself(names):
    assert find_classes(names, names) == names
    assert find_classes(names[0], names) == [names[0]]


def test_every_way_to_name_a_class_has_that_wording(small_dataset):
    import cytoimagenet
    from cytoimagenet.builder.pages.preview import montage
    from cytoimagenet.loaders.index import read_index

    calls = (
        lambda: montage(small_dataset, labels=["aktin"]),
        lambda: read_index(small_dataset, labels=["aktin"]),
        lambda: cytoimagenet.load_dataset(data_dir=small_dataset, labels=["aktin"], streaming=True),
    )
    texts = set()
    for call in calls:
        with pytest.raises(UsageError) as raised:
            call()
        texts.add(str(raised.value))
    assert len(texts) == 1
    assert read_index(small_dataset, labels=["ACTIN"]).class_names == ("actin",)
    loaded = cytoimagenet.load_dataset(data_dir=small_dataset, labels=["Actin"], streaming=True, split="train")
    assert next(iter(loaded))["label"] == loaded.features["label"].str2int("actin")
