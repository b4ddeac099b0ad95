"""How much of an image other crops show: equal to comparing all pairs of boxes."""

from __future__ import annotations

import pandas as pd
from cytoimagenet.eval.audit.overlap import overlap
from hypothesis import given
from hypothesis import strategies as st

box = st.tuples(st.sampled_from("ab"), *[st.integers(0, 6), st.integers(1, 5)] * 2)


@given(st.lists(box, max_size=8))
def test_overlap_equals_every_pair(boxes):
    rows = pd.DataFrame(
        [(idx, x, x + width, y, y + height) for idx, x, width, y, height in boxes],
        columns=["idx", "x_min", "x_max", "y_min", "y_max"],
    )
    share, image = overlap(rows)
    pixels = [
        {(idx, u, v) for u in range(x, x + width) for v in range(y, y + height)} for idx, x, width, y, height in boxes
    ]
    for i, mine in enumerate(pixels):
        shares = [len(mine & other) / len(mine) if i != j else 0 for j, other in enumerate(pixels)]
        assert share[i] == max(shares, default=0)
        assert image[i] == -1 if share[i] == 0 else shares[image[i]] == share[i]
