from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.eval.scores import standardise as standardise_module
from cytoimagenet.eval.scores.standardise import standardise
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def table(rng):
    values = rng.normal(5, 3, (60, 4))
    plates = np.repeat(["p1", "p2", "p3"], 20)
    controls = np.tile([True] * 6 + [False] * 14, 3)
    return values, plates, controls


def test_all_is_scikit_learns(table):
    values = table[0]
    found, dropped = standardise(values, "all")
    np.testing.assert_allclose(found, StandardScaler().fit_transform(values))
    assert dropped == 0


def test_train_is_fitted_on_train_only(table):
    values = table[0]
    fit = np.arange(60) < 20
    found, _ = standardise(values, "train", fit=fit)
    np.testing.assert_allclose(found, StandardScaler().fit(values[:20]).transform(values))


def test_plate_dmso_is_pandas_by_plate(table):
    values, plates, controls = table
    found, _ = standardise(values, "plate-dmso", plates=plates, controls=controls)
    for plate in set(plates):
        here = plates == plate
        wells = pd.DataFrame(values[here & controls])
        expected = (values[here] - wells.mean().to_numpy()) / wells.std().to_numpy()  # pandas divides by n - 1
        np.testing.assert_allclose(found[here], expected)


def test_what_is_constant_or_not_finite_is_dropped_and_counted(table):
    values, plates, controls = (array.copy() for array in table)
    values[3, 0] = np.nan
    values[:, 1] = 7.0
    assert standardise(values, "none")[1] == 1
    assert standardise(values, "all")[1] == 2
    values[(plates == "p2") & controls, 2] = 1.0  # no spread among the DMSO wells of one plate
    found, dropped = standardise(values, "plate-dmso", plates=plates, controls=controls)
    assert dropped == 3
    assert found.shape == (60, 1)
    with pytest.raises(CheckFailedError, match="nothing to compare"):
        standardise(values[:, :2], "all")


def test_the_input_stays_as_it_was_and_the_type_too(table):
    values = table[0].astype(np.float32)
    before = values.copy()
    found, _ = standardise(values, "all")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(values, before)
    assert standardise(values, "none")[0] is values


def power(matrix, exponent):
    values, axes = np.linalg.eigh(matrix)
    return axes @ np.diag(values**exponent) @ axes.T


@pytest.mark.parametrize("wells", [6, 200])  # fewer than features, and more
def test_sphering_is_the_inverse_root_of_the_dmso_covariance(rng, wells):
    values = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20))
    plates, controls = np.repeat("a", 300), np.arange(300) < wells
    scaled, _ = standardise(values, "plate-dmso", plates=plates, controls=controls)
    covariance = np.cov(scaled[controls].T)
    ridge = standardise_module.SHRINKAGE * np.trace(covariance) / 20 * np.eye(20)
    expected = (scaled - scaled[controls].mean(axis=0)) @ power(covariance + ridge, -0.5)
    found, _ = standardise(values, "sphere-dmso", plates=plates, controls=controls)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # TVN takes it from there: out of each plate's covariance, into that of all
    one = np.cov(expected[controls].T) + np.eye(20)
    aligned, _ = standardise(values, "tvn", plates=plates, controls=controls)
    np.testing.assert_allclose(aligned, expected @ power(one, -0.5) @ power(one, 0.5), atol=1e-9)


def test_sphering_does_not_blow_up_with_fewer_wells_than_features(rng):
    values = rng.normal(size=(30, 100))
    controls = np.arange(30) < 8
    found, _ = standardise(values, "sphere-dmso", plates=np.repeat("a", 30), controls=controls)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 1e3


def test_tvn_gives_the_plates_one_covariance(rng):
    values = rng.normal(size=(400, 3))
    plates = np.repeat(["a", "b"], 200)
    values[plates == "b"] = values[plates == "b"] @ np.array([[3.0, 1, 0], [0, 0.3, 0], [0, 0, 1]])
    controls = np.ones(400, bool)

    def gap(way):
        found, _ = standardise(values, way, plates=plates, controls=controls)
        return np.linalg.norm(np.cov(found[plates == "a"].T) - np.cov(found[plates == "b"].T))

    assert gap("tvn") < 0.8 * gap("sphere-dmso")


def test_a_plate_without_dmso_is_named(table):
    values, plates, controls = table
    with pytest.raises(UsageError, match="Plate p2 has 0 DMSO wells"):
        standardise(values, "plate-dmso", plates=plates, controls=controls & (plates != "p2"))
    with pytest.raises(UsageError, match="needs plates"):
        standardise(values, "tvn")


def test_blocks_and_parts_are_scaled_as_the_whole(table, monkeypatch):
    monkeypatch.setattr(standardise_module, "BLOCK_BYTES", 8 * 4 * 7)  # seven rows at once
    values, fit = table[0], np.arange(60) % 3 == 0
    values[:, 2] = 1.0
    bring, dropped = standardise_module.scaler(values, "train", fit=fit)
    expected = np.delete(StandardScaler().fit(values[fit]).transform(values), 2, axis=1)
    assert dropped == 1
    for rows in (slice(5, 30), np.flatnonzero(~fit), slice(None)):
        np.testing.assert_allclose(bring(rows), expected[rows])
