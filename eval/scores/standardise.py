"""Bring features to one scale before they are compared. The standardisation is printed with every score."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ...builder.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Standardisation = Literal["none", "all", "train", "plate-dmso", "sphere-dmso", "tvn"]
STANDARDISATIONS: tuple[Standardisation, ...] = get_args(Standardisation)
MEANING: dict[Standardisation, str] = {
    "none": "as is",
    "all": "z-score over all rows that are scored",
    "train": "z-score fitted on the training set",
    "plate-dmso": "z-score per plate on its DMSO wells",
    "sphere-dmso": "z-score per plate on its DMSO wells, then whitened on all DMSO wells",
    "tvn": "typical variation normalisation: whitened on all DMSO wells, then each plate's DMSO covariance aligned",
}
BLOCK_BYTES = 32 << 20  # of float64 numbers in memory at once
SHRINKAGE = 1.0
"""Mean variances added to every variance before whitening, as CORAL does: there are fewer wells than features."""


def standardise(
    values: NDArray[np.floating],
    standardisation: Standardisation,
    *,
    fit: NDArray[np.bool_] | None = None,
    plates: NDArray[Any] | None = None,
    controls: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.floating], int]:
    """Standardise features.

    Parameters
    ----------
    values : array, shape (rows, features)
        May contain NaN or infinity; a feature that does, before or after, is dropped for all rows.
    standardisation : str
        One of `STANDARDISATIONS`. "all" and "train" divide by the standard deviation of the population (ddof 0, as
        scikit-learn's StandardScaler, which the published code used); "plate-dmso" by that of the sample (ddof 1).
    fit : bool array, shape (rows,), optional
        For "all" and "train": the rows from which mean and deviation are computed; default all.
    plates : array, shape (rows,), optional
        Plate of each row, for the standardisations that use DMSO wells.
    controls : bool array, shape (rows,), optional
        Which rows are DMSO wells.

    Returns
    -------
    values : array, shape (rows, features kept)
        In the data type given, or float64 for the standardisations that use DMSO wells.
    dropped : int
        Number of features that were constant where they were fitted, or not finite.

    Raises
    ------
    UsageError
        If the standardisation needs DMSO wells and a plate has fewer than two.
    CheckFailedError
        If no feature is left.

    Examples
    --------
    >>> standardise(np.array([[1.0, 5.0], [3.0, 5.0]]), "all")
    (array([[-1.],
           [ 1.]]), 1)
    """
    if standardisation in ("none", "all", "train"):
        scaled, dropped = scaler(values, standardisation, fit=fit)
        return values if standardisation == "none" and not dropped else scaled(slice(None)), dropped
    if plates is None or controls is None:
        raise UsageError(f"--standardise {standardisation} needs plates with DMSO wells; this table has none")
    result = _by_plate(values, plates, controls)
    if standardisation == "sphere-dmso":
        result = _whiten(result, result[controls])
    elif standardisation == "tvn":
        result = _align(_whiten(result, result[controls]), plates, controls)
    return result, _dropped(values.shape[1], result.shape[1], standardisation)


def scaler(
    values: NDArray[np.floating], standardisation: Standardisation, *, fit: NDArray[np.bool_] | None = None
) -> tuple[Callable[[slice | NDArray[Any]], NDArray[np.floating]], int]:
    """Fit a scale that is the same for all rows, to be applied to a part of them at a time.

    Parameters
    ----------
    values : array, shape (rows, features)
    standardisation : "none", "all" or "train"
    fit : bool array, shape (rows,), optional
        The rows from which mean and deviation are computed; default all.

    Returns
    -------
    scaled : function
        From a slice or index of rows to those rows, scaled; never a view of `values`, except for "none".
    dropped : int
        As in `standardise`.

    Raises
    ------
    ValueError
        If the standardisation is another one.
    CheckFailedError
        If no feature is left.
    """
    if standardisation not in ("none", "all", "train"):
        raise ValueError(f"{standardisation} does not scale all rows alike")
    kept = np.ones(values.shape[1], bool)
    for block in blocks(*values.shape):
        kept &= np.isfinite(values[block]).all(axis=0)
    mean = deviation = None
    if standardisation != "none":
        with np.errstate(invalid="ignore", over="ignore"):
            mean, deviation = moments(values, fit)
        kept &= (deviation > 0) & np.isfinite(deviation)
        mean, deviation = (one[kept].astype(values.dtype) for one in (mean, deviation))
    dropped = _dropped(len(kept), int(kept.sum()), standardisation)

    def scaled(rows: slice | NDArray[Any]) -> NDArray[np.floating]:
        some = values[rows] if kept.all() else values[rows][:, kept]
        if mean is None or deviation is None:
            return some
        some = np.array(some) if np.may_share_memory(some, values) else some
        some -= mean  # in place: these tables may take half of the memory
        some /= deviation
        return some

    return scaled, dropped


def _dropped(given: int, left: int, standardisation: Standardisation) -> int:
    if not left:
        raise CheckFailedError(
            f"All {given} features are constant or not finite after --standardise {standardisation}: nothing to compare"
        )
    return given - left


def moments(
    values: NDArray[np.floating], rows: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (ddof 0) of each column over some rows, computed in float64 block by block."""
    n = len(values) if rows is None else int(rows.sum())
    some = [(block, slice(None) if rows is None else rows[block]) for block in blocks(*values.shape)]
    mean = sum(values[block][here].sum(axis=0, dtype=np.float64) for block, here in some) / n
    square = sum(((values[block][here] - mean) ** 2).sum(axis=0) for block, here in some)
    return mean, np.sqrt(square / n)


def blocks(rows: int, width: int) -> list[slice]:
    """Cut the rows of a matrix into slices of at most `BLOCK_BYTES` as float64.

    Examples
    --------
    >>> blocks(5, BLOCK_BYTES // 16)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, BLOCK_BYTES // (8 * width))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _by_plate(values: NDArray[np.floating], plates: NDArray[Any], controls: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Z-score the rows of each plate by its DMSO wells; drop features that are not finite then."""
    result = np.full(values.shape, np.nan)
    for plate in np.unique(plates):
        here = plates == plate
        wells = values[here & controls].astype(np.float64)
        if len(wells) < 2:
            raise UsageError(f"Plate {plate} has {len(wells)} DMSO wells; at least two are needed to scale by them")
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            result[here] = (values[here] - wells.mean(axis=0)) / wells.std(axis=0, ddof=1)
    return result[:, np.isfinite(result).all(axis=0)]


def _whiten(values: NDArray[np.float64], wells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotate to the axes along which untreated wells vary, and divide by their deviation there (Ando et al. 2017)."""
    mean = wells.mean(axis=0)
    _, spread, axes = np.linalg.svd(wells - mean, full_matrices=False)
    variance = spread**2 / (len(wells) - 1)
    floor = SHRINKAGE * variance.sum() / values.shape[1]
    centred = values - mean
    along = centred @ axes.T
    # directions in which untreated wells do not vary keep the floor as variance: x + A^T (w - 1/sqrt(floor)) A x
    scaled = along * (1 / np.sqrt(variance + floor) - 1 / np.sqrt(floor))
    whitened: NDArray[np.float64] = centred / np.sqrt(floor) + scaled @ axes
    return whitened


def _align(values: NDArray[np.float64], plates: NDArray[Any], controls: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the DMSO wells of each plate the covariance of all of them (CORAL; Sun et al. 2016)."""
    target = _covariance_power(values[controls], 0.5)
    result = np.empty_like(values)
    for plate in np.unique(plates):
        here = plates == plate
        result[here] = values[here] @ _covariance_power(values[here & controls], -0.5) @ target
    return result


def _covariance_power(wells: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Return (covariance + 1) to a power: adding the identity makes it invertible for few wells."""
    _, spread, axes = np.linalg.svd(wells - wells.mean(axis=0), full_matrices=False)
    variance = spread**2 / max(len(wells) - 1, 1)
    result: NDArray[np.float64] = np.eye(wells.shape[1]) + (axes.T * ((variance + 1) ** power - 1)) @ axes
    return result
