"""Classes and images are sampled by seed, whatever the order of the rows."""

from __future__ import annotations

import pandas as pd
import pytest
from cytoimagenet.builder.dataset.choose import choose_images
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import UsageError

ROWS = pd.DataFrame([(f"{label}-{i}", label) for label in "abcd" for i in range(5)], columns=["key", "label"])
MANIFEST = Manifest("here", {"classes": [{"label": label} for label in "abcd"]})


def chosen(rows=ROWS, **options):
    return choose_images(MANIFEST, rows, **{"classes": None, "images": 2, **options})


def test_at_most_so_many_images_of_each_class():
    assert chosen().groupby("label").size().to_dict() == dict.fromkeys("abcd", 2)
    assert len(chosen(images=9)) == 20


def test_a_number_of_classes_or_named_ones():
    assert chosen(classes=3)["label"].nunique() == 3
    assert chosen(classes=9)["label"].nunique() == 4
    assert set(chosen(classes=1, labels=["d", "b"])["label"]) == {"b", "d"}  # names come before numbers
    with pytest.raises(UsageError, match="No class 'e' in this dataset"):
        chosen(labels=["a", "e"])


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    first = chosen(classes=2, seed=3)
    assert chosen(ROWS[::-1], classes=2, seed=3)["key"].tolist() == first["key"].tolist()
    samples = {tuple(chosen(seed=seed)["key"]) for seed in range(8)}
    assert len(samples) == 8
