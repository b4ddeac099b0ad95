"""Simulated cells depend on the style and the seed only; classes differ in shape, not in brightness."""

import doctest

import numpy as np
import pytest
from cytoimagenet.builder.simulate import cells
from cytoimagenet.builder.simulate.cells import PATTERNS, STAIN_PATTERNS, Style, draw_field, style_of


def test_the_examples_run():
    assert doctest.testmod(cells).failed == 0


@pytest.mark.parametrize("protein", PATTERNS)
def test_every_pattern_is_in_range(protein):
    channels = ["protein", "brightfield", *STAIN_PATTERNS]
    field = draw_field(np.random.default_rng(1), Style(protein=protein), (70, 90), channels)
    for image in field.values():
        assert image.shape == (70, 90)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        assert np.quantile(image, 0.999) > np.quantile(image, 0.001) + 0.1


def test_a_field_is_a_function_of_its_seed():
    first, again, other = (draw_field(np.random.default_rng(s), style_of("a"), (64, 64))["protein"] for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_single_cell_is_in_the_middle():
    cell = draw_field(np.random.default_rng(0), Style(), (64, 64), ["nucleus"], cells=1)["nucleus"]
    assert cell[28:36, 28:36].mean() > 3 * cell[:6].mean()


def test_interpolating_between_two_styles():
    base, own = style_of("mechanism"), style_of("compound")
    moved = style_of("compound", base, 0.25)
    assert moved.radius == pytest.approx(base.radius + 0.25 * (own.radius - base.radius))
    assert (moved.protein, moved.lobes) == (base.protein, base.lobes)
    assert style_of("compound", base, 0.0) == base
