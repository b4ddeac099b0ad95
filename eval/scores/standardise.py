"""Bringing features to one scale before they are compared. The way is named and printed with every number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ...builder.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Way = Literal["none", "all", "train", "plate-dmso", "sphere-dmso", "tvn"]
WAYS: tuple[Way, ...] = get_args(Way)
MEANING: dict[Way, str] = {
    "none": "as is",
    "all": "z-score over all rows that are scored",
    "train": "z-score fitted on the training set",
    "plate-dmso": "z-score per plate on its DMSO wells",
    "sphere-dmso": "z-score per plate on its DMSO wells, then whitened on all DMSO wells",
    "tvn": "typical variation normalisation: whitened on all DMSO wells, then each plate's DMSO covariance aligned",
}
BLOCK_BYTES = 32 << 20  # of float64 numbers at once
SHRINK = 1.0  # mean variances added to every variance before whitening, as CORAL does: wells are fewer than features


def standardise(
    values: NDArray[np.floating],
    way: Way,
    *,
    fit: NDArray[np.bool_] | None = None,
    plates: NDArray | None = None,
    controls: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.floating], int]:
    """Standardise features.

    Parameters
    ----------
    values : array, shape (rows, features)
        May hold NaN or infinity; a feature that does, before or after, is dropped for all rows.
    way : str
        One of `WAYS`. "all" and "train" divide by the population's standard deviation (ddof 0, as scikit-learn's
        StandardScaler, which the published code used); "plate-dmso" by the sample's (ddof 1).
    fit : bool array, shape (rows,), optional
        For "all" and "train": the rows the mean and deviation are taken from; default all.
    plates : array, shape (rows,), optional
        Plate of each row; for the ways that use DMSO wells.
    controls : bool array, shape (rows,), optional
        Which rows are DMSO wells.

    Returns
    -------
    values : array, shape (rows, features kept), type as given
    dropped : int
        How many features were constant where they were fitted, or not finite.

    Raises
    ------
    UsageError
        If the way needs DMSO wells and a plate has fewer than two.
    CheckFailedError
        If no feature is left.
    """
    if way in ("none", "all", "train"):
        bring, dropped = scaler(values, way, fit=fit)
        return values if way == "none" and not dropped else bring(slice(None)), dropped
    if plates is None or controls is None:
        raise UsageError(f"--standardise {way} needs plates with DMSO wells; this table has none")
    done = _by_plate(values, plates, controls)
    if way == "sphere-dmso":
        done = _whiten(done, done[controls])
    elif way == "tvn":
        done = _align(_whiten(done, done[controls]), plates, controls)
    return done, _dropped(values.shape[1], done.shape[1], way)


def scaler(
    values: NDArray[np.floating], way: Way, *, fit: NDArray[np.bool_] | None = None
) -> tuple[Callable[[slice | NDArray], NDArray[np.floating]], int]:
    """Fit a scale that is the same for all rows ("none", "all", "train"), applied to as many at a time as memory holds.

    Returns
    -------
    bring : function
        From a slice or index of rows to those rows, scaled; never a view of `values` but for "none".
    dropped : int
        As in `standardise`.
    """
    kept = np.ones(values.shape[1], bool)
    for block in blocks(*values.shape):
        kept &= np.isfinite(values[block]).all(axis=0)
    mean = deviation = None
    if way != "none":
        with np.errstate(invalid="ignore", over="ignore"):
            mean, deviation = moments(values, fit)
        kept &= (deviation > 0) & np.isfinite(deviation)
        mean, deviation = (one[kept].astype(values.dtype) for one in (mean, deviation))
    dropped = _dropped(len(kept), int(kept.sum()), way)

    def bring(rows: slice | NDArray) -> NDArray[np.floating]:
        some = values[rows] if kept.all() else values[rows][:, kept]
        if mean is None or deviation is None:
            return some
        some = np.array(some) if np.may_share_memory(some, values) else some
        some -= mean  # in place: these tables may fill half of the memory
        some /= deviation
        return some

    return bring, dropped


def _dropped(given: int, left: int, way: Way) -> int:
    if not left:
        raise CheckFailedError(
            f"All {given} features are constant or not finite after --standardise {way}: nothing to compare"
        )
    return given - left


def moments(
    values: NDArray[np.floating], rows: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (ddof 0) of each column over some rows, in float64, a block at a time."""
    n = len(values) if rows is None else int(rows.sum())
    some = [(block, slice(None) if rows is None else rows[block]) for block in blocks(*values.shape)]
    mean = sum(values[block][here].sum(axis=0, dtype=np.float64) for block, here in some) / n
    square = sum(((values[block][here] - mean) ** 2).sum(axis=0) for block, here in some)
    return mean, np.sqrt(square / n)


def blocks(rows: int, width: int) -> list[slice]:
    """Cut rows of a matrix into slices whose float64 numbers fill `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // (8 * width))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _by_plate(values, plates, controls):
    done = np.full(values.shape, np.nan)
    for plate in np.unique(plates):
        here = plates == plate
        wells = values[here & controls].astype(np.float64)
        if len(wells) < 2:
            raise UsageError(f"Plate {plate} has {len(wells)} DMSO wells; at least two are needed to scale by them")
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            done[here] = (values[here] - wells.mean(axis=0)) / wells.std(axis=0, ddof=1)
    return done[:, np.isfinite(done).all(axis=0)]


def _whiten(values, wells):
    """Rotate to the axes along which untreated wells vary and divide by how much they do (Ando et al. 2017)."""
    mean = wells.mean(axis=0)
    _, spread, axes = np.linalg.svd(wells - mean, full_matrices=False)
    variance = spread**2 / (len(wells) - 1)
    floor = SHRINK * variance.sum() / values.shape[1]
    centred = values - mean
    along = centred @ axes.T
    # the directions untreated wells do not vary in keep the floor as their variance: x + A^T (w - 1/sqrt(floor)) A x
    scaled = along * (1 / np.sqrt(variance + floor) - 1 / np.sqrt(floor))
    return centred / np.sqrt(floor) + scaled @ axes


def _align(values, plates, controls):
    """Give each plate's DMSO wells the covariance of all of them (CORAL; Sun et al. 2016)."""
    target = _root(values[controls], 0.5)
    done = np.empty_like(values)
    for plate in np.unique(plates):
        here = plates == plate
        done[here] = values[here] @ _root(values[here & controls], -0.5) @ target
    return done


def _root(wells, power):
    """Return (covariance + 1) to a power: the identity keeps it invertible with few wells."""
    _, spread, axes = np.linalg.svd(wells - wells.mean(axis=0), full_matrices=False)
    variance = spread**2 / max(len(wells) - 1, 1)
    return np.eye(wells.shape[1]) + (axes.T * ((variance + 1) ** power - 1)) @ axes
