"""The seeded hash orders: fixed by these numbers, and blind to the order of the names."""

import hashlib

import numpy as np
import pytest
from cytoimagenet.builder import seeded


def test_the_numbers_never_change():
    # 042e08... = printf "validation\\0007\\000plate 1" | sha256sum; b2sum -l 128 gives the order d, b, a, c
    first = hashlib.sha256(b"validation\x007\x00plate 1").hexdigest()[:16]
    assert f"{seeded.sort_key('plate 1', 7, 'validation'):016x}" == first == "042e08167ef48885"
    assert seeded.random_integers("plate 1", 7, 3).tolist() == [
        8911411194639802919,
        10760760732252216356,
        12305052618891295123,
    ]
    assert seeded.shuffled(["a", "b", "c", "d"], 7).tolist() == [3, 1, 0, 2]


def test_the_order_follows_the_names_wherever_they_are():
    names = [f"image {n}" for n in range(500)]
    mixed = np.random.default_rng(0).permutation(names).tolist()
    for seed in (0, 1):
        assert [names[i] for i in seeded.shuffled(names, seed)] == [mixed[i] for i in seeded.shuffled(mixed, seed)]
        keys = dict(zip(mixed, seeded.sort_keys(mixed, seed, "x").tolist(), strict=True))
        assert [keys[name] for name in names] == [seeded.sort_key(name, seed, "x") for name in names]


@pytest.mark.parametrize("other", [("image", 1, "x"), ("image", 0, "y"), ("images", 0, "x")])
def test_seed_name_and_purpose_all_count(other):
    assert seeded.sort_key("image", 0, "x") != seeded.sort_key(*other)


def test_the_order_is_even():
    places = np.argsort(seeded.shuffled([str(n) for n in range(10_000)], 3))
    halves = places < 5_000
    assert 2_350 < halves[:5_000].sum() < 2_650  # 2,500 expected, 25 the standard deviation
    assert abs(np.corrcoef(np.arange(10_000), places)[0, 1]) < 0.05
