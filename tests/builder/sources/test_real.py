"""The six real sources beside the checkout, read as their publisher ships them."""

from __future__ import annotations

import pytest
from cytoimagenet.builder.catalog import build_catalog


@pytest.mark.real
def test_real_sources_give_their_rows(shared):
    made = build_catalog(shared / "raw")
    assert made.frame.groupby("dir_name").size().to_dict() == {
        "bbbc010": 4,
        "bbbc011": 2,
        "bbbc012": 2,
        "bbbc013": 8,
        "bbbc014": 1,
        "bbbc038": 52,
    }
    assert {c.source: dict(c.skipped) for c in made.counts if c.skipped} == {
        "bbbc013": {"not an image file": 1},
        "bbbc038": {"mask": 145},
    }
    assert all(c.listed == c.used + sum(c.skipped.values()) for c in made.counts)
